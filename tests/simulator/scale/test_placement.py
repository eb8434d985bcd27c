"""Tests of simulator.scale.placement."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.scale.networks import network
from simulator.scale.placement import ATTACHMENTS, Attachment, Placement, PlacementError, place
from simulator.scale.trees import Paths


@pytest.fixture(scope="module")
def paths() -> Paths:
    """The paths of a network of 50 cities."""
    return Paths(network("sndlib/germany50"))


@pytest.mark.parametrize("attachment", ATTACHMENTS)
def test_everybody_is_where_the_seed_says(paths: Paths, attachment: Attachment) -> None:
    one, same, other = (place(paths, 1000, 10, 4, attachment, seed=seed) for seed in (5, 5, 6))
    assert np.array_equal(one.routers, same.routers)
    assert np.array_equal(one.servers, same.servers)
    assert not np.array_equal(one.routers, other.routers)


def test_one_more_client_moves_no_other(paths: Paths) -> None:
    fewer, more = place(paths, 500, 10, 2, seed=1), place(paths, 501, 10, 2, seed=1)
    assert np.array_equal(fewer.routers, more.routers[:500])


def test_few_routers_have_many_clients_by_zipf_and_not_when_uniform(paths: Paths) -> None:
    largest = {
        attachment: np.bincount(place(paths, 20_000, 10, 1, attachment, seed=1).routers).max()
        for attachment in ATTACHMENTS
    }
    assert largest["zipf"] > 3500 > 700 > largest["uniform"]


def test_the_last_group_takes_what_is_left_over(paths: Paths) -> None:
    assert place(paths, 25, 10, 1).sizes.tolist() == [10, 15]
    assert place(paths, 7, 10, 1).sizes.tolist() == [7]


def test_servers_stand_where_the_sum_of_delays_is_least(paths: Paths) -> None:
    placed = place(paths, 300, 10, 1, seed=3)
    sums = paths.delays(range(50))[:, placed.routers].sum(axis=1)
    assert placed.servers[0] == sums.argmin()


def test_every_client_is_at_its_nearest_server(paths: Paths) -> None:
    placed = place(paths, 300, 10, 6, seed=3)
    delays = paths.delays(placed.servers)[:, placed.routers]
    assert np.array_equal(delays.min(axis=0), delays[placed.homes, np.arange(300)])
    assert len(set(placed.servers.tolist())) == 6


def test_frames_go_round_each_group(paths: Paths) -> None:
    placed = place(paths, 7, 3, 1)
    assert placed.next_in_group().tolist() == [1, 2, 0, 4, 5, 6, 3]


def test_numbers_that_do_not_fit_are_refused(paths: Paths) -> None:
    with pytest.raises(PlacementError, match="1 clients in groups of 16: expected 2 or more"):
        place(paths, 1, 16, 1)
    with pytest.raises(PlacementError, match="expected 1 to 50"):
        place(paths, 10, 2, 51)
    nobody = np.zeros(3, np.int64)
    with pytest.raises(PlacementError, match="expected at least one, each of two"):
        Placement(nobody, np.array([0, 1, 3]), nobody[:1], nobody)
