"""Tests of simulator.scale.levels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from simulator.scale.levels import NO_QUEUE, Integers, NotExactError, Routes


def table(*hops: Sequence[int]) -> Integers:
    longest = max(map(len, hops))
    return np.array([[*route, *[NO_QUEUE] * (longest - len(route))] for route in hops], np.int64)


@pytest.mark.parametrize("hops", [[[0, 1], [1, 0]], [[0, 1, 2], [2, 0]], [[1, 1]]])
def test_a_cycle_is_refused(hops: Sequence[Sequence[int]]) -> None:
    with pytest.raises(
        NotExactError, match=r"queue [012]: routes pass queues in an order with a cycle"
    ):
        Routes.of(table(*hops), 3)


@pytest.mark.parametrize(
    ("hops", "message"), [([0, 3], "from 0 to 2"), ([-2], "from 0 to 2"), ([0, -1, 1], "no gap")]
)
def test_a_table_that_cannot_be_is_named(hops: Sequence[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Routes.of(np.array([hops]), 3)


def test_a_queue_comes_after_all_that_are_passed_before_it() -> None:
    routes = Routes.of(table([4, 0], [1, 0], [4, 1, 2], []), 5)
    assert routes.count == 4
    assert [level.queues.tolist() for level in routes.levels] == [[4], [1], [0, 2]]
    assert [level.place.tolist() for level in routes.levels] == [
        [0, 1, 0, 1],
        [1, 0, 0, 1],
        [0, 0, 1, 2],
    ]


@pytest.mark.parametrize(
    ("hops", "keep"),
    [
        ([[0, 1], [0, 2], [0], [3]], True),
        ([[0], [0], []], True),
        ([[0, 2], [1, 2]], False),
        ([[0, 1], [1]], False),
        ([[0, 1, 2], [0, 2]], False),
    ],
)
def test_order_is_kept_where_each_queue_is_fed_from_one_place(
    hops: Sequence[Sequence[int]], keep: bool
) -> None:
    assert Routes.of(table(*hops), 4).keep_order is keep


def test_without_routes_and_without_hops_there_are_no_levels() -> None:
    assert Routes.of(np.empty((0, 3), np.int64), 2) == Routes(0, (), True)
    assert Routes.of(np.empty((3, 0), np.int64), 2) == Routes(3, (), True)
