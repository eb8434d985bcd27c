"""Tests of simulator.scale.loads."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.scale.loads import WAYS, Round, Way, loads
from simulator.scale.placement import Placement, place
from simulator.scale.routers import from_graph
from simulator.scale.sizes import sizes
from simulator.scale.trees import Paths
from tests.simulator.scale.frame_by_frame import Slow, tangle

SIZES = sizes(512)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("routers", "clients", "group", "servers", "round_"),
    [
        (5, 2, 2, 1, Round(1, 1)),
        (12, 40, 5, 3, Round(2, 3)),
        (30, 200, 17, 4, Round(1, 2)),
        (30, 90, 90, 7, Round(3, 1)),
        (8, 60, 4, 2, Round(0, 1)),
        (8, 60, 4, 8, Round(1, 0)),
    ],
)
def test_loads_are_those_counted_frame_by_frame(
    way: Way, routers: int, clients: int, group: int, servers: int, round_: Round
) -> None:
    paths = Paths(from_graph(tangle(routers, seed=routers), "tangle"))
    placement = place(paths, clients, group, servers, seed=clients)
    found = loads(way, paths, placement, SIZES, round_)
    slow = Slow(paths.routers, placement, SIZES)
    slow.play(way, round_)
    assert found.links.copies.tolist() == slow.by_arc(paths.routers, slow.copies)
    assert found.links.octets.tolist() == slow.by_arc(paths.routers, slow.octets)
    assert found.links.frames.tolist() == slow.by_arc(paths.routers, slow.frames)
    if way in ("multiserver", "cascade"):
        assert found.servers.datagrams_in.tolist() == slow.by_server(slow.datagrams_in)
        assert found.servers.copies_out.tolist() == slow.by_server(slow.copies_out)
        assert found.servers.copies_to_servers.tolist() == slow.by_server(slow.copies_to_servers)
    elif way != "multicast":
        assert found.servers.datagrams_in.tolist() == [slow.datagrams_in[0]]
        assert found.servers.copies_out.tolist() == [slow.copies_out[0]]


def test_a_round_without_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        Round(0, 0)


def test_native_multicast_never_puts_a_frame_on_a_link_twice() -> None:
    paths = Paths(from_graph(tangle(20, seed=1), "tangle"))
    placement = place(paths, 100, 10, 1)
    found = loads("multicast", paths, placement, SIZES, Round())
    assert np.array_equal(found.links.copies, found.links.frames)


def test_a_group_at_one_router_loads_no_link_but_with_a_server_elsewhere() -> None:
    paths = Paths(from_graph(tangle(10, seed=2), "tangle"))
    everybody = np.full(6, 3)
    placement = Placement(everybody, np.array([0, 6]), np.array([3]), np.zeros(6, np.int64))
    for way in WAYS:
        assert not loads(way, paths, placement, SIZES, Round()).links.copies.any()
    away = Placement(everybody, np.array([0, 6]), np.array([4]), np.zeros(6, np.int64))
    assert loads("single", paths, away, SIZES, Round()).links.copies.any()
