"""Which queues are passed on which route, and in which order queues can be worked out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

Integers = NDArray[np.int64]
Numbers = NDArray[Any]
"""Integers of the narrowest type that holds them."""

NO_QUEUE = -1
"""In a table of hops: this route passes no further queue."""


class NotExactError(ValueError):
    """Says why a network's queues cannot be worked out exactly."""


@dataclass(frozen=True)
class Level:
    """Queues that are independent of each other and of all later levels.

    ``queues``, in rising order; ``place``, shape (routes,): where in them a route's queue is, their number
    for a route that passes none here.
    """

    queues: Integers
    place: Numbers


@dataclass(frozen=True)
class Routes:
    """How many routes there are, and their queues by level: a route passes at most one of each level.

    ``keep_order``: each queue is fed by one other alone or by senders alone, as on the way down a tree. What
    is sent in the order of time then passes every queue in that order.
    """

    count: int
    levels: tuple[Level, ...]
    keep_order: bool

    @staticmethod
    def of(hops: NDArray[Any], queues: int) -> Routes:
        """Takes hops of shape (routes, longest), rows filled up with :data:`NO_QUEUE`.

        NotExactError when the routes pass queues in an order with a cycle: no queue of it could then be
        worked out before the others.
        """
        hops = np.asarray(hops, np.int64)
        if hops.ndim != 2 or np.any(hops < NO_QUEUE) or np.any(hops >= queues):
            raise ValueError(f"routes: expected a table of queues from 0 to {queues - 1}")
        if np.any((hops[:, :-1] == NO_QUEUE) & (hops[:, 1:] != NO_QUEUE)):
            raise ValueError("routes: expected no gap between two queues of a route")
        used = hops != NO_QUEUE
        routes, passed = np.nonzero(used)[0], hops[used]
        steps = _steps(hops)
        level = _levels(steps, queues)[passed]
        every = range(int(level.max(initial=-1)) + 1)
        feeders = np.concatenate((steps[:, 1], np.unique(hops[:, :1][used[:, :1]])))
        return Routes(
            len(hops),
            tuple(_level(len(hops), routes[level == one], passed[level == one]) for one in every),
            bool(np.all(np.bincount(feeders, minlength=1) <= 1)),
        )


def narrowest(largest: int) -> np.dtype[Any]:
    """Returns the narrowest type that holds 0 to ``largest``."""
    return np.min_scalar_type(largest)


def _level(count: int, routes: Integers, passed: Integers) -> Level:
    queues, places = np.unique(passed, return_inverse=True)
    place = np.full(count, len(queues), narrowest(len(queues)))
    place[routes] = places
    return Level(queues, place)


def _steps(hops: Integers) -> Integers:
    """Returns each pair of queues that some route passes one after the other, shape (pairs, 2)."""
    follow = hops[:, 1:] != NO_QUEUE
    pairs = np.stack((hops[:, :-1][follow], hops[:, 1:][follow]), axis=1)
    steps: Integers = np.unique(pairs, axis=0)
    return steps


def _levels(steps: Integers, queues: int) -> Integers:
    """Returns the level of each queue: one more than that of any queue that is passed right before it."""
    first, then = steps.T
    graph = csr_matrix((np.ones(len(steps)), (first, then)), shape=(queues, queues))
    _, circle = connected_components(graph, connection="strong")
    inside = circle[first] == circle[then]
    if np.any(inside):
        raise NotExactError(
            f"queue {int(first[inside][0])}: routes pass queues in an order with a cycle; expected none"
        )
    level = np.zeros(queues, np.int64)
    while True:
        before = level.copy()
        np.maximum.at(level, then, before[first] + 1)
        if np.array_equal(before, level):
            return level
