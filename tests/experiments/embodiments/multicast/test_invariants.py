"""The invariants of embodiment 3 break when what they are about does."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from experiments.embodiments.multicast.invariants import (
    counters_balance,
    kernels_have_trees,
    server_is_idle,
    tree_interfaces,
)
from experiments.embodiments.seen import Seen
from experiments.isolation import MachineError, check_machine
from tests.experiments.embodiments.seen import of_statuses
from topologies.catalog import multicast
from topologies.parts import MulticastRoute
from topologies.smcroute import PROGRAMS

PLAN = multicast(clients=2, terminals=1, second_group=0)
IDLE = {"InDatagrams": 0, "NoPorts": 0, "InErrors": 0, "OutDatagrams": 0}


def seen(
    server: Mapping[str, int], kernel: Mapping[str, int], *clients: tuple[int, int, int]
) -> Seen:
    """Builds what a run saw: the server's counters and (sealed, delivered, replayed) of clients."""
    statuses: dict[str, Any] = {"server": {"counters": dict(server)}}
    for name, (sealed, delivered, replayed) in zip(("c1", "c2"), clients, strict=True):
        statuses[name] = {
            "counters": {
                "frames_sealed": sealed,
                "frames_delivered": delivered,
                "dropped_replayed": replayed,
            }
        }
    return of_statuses(PLAN, statuses, kernel)


def test_a_server_without_a_datagram_is_idle() -> None:
    assert server_is_idle(seen({}, IDLE, (3, 4, 0), (4, 3, 0))).held


@pytest.mark.parametrize(
    ("server", "kernel"),
    [
        ({"datagrams_in": 1}, {}),
        ({"copies_out": 1}, {}),
        ({}, {"InDatagrams": 1}),
        ({}, {"NoPorts": 1}),
        ({}, {"OutDatagrams": 1}),
    ],
)
def test_one_datagram_at_the_server_is_seen(server: dict[str, int], kernel: dict[str, int]) -> None:
    assert not server_is_idle(seen(server, {**IDLE, **kernel}, (3, 4, 0), (4, 3, 0))).held


def test_idle_shows_nothing_when_no_frame_flowed() -> None:
    assert not server_is_idle(seen({}, IDLE, (3, 0, 0), (4, 0, 0))).held


def test_counters_balance_when_every_packet_came_and_not_otherwise() -> None:
    assert counters_balance(seen({}, IDLE, (3, 4, 0), (4, 2, 1))).held
    assert not counters_balance(seen({}, IDLE, (3, 4, 0), (4, 2, 0))).held


def test_the_tree_of_two_neighbours_is_the_link_between_their_routers() -> None:
    assert tree_interfaces(PLAN, "c1") == {"m1-c1", "m1-m2", "m2-m1", "m2-c2"}


def test_where_kernels_say_their_routes_the_tree_is_theirs() -> None:
    plan = multicast(clients=2, terminals=1, second_group=0, family=4)
    (group,), source = plan.groups, plan.data_address("c1")
    around = {
        "m1": [MulticastRoute(group.multicast_address, source, "m1-c1", ("m1-m3",))],
        "m3": [MulticastRoute(group.multicast_address, source, "m3-m1", ("m3-m2",))],
        "m2": [MulticastRoute(group.multicast_address, source, "m2-m3", ("m2-c2",))],
    }
    passed = {"m1-c1", "m1-m3", "m3-m1", "m3-m2", "m2-m3", "m2-c2"}
    assert tree_interfaces(plan, "c1", around) == passed


def test_counters_balance_over_what_came_after_counting_began() -> None:
    begun = {"c1": {"frames_sealed": 9}, "c2": {"frames_delivered": 1}}
    run = replace(seen({}, IDLE, (12, 4, 0), (4, 4, 0)), baseline=begun)
    assert counters_balance(run).held
    assert not counters_balance(replace(run, baseline={})).held


@pytest.mark.parametrize(("missing", "held"), [(None, True), ("m2", False)])
def test_kernels_without_a_part_of_a_tree_are_seen(missing: str | None, held: bool) -> None:
    plan = multicast(clients=2, terminals=1, second_group=0, family=4)
    routes = {
        router: plan.multicast_routes(router)
        for router in plan.multicast_routers
        if router != missing
    }
    run = replace(seen({}, IDLE, (0, 0, 0), (0, 0, 0)), plan=plan, routes=routes)
    assert kernels_have_trees(run).held is held
    assert not kernels_have_trees(replace(run, routes={})).held


def test_a_missing_daemon_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(
        shutil, "which", lambda program: None if program in PROGRAMS else "/bin/true"
    )
    with pytest.raises(MachineError) as error:
        check_machine(PROGRAMS)
    assert str(error.value) == "smcrouted: not found, install the package smcroute"
