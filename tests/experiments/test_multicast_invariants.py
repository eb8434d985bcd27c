"""The invariants of embodiment 3 break when what they are about does."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any, cast

import pytest

from experiments.invariants import Seen
from experiments.isolation import MachineError, check_machine
from experiments.multicast_invariants import counters_balance, server_is_idle, tree_interfaces
from topologies.catalog import multicast
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
    nothing = cast(Any, None)
    return Seen(
        plan=PLAN,
        strip="keep",
        server="server",
        statuses=statuses,
        maps={},
        pings=(),
        neighbours=(),
        connections=(),
        probes=nothing,
        outside=nothing,
        inside=nothing,
        keys={},
        server_kernel=dict(kernel),
    )


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


def test_a_missing_daemon_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(
        shutil, "which", lambda program: None if program in PROGRAMS else "/bin/true"
    )
    with pytest.raises(MachineError) as error:
        check_machine(PROGRAMS)
    assert str(error.value) == "smcrouted: not found, install the package smcroute"
