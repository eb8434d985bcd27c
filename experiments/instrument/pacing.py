"""Sends datagrams on an absolute schedule."""

from __future__ import annotations

import errno
import gc
import random
import socket
import statistics
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import msgspec

from experiments.instrument.commands import (
    FLOOR_CLASS,
    LARGEST_BATCH_OCTETS,
    MOST_SEGMENTS,
    Sent,
)
from experiments.instrument.window import LATENESS_LIMIT

UDP_SEGMENT = 103
"""linux/udp.h: the kernel cuts what one call sends into datagrams of this many octets."""

_SECOND = 1_000_000_000
_LEAD_NS = 1_000_000
_SLEEP_FROM_NS = 500_000
_SPIN_NS = 300_000
_TOLERATED_NS = 2_000_000
_FULL = (errno.ENOBUFS, errno.EAGAIN)
_Item = TypeVar("_Item")


class PacingError(ValueError):
    """A burst that one system call cannot carry."""


def batches(datagrams: Sequence[bytes], burst: int) -> list[bytes]:
    """Joins each ``burst`` datagrams, all of one size, into what one system call sends.

    Where first and last are the same object, all are: one and the same, again and again.
    """
    if burst == 1:
        return list(datagrams)
    octets = burst * len(datagrams[0]) if datagrams else 0
    if not 1 < burst <= MOST_SEGMENTS or octets > LARGEST_BATCH_OCTETS:
        raise PacingError(
            f"burst of {burst}: expected 1 to {MOST_SEGMENTS} datagrams and at most "
            f"{LARGEST_BATCH_OCTETS} octets together"
        )
    if datagrams and datagrams[0] is datagrams[-1]:
        return [b"".join(datagrams[:burst])] * (len(datagrams) // burst)
    return [b"".join(datagrams[first : first + burst]) for first in range(0, len(datagrams), burst)]


def sender(
    udp: socket.socket, destination: tuple[str, int], segment: int | None
) -> Callable[[bytes], object]:
    """Returns what sends one batch; ``segment`` is the datagrams' size when it holds several."""
    if segment is None:
        return lambda batch: udp.sendto(batch, destination)
    ancillary = [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", segment))]
    return lambda batch: udp.sendmsg([batch], ancillary, 0, destination)


class Meter:
    """A sender whose calls' CPU time is taken.

    Where receives run where they arrive, that is also the cost of the way through bridges, and of all
    that a node's kernel does at once with what comes to it.
    """

    def __init__(self, send: Callable[[bytes], object]) -> None:
        self._send = send
        self._costs: list[int] = []
        self.refused = 0

    @property
    def cpu_ns(self) -> int:
        """All calls' CPU time, in ns, as if each had cost what the middle one did.

        An interrupt that falls into a call is charged to it, and would outweigh what is sought.
        """
        return round(statistics.median(self._costs)) * len(self._costs) if self._costs else 0

    def __call__(self, batch: bytes) -> object:
        """Sends one batch."""
        before = time.thread_time_ns()
        try:
            return self._send(batch)
        except OSError:
            self.refused += 1
            raise
        finally:
            self._costs.append(time.thread_time_ns() - before)


def send_pairs(
    udp: socket.socket,
    send: Callable[[bytes], object],
    work: Sequence[bytes],
    pairs: int,
    rate: float,
) -> Sent:
    """Sends so many batches, ``work`` over and over, each also under FLOOR_CLASS, ``rate`` pairs a second.

    Both calls of a pair differ in nothing else, and are so close that the machine's mood is the same.
    Chance says which goes first: it finds the batch cold, and pages where the one before left them.
    Frames are counted as batches here, those under FLOOR_CLASS not at all.
    """
    chance = random.Random(pairs)
    meters = {0: Meter(send), FLOOR_CLASS: Meter(send)}

    def send_one(one: tuple[int, bytes]) -> object:
        traffic_class, batch = one
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, traffic_class)
        return meters[traffic_class](batch)

    calls = [
        (traffic_class, work[index % len(work)])
        for index in range(pairs)
        for traffic_class in chance.sample((0, FLOOR_CLASS), 2)
    ]
    try:
        sent = send_paced(send_one, calls, 2 * rate)
    finally:
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 0)
    refused = meters[0].refused
    return msgspec.structs.replace(
        sent,
        frames=pairs - refused,
        refused=refused,
        cpu_ns=meters[0].cpu_ns,
        floor_ns=meters[FLOOR_CLASS].cpu_ns,
    )


def send_paced(send: Callable[[_Item], object], work: Sequence[_Item], rate: float) -> Sent:
    """Sends one batch after the other, ``rate`` a second, and says how that went.

    Call i is due at start + i/rate, however late the one before was. Frames are counted as
    batches here. A call that the kernel refuses for want of room is counted and not repeated.
    """
    clock = time.monotonic_ns
    latest = late = refused = 0
    gc.collect()
    gc.disable()
    try:
        start = clock() + _LEAD_NS
        for due, batch in zip(_schedule(start, rate), work, strict=False):
            while (ahead := due - clock()) > 0:
                if ahead > _SLEEP_FROM_NS:
                    time.sleep((ahead - _SPIN_NS) / _SECOND)
            late = -ahead
            if late > latest:
                latest = late
            try:
                send(batch)
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                refused += 1
        end = clock()
    finally:
        gc.enable()
    planned = len(work) / rate
    saturated = late > max(planned * LATENESS_LIMIT * _SECOND, _TOLERATED_NS)
    return Sent(len(work) - refused, refused, start, (end - start) / _SECOND, latest, saturated)


def _schedule(start: int, rate: float) -> Iterator[int]:
    interval = _SECOND / rate
    index = 0
    while True:
        yield start + int(index * interval)
        index += 1
