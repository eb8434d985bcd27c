"""The invariants of embodiment 2 break when what they are about does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from experiments.embodiments.seen import Seen
from experiments.embodiments.subgroups.invariants import (
    one_association_a_sub_id,
    others_drop_what_they_cannot_open,
)
from tests.experiments.embodiments.seen import of_statuses
from topologies.catalog import subgroups

PLAN = subgroups(terminals=1, second_group=1)
SPIS = {"c1": "0x1", "c2": "0x1", "c3": "0x10", "c4": "0x1", "c5": "0x2"}


def seen(spis: dict[str, str] = SPIS, dropped: int = 5, unreadable: int = 5) -> Seen:
    """Builds what a run saw: the SPI each client holds, what C dropped, what went in vain."""
    statuses: dict[str, Any] = {"server": {"counters": {"copies_unreadable": unreadable}}}
    for client in PLAN.clients():
        drops = dropped if client.sub_id != 1 else 0
        group = PLAN.group(client.vpn_id or 0)
        statuses[client.name] = {
            "counters": {"dropped_unknown_spi": drops},
            "tables": {
                "308 SA management": {"columns": ["SPI"], "rows": [[spis[client.name]]]},
                "309 VPN information": {
                    "columns": ["multicast address"],
                    "rows": [[str(group.multicast_address)]],
                },
            },
        }
    return of_statuses(PLAN, statuses)


def test_each_sub_id_has_an_sa_of_its_own_for_one_address() -> None:
    found = one_association_a_sub_id(seen())
    assert (found.held, found.detail) == (True, "3 SAs")


@pytest.mark.parametrize(
    "changed",
    [{"c3": "0x1"}, {"c2": "0x3"}, {"c5": "0x1"}],
    ids=["C holds A's", "B holds one of its own", "another group holds A's"],
)
def test_shared_or_split_associations_are_found(changed: dict[str, str]) -> None:
    assert not one_association_a_sub_id(seen({**SPIS, **changed})).held


def test_another_address_is_found() -> None:
    wrong = seen()
    wrong.statuses["c3"]["tables"]["309 VPN information"]["rows"] = [["ff1e::9"]]
    assert not one_association_a_sub_id(wrong).held


def test_a_plan_without_sub_ids_shows_nothing() -> None:
    plain = replace(
        PLAN,
        nodes=tuple(replace(node, sub_id=1) if node.name == "c3" else node for node in PLAN.nodes),
    )
    assert not one_association_a_sub_id(replace(seen({**SPIS, "c3": "0x1"}), plan=plain)).held


@pytest.mark.parametrize(("dropped", "unreadable"), [(0, 5), (5, 0)])
def test_nothing_dropped_or_nothing_in_vain_is_found(dropped: int, unreadable: int) -> None:
    assert others_drop_what_they_cannot_open(seen()).held
    assert not others_drop_what_they_cannot_open(seen(SPIS, dropped, unreadable)).held
