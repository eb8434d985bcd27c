"""Exact queues in arrays: what the world of events says of a network, without an event for each packet.

A queue sends one packet at a time, first come first served, and never idles while one waits. Its n-th
packet then leaves at D[n] = max(A[n], D[n-1]) + S[n] (Lindley). With C the running sum of the service
times S this is D = C + running maximum of (A - (C - S)), a few passes over whole arrays; in integer ns
it is the same number, not nearly the same.

Exact here: first come first served, unbounded queues, one server each, fixed routes, routes that
pass queues in an order that has no cycle. :class:`NotExactError` refuses the rest: a bounded queue that
would drop, a cycle. Not represented at all: loss, priorities, several servers at one queue, and senders that
react to what arrives.

Packets that arrive at one queue at the same ns are taken in the order of their rows, so whoever makes the
arrays decides: put the rows in the order of (time of sending, source).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

Integers = NDArray[np.int64]

SECOND = 1_000_000_000
OCTET = 8
NO_QUEUE = -1
"""In a table of routes: this route passes no further queue."""
_MOST_OCTETS = 1_000_000_000
_BLOCK = 1 << 15
_FEW = 1 << 16
_LIMIT = np.iinfo(np.int64).max


class NotExactError(ValueError):
    """Says why a network's queues cannot be worked out exactly."""


def finish_times(arrivals: Integers, services: Integers) -> Integers:
    """Returns when each packet has left one queue (ns), its arrivals in order; all of shape (n,).

    ValueError when the arrivals are not in order.
    """
    if np.any(arrivals[1:] < arrivals[:-1]):
        raise ValueError("arrivals: expected them in order of time")
    _expect_room(arrivals, services, 1)
    return _finish(arrivals, services)


def fan_out_times(arrivals: Integers, copies: Integers, frame_ns: int, copy_ns: int) -> Integers:
    """Returns when each copy leaves a relay that copies one frame after another, shape (sum of copies,).

    Frame n, arriving in order at ``arrivals[n]``, costs ``frame_ns`` and then ``copy_ns`` for each of its
    ``copies[n]`` (at least 1) copies; a copy leaves as soon as it is made.
    """
    if np.any(copies < 1):
        raise ValueError("copies: expected at least 1 of each frame")
    services = np.full(int(copies.sum()), copy_ns, np.int64)
    services[np.cumsum(copies) - copies] += frame_ns
    return finish_times(np.repeat(arrivals, copies), services)


@dataclass(frozen=True)
class Queues:
    """The queues of a network, one for each direction of each link; arrays of shape (queues,).

    ``rates`` in bit/s, 0 where nothing queues; ``delays`` in ns; ``limits`` in octets waiting, as
    :class:`simulator.links.Direction` counts them, None where all are unbounded; ``framing``: octets
    that each packet has on the wire and not in the queue.
    """

    rates: Integers
    delays: Integers
    limits: Integers | None = None
    framing: int = 0

    def __post_init__(self) -> None:
        if self.rates.shape != self.delays.shape or self.rates.ndim != 1:
            raise ValueError("queues: expected as many rates as delays")
        if np.any(self.rates < 0) or np.any(self.delays < 0):
            raise ValueError("queues: expected rates and delays of 0 or more")
        if self.limits is not None and self.limits.shape != self.rates.shape:
            raise ValueError("queues: expected as many limits as rates")

    def __len__(self) -> int:
        return len(self.rates)


@dataclass(frozen=True)
class Routes:
    """Which queues are passed on which route, and in which order queues can be worked out.

    ``table``, shape (levels, routes): the queue that a route passes at each level, or :data:`NO_QUEUE`.
    All queues of a level are independent of each other and of later levels.
    """

    table: Integers

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
        level = _levels(hops, queues)
        used = hops != NO_QUEUE
        table = np.full((int(level.max(initial=-1)) + 1, len(hops)), NO_QUEUE, np.int64)
        routes = np.broadcast_to(np.arange(len(hops))[:, None], hops.shape)[used]
        table[level[hops[used]], routes] = hops[used]
        return Routes(table)


@dataclass(frozen=True)
class Passage:
    """What became of the packets: arrivals at the ends of their routes (ns), and what each queue carried.

    ``arrivals`` has the packets' shape (n,); ``packets``, ``octets`` (with framing) and ``busy`` (ns) have
    the queues'. ``transmissions`` is how many packets all queues have sent. All are exact.
    """

    arrivals: Integers
    packets: Integers
    octets: Integers
    busy: Integers

    @property
    def transmissions(self) -> int:
        """Packets times queues that they passed."""
        return int(self.packets.sum())


def carry(
    queues: Queues, routes: Routes, route: Integers, sent: Integers, octets: Integers
) -> Passage:
    """Lets packets pass their routes' queues, level by level.

    ``route``, ``sent`` (ns) and ``octets`` have shape (n,). NotExactError when a bounded queue would drop.
    """
    if not route.shape == sent.shape == octets.shape:
        raise ValueError("packets: expected as many routes, times and sizes")
    if octets.size and (octets.min() < 0 or octets.max() + queues.framing >= _MOST_OCTETS):
        raise ValueError(f"octets: expected 0 to {_MOST_OCTETS - queues.framing - 1} a packet")
    times = sent.astype(np.int64, copy=True)
    packets, total, busy = (np.zeros(len(queues), np.int64) for _ in range(3))
    for row in routes.table:
        order, used, ends = _grouped(row[route], len(queues))
        packets[used] += np.diff(ends)
        for first, last in _blocks(ends):
            rows, some = order[ends[first] : ends[last]], used[first:last]
            block = _Block(queues, some, np.diff(ends[first : last + 1]), rows)
            total[some], busy[some] = block.serve(times, octets)
    return Passage(times, packets, total, busy)


class _Block:
    """Some queues of a level with all of their packets, few enough for the processor's cache if possible."""

    def __init__(self, queues: Queues, used: Integers, counts: Integers, rows: Integers) -> None:
        """Takes the queues with packets, how many each has, and the packets' rows, queue by queue."""
        self._queues, self._used, self._counts, self._rows = queues, used, counts, rows

    def serve(self, times: Integers, octets: Integers) -> tuple[Integers, Integers]:
        """Brings the packets' times to the ends of their links; returns octets and busy ns by queue."""
        arrivals = times[self._rows]
        sizes = octets[self._rows] + self._queues.framing
        services = self._services(sizes)
        # Queues follow one another in time, too far apart to meet: one pass then serves them all.
        apart = int(arrivals.max()) - int(arrivals.min()) + int(services.sum()) + 1
        _expect_room(arrivals, services, len(self._used) + 1)
        shifts = self._spread(np.arange(len(self._used)) * apart)
        arrivals += shifts
        if np.any(arrivals[1:] < arrivals[:-1]):
            again = np.argsort(arrivals, kind="stable")
            self._rows, arrivals = self._rows[again], arrivals[again]
            sizes, services = sizes[again], services[again]
        finished = _finish(arrivals, services)
        if self._queues.limits is not None:
            self._expect_no_drop(arrivals - shifts, finished - shifts, sizes)
        shifts -= self._spread(self._queues.delays[self._used])
        finished -= shifts
        times[self._rows] = finished
        starts = np.cumsum(self._counts) - self._counts
        return np.add.reduceat(sizes, starts), np.add.reduceat(services, starts)

    def _spread(self, values: Integers) -> Integers:
        """Returns each queue's value for each of its packets."""
        return np.repeat(values, self._counts)

    def _services(self, sizes: Integers) -> Integers:
        """Returns how long each packet occupies its queue's wire (ns)."""
        rates = self._queues.rates[self._used]
        if rates[0] > 0 and np.all(rates == rates[0]):  # one divisor for all is much faster
            services: Integers = sizes * (OCTET * SECOND) // rates[0]
            return services
        spread = self._spread(rates)
        return np.where(spread > 0, sizes * (OCTET * SECOND) // np.maximum(spread, 1), 0)

    def _expect_no_drop(self, arrivals: Integers, finished: Integers, sizes: Integers) -> None:
        """Raises NotExactError when a packet would find its queue full."""
        assert self._queues.limits is not None
        starts = np.cumsum(self._counts) - self._counts
        before = np.concatenate((arrivals[:1], finished[:-1]))
        before[starts] = arrivals[starts]
        rates = self._spread(self._queues.rates[self._used])
        room = self._spread(self._queues.limits[self._used]) - (sizes - self._queues.framing)
        bound = -(-np.maximum(room + 1, 0) * (OCTET * SECOND) // np.maximum(rates, 1))
        full = (rates > 0) & ((before - arrivals >= bound) | (room < 0))
        if np.any(full):
            at = int(np.argmax(full))
            queue = int(self._spread(self._used)[at])
            raise NotExactError(
                f"queue {queue}: {self._queues.limits[queue]} octets: it would drop a packet at "
                f"{arrivals[at]} ns; what comes after a drop is not worked out here"
            )


def _finish(arrivals: Integers, services: Integers) -> Integers:
    done = np.cumsum(services)
    slack = arrivals - done
    slack += services
    done += np.maximum.accumulate(slack, out=slack)
    return done


def _grouped(queue: Integers, queues: int) -> tuple[Integers, Integers, Integers]:
    """Returns the rows queue by queue, the queues in use, and where each one's rows begin and end.

    Rows stay in order within a queue: it is a counting sort, not one by comparison.
    """
    rows = np.arange(len(queue), dtype=np.int64)
    passing = queue != NO_QUEUE
    if not passing.all():
        rows, queue = rows[passing], queue[passing]
    counts = np.bincount(queue, minlength=queues)
    used = np.flatnonzero(counts)
    ends = np.concatenate(([0], np.cumsum(counts[used])))
    if queues <= _FEW:  # NumPy sorts 16 bits by counting
        order = np.argsort(queue.astype(np.uint16), kind="stable")
        return (order if passing.all() else rows[order]), used, ends
    matrix = csr_matrix((rows, (queue, np.arange(len(rows)))), shape=(queues, max(1, len(rows))))
    return matrix.data, used, ends


def _blocks(ends: Integers) -> Iterator[tuple[int, int]]:
    """Cuts queues into ranges with about :data:`_BLOCK` packets, each of at least one queue."""
    first = 0
    while first < len(ends) - 1:
        last = int(np.searchsorted(ends, ends[first] + _BLOCK, "right")) - 1
        last = max(first + 1, last)
        yield first, last
        first = last


def _expect_room(arrivals: Integers, services: Integers, queues: int) -> None:
    """Raises NotExactError when times would not fit into 64 bits."""
    if not arrivals.size:
        return
    span = (
        int(arrivals.max()) - min(0, int(arrivals.min())) + int(services.sum(dtype=np.float64)) + 1
    )
    if span * queues >= _LIMIT // 2:
        raise NotExactError(
            "times: expected fewer queues or a shorter span, 64 bits do not hold them"
        )


def _levels(hops: Integers, queues: int) -> Integers:
    """Returns the level of each queue: one more than that of any queue that is passed right before it."""
    pairs = (hops[:, 1:] != NO_QUEUE) & (hops[:, :-1] != NO_QUEUE)
    edges = np.unique(np.stack((hops[:, :-1][pairs], hops[:, 1:][pairs]), axis=1), axis=0)
    ends = edges[:, 0], edges[:, 1]
    graph = csr_matrix((np.ones(len(edges)), ends), shape=(queues, queues))
    _, circle = connected_components(graph, connection="strong")
    inside = circle[ends[0]] == circle[ends[1]]
    if np.any(inside):
        raise NotExactError(
            f"queue {int(ends[0][inside][0])}: routes pass queues in an order with a cycle; expected none"
        )
    level = np.zeros(queues, np.int64)
    while True:
        before = level.copy()
        np.maximum.at(level, ends[1], before[ends[0]] + 1)
        if np.array_equal(before, level):
            return level
