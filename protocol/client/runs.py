"""Datagrams that stand behind each other in one read, and which of them can be opened together.

Patent: Fig. 8-2 steps 810-812.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple


class Places(NamedTuple):
    """Where the parts of a datagram begin that are to be compared."""

    tag: int
    """Octets of the VPN header; behind it the hop tag, where there is one."""
    inner: int
    """The inner IP header."""
    packet: int
    """The ESP packet."""


def lengths(octets: memoryview, size: int, places: Places) -> Iterator[int]:
    """Yields how many of the datagrams in ``octets``, all of ``size``, are a run; then of the rest; …

    In a run all that is in the clear is equal but for hop tags, sequence numbers and counters, and those
    two are the same and grow by one.
    """
    count, expected, before = 0, None, None
    for header, inner, sequence, sender, counter in _fields(places, size).iter_unpack(octets):
        clear = header, inner, sender
        if sequence != expected or counter != sequence or clear != before:
            if count:
                yield count
            count, before = 0, clear
        # a sequence number that is not the counter's goes alone: what comes next is no run with it
        expected = sequence + 1 if counter == sequence else None
        count += 1
    yield count


@lru_cache(maxsize=256)
def _fields(places: Places, size: int) -> struct.Struct:
    """Returns how to read VPN header, inner header with SPI, sequence number, sender, counter."""
    tag, inner, packet = places
    constant = packet - inner + 4
    return struct.Struct(f"!{tag}s{inner - tag}x{constant}sI4sI{size - packet - 16}x")


def rows(*columns: Sequence[bytes]) -> bytes:
    """Returns the first of each column behind each other, then the second of each, …"""
    parts = [b""] * (len(columns) * len(columns[0]))
    for place, column in enumerate(columns):
        parts[place :: len(columns)] = column
    return b"".join(parts)


@lru_cache(maxsize=256)
def _ends(size: int, head: int, tail: int, count: int) -> struct.Struct:
    return struct.Struct(f"{head}s{size - head - tail}x{tail}s" * count)


@lru_cache(maxsize=256)
def _middles(size: int, head: int, tail: int, count: int) -> struct.Struct:
    return struct.Struct(f"{head}x{size - head - tail}s{tail}x" * count)


def middles(rows: list[bytes], head: int, tail: int, common: int) -> tuple[bytes, ...] | None:
    """Returns what is between the ``head`` first and the ``tail`` last octets of each row.

    None unless all rows have the length of the first, and the ``common`` first and the ``tail`` last
    octets of it.
    """
    first, count = rows[0], len(rows)
    octets, size = b"".join(rows), len(first)
    if len(octets) != size * count:
        return None
    ends = _ends(size, common, tail, count).unpack(octets)
    if ends != (first[:common], first[size - tail :]) * count:
        return None
    return _middles(size, head, tail, count).unpack(octets)
