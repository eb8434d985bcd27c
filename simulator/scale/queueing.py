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

How it is fast: where routes keep the order of what is sent, as down a tree, packets stay from level to
level as their last queue left them. They then need no sorting, only to be told apart by a counting sort
of few bits, and they go in parts that fit into the processor's cache. What goes along beside the times is
narrow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from simulator.scale.levels import Integers, NotExactError, Numbers, Routes, narrowest

SECOND = 1_000_000_000
OCTET = 8
_MOST_OCTETS = 1_000_000_000
_PART = 15_000
"""Packets at a time: in 64 bits less than 128 KiB, for which malloc need not ask the kernel."""
_LIMIT = np.iinfo(np.int64).max


def finish_times(arrivals: Integers, services: Integers) -> Integers:
    """Returns when each packet has left one queue (ns), its arrivals in order; all of shape (n,).

    ValueError when the arrivals are not in order.
    """
    if np.any(arrivals[1:] < arrivals[:-1]):
        raise ValueError("arrivals: expected them in order of time")
    finished: Integers = arrivals.copy()
    if finished.size:
        _expect_room(int(arrivals[0]), int(arrivals[-1]), _sum(services), 1)
        _finish(finished, services)
    return finished


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
class Passage:
    """What became of the packets: arrivals at the ends of their routes (ns), and what each queue carried.

    ``arrivals`` has the packets' shape; ``packets``, ``octets`` (with framing) and ``busy`` (ns) have
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
    queues: Queues, routes: Routes, route: Numbers, sent: Integers, octets: Integers
) -> Passage:
    """Lets packets pass their routes' queues.

    ``route`` has shape (n,) or, for n frames that are all sent as so many copies, (n, copies); rows count
    frame by frame. ``sent`` (ns) and ``octets`` have shape (n,). NotExactError when a bounded queue would
    drop.
    """
    if not route.shape[:1] == sent.shape == octets.shape:
        raise ValueError("packets: expected as many routes, times and sizes")
    if octets.size and (octets.min() < 0 or octets.max() + queues.framing >= _MOST_OCTETS):
        raise ValueError(f"octets: expected 0 to {_MOST_OCTETS - queues.framing - 1} a packet")
    if route.size and (route.min() < 0 or route.max() >= routes.count):
        raise ValueError(f"packets: expected routes from 0 to {routes.count - 1}")
    network, arrivals = _Network(queues, routes), np.empty(route.shape, np.int64)
    in_order = routes.keep_order and bool(np.all(sent[1:] >= sent[:-1]))
    for part in _parts(route.shape, max(_PART, len(queues)) if in_order else route.size):
        packets = _Packets.of(route[part], sent[part], octets[part] + queues.framing)
        packets = network.carry(packets, in_order)
        arrivals[part].reshape(-1)[packets.rows] = packets.times
    return Passage(arrivals, network.packets, network.octets, network.busy)


def _parts(shape: tuple[int, ...], most: int) -> Iterator[slice]:
    """Cuts frames into parts of that many packets at most, or of one frame."""
    frames = max(1, most // max(1, math.prod(shape[1:])))
    for first in range(0, shape[0], frames):
        yield slice(first, first + frames)


@dataclass
class _Packets:
    """Packets on their way, in some order: times (ns), octets with framing, routes, rows; of shape (n,)."""

    times: Integers
    octets: Numbers
    routes: Numbers
    rows: Numbers

    @staticmethod
    def of(route: Numbers, sent: Integers, octets: Integers) -> _Packets:
        """Takes frames, each with the routes of its copies."""
        copies = route.size // max(len(sent), 1)
        return _Packets(
            np.repeat(sent.astype(np.int64), copies),
            np.repeat(octets.astype(np.int32), copies),
            route.astype(narrowest(int(route.max(initial=0)))).ravel(),
            np.arange(route.size, dtype=narrowest(route.size)),
        )

    def at(self, index: Integers | slice) -> _Packets:
        """Returns some of the packets, in another order; a slice shares their memory."""
        return _Packets(self.times[index], self.octets[index], self.routes[index], self.rows[index])

    def put(self, index: Integers | slice, others: _Packets) -> None:
        """Puts others in the place of some of the packets."""
        self.times[index], self.octets[index] = others.times, others.octets
        self.routes[index], self.rows[index] = others.routes, others.rows


class _Network:
    """Queues, and what they have carried so far."""

    def __init__(self, queues: Queues, routes: Routes) -> None:
        self._queues, self._routes = queues, routes
        self._divisors = np.where(queues.rates > 0, queues.rates, _LIMIT)
        self._free = np.full(len(queues), -_LIMIT)  # when each queue has sent its last packet, ns
        self.packets, self.octets, self.busy = (np.zeros(len(queues), np.int64) for _ in range(3))

    def carry(self, packets: _Packets, in_order: bool) -> _Packets:
        """Brings packets to the ends of their routes, level by level; those in order change their places."""
        for level in self._routes.levels:
            place, passing = np.take(level.place, packets.routes, mode="clip"), None
            if np.any(place == len(level.queues)):
                passing = np.flatnonzero(place < len(level.queues))
                place = place[passing]
            order = _counting_sort(place)
            here = packets.at(order if passing is None else passing[order])
            counts = np.bincount(place, minlength=len(level.queues))
            used = np.flatnonzero(counts)
            for first, last, part in _blocks(counts[used]):
                some = used[first:last]
                self._serve(level.queues[some], counts[some], here.at(part))
            if not in_order:
                packets.times[here.rows] = here.times
            elif passing is None:
                packets = here
            else:
                packets.put(passing, here)
        return packets

    def _serve(self, queues: Integers, counts: Integers, packets: _Packets) -> None:
        """Brings packets to the ends of their links: ``counts`` of them, at least 1, for each queue."""
        times, free, starts = packets.times, self._free[queues], np.cumsum(counts) - counts
        services = self._services(queues, counts, packets.octets)
        first, last, work = int(times.min()), max(int(times.max()), int(free.max())), _sum(services)
        _expect_room(first, last, work, len(queues) + 1)
        # Queues follow one another in time, too far apart to meet: one pass then serves them all.
        shifts = np.arange(len(queues)) * (last - first + work + 1)
        times += np.repeat(shifts, counts)
        if _put_in_order(packets):
            services = self._services(queues, counts, packets.octets)
        arrivals = times if self._queues.limits is None else times.copy()
        times[starts] = np.maximum(times[starts], free + shifts)
        _finish(times, services)
        if self._queues.limits is not None:
            self._expect_no_drop(queues, counts, arrivals, times, packets.octets, shifts)
        times -= np.repeat(shifts - self._queues.delays[queues], counts)
        self._free[queues] = times[starts + counts - 1] - self._queues.delays[queues]
        self.packets[queues] += counts
        self.octets[queues] += np.add.reduceat(packets.octets, starts, dtype=np.int64)
        self.busy[queues] += np.add.reduceat(services, starts)

    def _services(self, queues: Integers, counts: Integers, octets: Numbers) -> Integers:
        """Returns how long each packet occupies its queue's wire (ns)."""
        divisors = self._divisors[queues]
        services = np.multiply(octets, OCTET * SECOND, dtype=np.int64)
        one_for_all = np.all(divisors == divisors[0])  # is much faster
        services //= divisors[0] if one_for_all else np.repeat(divisors, counts)
        return services

    def _expect_no_drop(
        self,
        queues: Integers,
        counts: Integers,
        arrivals: Integers,
        finished: Integers,
        octets: Numbers,
        shifts: Integers,
    ) -> None:
        """Raises NotExactError when a packet would find its queue full."""
        assert self._queues.limits is not None
        starts = np.cumsum(counts) - counts
        before = np.concatenate((arrivals[:1], finished[:-1]))
        before[starts] = np.maximum(arrivals[starts], self._free[queues] + shifts)
        rates = np.repeat(self._queues.rates[queues], counts)
        room = np.repeat(self._queues.limits[queues], counts) - (octets - self._queues.framing)
        bound = -(-np.maximum(room + 1, 0) * (OCTET * SECOND) // np.maximum(rates, 1))
        full = (rates > 0) & ((before - arrivals >= bound) | (room < 0))
        if np.any(full):
            at = int(np.argmax(full))
            of = int(np.searchsorted(starts, at, "right")) - 1
            raise NotExactError(
                f"queue {queues[of]}: {self._queues.limits[queues[of]]} octets: it would drop a packet at "
                f"{arrivals[at] - shifts[of]} ns; what comes after a drop is not worked out here"
            )


def _finish(times: Integers, services: Integers) -> None:
    """Makes of the times when packets arrive at a queue those when they have left it."""
    done = np.cumsum(services)
    times -= done
    times += services
    np.maximum.accumulate(times, out=times)
    times += done


def _put_in_order(packets: _Packets) -> bool:
    """Puts packets in the order of time, and of rows as they are; returns whether they were not."""
    if np.all(packets.times[1:] >= packets.times[:-1]):
        return False
    packets.put(slice(None), packets.at(np.argsort(packets.times, kind="stable")))
    return True


def _counting_sort(numbers: Numbers) -> Integers:
    """Returns the stable order of numbers of 32 bits at most: NumPy sorts up to 16 bits by counting."""
    if numbers.itemsize <= 2:
        return np.argsort(numbers, kind="stable")
    order = np.argsort(numbers.astype(np.uint16), kind="stable")
    return order[np.argsort((numbers[order] >> 16).astype(np.uint16), kind="stable")]


def _blocks(counts: Integers) -> Iterator[tuple[int, int, slice]]:
    """Cuts queues into ranges with about :data:`_PART` packets, or one queue; yields where these are, too."""
    ends = np.concatenate(([0], np.cumsum(counts)))
    first = 0
    while first < len(counts):
        last = int(np.searchsorted(ends, ends[first] + _PART, "right")) - 1
        last = max(first + 1, last)
        yield first, last, slice(ends[first], ends[last])
        first = last


def _sum(services: Integers) -> int:
    """Returns the sum; NotExactError when 64 bits do not hold it."""
    if (
        int(services.max()) * len(services) >= _LIMIT
        and services.sum(dtype=np.float64) >= _LIMIT / 2
    ):
        raise NotExactError("times: expected less work for the queues, 64 bits do not hold it")
    return int(services.sum())


def _expect_room(first: int, last: int, work: int, queues: int) -> None:
    """Raises NotExactError when queues' times, the ones after the others, would not fit into 64 bits."""
    if (last - min(0, first) + work + 1) * queues >= _LIMIT // 2:
        raise NotExactError(
            "times: expected fewer queues or a shorter span, 64 bits do not hold them"
        )
