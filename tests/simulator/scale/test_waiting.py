"""Tests of simulator.scale.waiting."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.scale.loads import Round, Way, loads
from simulator.scale.networks import network
from simulator.scale.placement import place
from simulator.scale.sizes import sizes
from simulator.scale.trees import Paths
from simulator.scale.waiting import Mixture, mixture, times_at_server

ROUND = Round(2, 3)


@pytest.mark.parametrize("way", ["hub", "single", "multiserver", "cascade"])
def test_what_comes_to_a_server_is_what_it_carries(way: Way) -> None:
    paths = Paths(network("sndlib/germany50"))
    placement = place(paths, 500, 12, 5, seed=4)
    servers = loads(way, paths, placement, sizes(200), ROUND).servers
    for number in range(len(servers.datagrams_in)):
        found = mixture(way, placement, number, ROUND)
        assert found.frames.sum() == servers.datagrams_in[number]
        assert found.frames @ found.copies == servers.copies_out[number]


def test_multicast_brings_no_server_a_frame() -> None:
    placement = place(Paths(network("topozoo/Abilene")), 20, 4, 2)
    with pytest.raises(ValueError, match="expected a way by which servers get frames"):
        mixture("multicast", placement, 0, ROUND)


def test_frames_wait_as_long_as_the_formula_for_one_queue_says() -> None:
    """Pollaczek and Khinchine: fixed service s and utilisation u make a mean wait of s u / (2 (1 - u))."""
    one = Mixture(np.ones(1, np.int64), np.ones(1, np.int64))
    for utilisation in (0.2, 0.5, 0.8):
        times = times_at_server(one, utilisation * 1e9 / 10_000, 4_000, 6_000, seed=1)
        expected = 10_000 * (1 + utilisation / (2 * (1 - utilisation)))
        assert times.mean() == pytest.approx(expected, rel=0.02)


def test_an_idle_server_takes_what_the_copies_take() -> None:
    ten = Mixture(np.array([10]), np.ones(1, np.int64))
    times = times_at_server(ten, 0.001, 5_000, 1_000, seed=1)
    assert sorted(set(times.tolist())) == [5_000 + 1_000 * copy for copy in range(1, 11)]
