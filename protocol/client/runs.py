"""Datagrams that stand behind each other in one read, and which of them can be opened together.

Patent: Fig. 8-2 steps 810-812.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from protocol.types import FrameRun
from protocol.wire import esp

COUNTERS = 1 << 32
"""How many low halves of counters there are."""


class Places(NamedTuple):
    """Where the parts of a datagram begin that are to be compared."""

    tag: int
    """Octets of the VPN header; behind it the hop tag, where there is one."""
    inner: int
    """The inner IP header."""
    packet: int
    """The ESP packet."""


class Alike(NamedTuple):
    """Datagrams behind each other, in which all that is in the clear is equal but for hop tags and counters.

    Sequence numbers are the counters' low halves and grow by one, unless there is one datagram alone.
    """

    counters: tuple[bytes, ...]
    """The low half of each counter."""
    sealed: tuple[bytes, ...]
    """What stands behind each ESP header and IV."""


def split(octets: memoryview, size: int, places: Places) -> Iterator[Alike]:
    """Yields the datagrams in ``octets``, all of ``size``, in runs."""
    found = _fields(places, size, len(octets) // size).unpack(octets)
    headers, inners, sequences, senders, counters, sealed = (
        found[column::6] for column in range(6)
    )
    first, count = int.from_bytes(sequences[0], "big"), len(sealed)
    alike = sequences == counters and first + count <= COUNTERS
    alike &= all(part.count(part[0]) == count for part in (headers, inners, senders))
    if alike and counters == esp.low_counters(first, count):
        yield Alike(counters, sealed)
        return
    clear = tuple(zip(headers, inners, senders, strict=True))
    start, expected = 0, first
    for place, sequence in enumerate(sequences):
        number, same = int.from_bytes(sequence, "big"), sequence == counters[place]
        if place and (number != expected or not same or clear[place] != clear[place - 1]):
            yield Alike(counters[start:place], sealed[start:place])
            start = place
        # a sequence number that is not the counter's goes alone: what comes next is no run with it
        expected = number + 1 if same else -1
    yield Alike(counters[start:], sealed[start:])


@lru_cache(maxsize=256)
def _fields(places: Places, size: int, count: int) -> struct.Struct:
    """Returns how to read VPN header, inner header with SPI, sequence number, sender, counter and the rest.

    That is of ``count`` datagrams behind each other.
    """
    tag, inner, packet = places
    constant = packet - inner + 4
    rest = size - packet - esp.HEADER_LENGTH - esp.IV_LENGTH
    return struct.Struct(f"{tag}s{inner - tag}x{constant}s4s4s4s{rest}s" * count)


def rows(*columns: Sequence[bytes]) -> bytes:
    """Returns the first of each column behind each other, then the second of each, …"""
    parts = [b""] * (len(columns) * len(columns[0]))
    for place, column in enumerate(columns):
        parts[place :: len(columns)] = column
    return b"".join(parts)


@lru_cache(maxsize=256)
def _ends(size: int, head: int, tail: int, count: int) -> struct.Struct:
    return struct.Struct(f"{head}s{size - head - tail}x{tail}s" * count)


def run_of(rows: list[bytes], before: int, behind: int, common: int) -> FrameRun | None:
    """Returns the frames that stand between the first and the last octets of each row.

    None unless all rows have the length of the first, and the ``common`` first and the ``behind`` last
    octets of it.
    """
    first, count = rows[0], len(rows)
    octets, size = b"".join(rows), len(first)
    if len(octets) != size * count:
        return None
    ends = _ends(size, common, behind, count).unpack(octets)
    if ends != (first[:common], first[size - behind :]) * count:
        return None
    return FrameRun(octets, size, before, behind)
