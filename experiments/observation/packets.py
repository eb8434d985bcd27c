"""Reads the packets of a capture, and seeks octets in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from experiments.observation.capture import CaptureError

RUN_LENGTH = 16


def read_packets(path: Path) -> Iterator[bytes]:
    """Yields the octets of every packet of a pcap or pcapng file, from the link layer up."""
    for octets, _ in _read(path):
        yield octets


def read_timed_packets(path: Path) -> Iterator[tuple[float, bytes]]:
    """Yields, of a pcapng file, when each packet was captured (s since 1970), and its octets."""
    for octets, about in _read(path):
        yield ((about.tshigh << 32) + about.tslow) / about.tsresol, octets


def _read(path: Path) -> Iterator[tuple[bytes, Any]]:
    # Imported here: scapy takes longer to load than everything else in this module.
    from scapy.error import Scapy_Exception
    from scapy.utils import RawPcapReader

    try:
        # Given the file, as scapy leaves it open when it finds no capture in it.
        with path.open("rb") as file, RawPcapReader(cast(Any, file)) as reader:
            yield from reader
    except (OSError, Scapy_Exception) as error:
        raise CaptureError(f"{path.name}: {error}") from error


@dataclass(frozen=True)
class Sighting:
    """Says where a run of sought octets was seen: packet (counted from 1) and offset in it."""

    packet: int
    offset: int
    octets: bytes


def find_runs(path: Path, needles: Iterable[bytes], length: int = RUN_LENGTH) -> Iterator[Sighting]:
    """Yields, for every packet, the first run of ``length`` octets that a needle has too.

    A run may begin anywhere in the needle and anywhere in the packet. Needles shorter than
    ``length`` are refused with CaptureError, as nothing could ever be found of them.
    """
    runs: set[bytes] = set()
    for needle in needles:
        if len(needle) < length:
            raise CaptureError(f"needle of {len(needle)} octets: expected at least {length}")
        runs.update(needle[i : i + length] for i in range(len(needle) - length + 1))
    for number, octets in enumerate(read_packets(path), start=1):
        for offset in range(len(octets) - length + 1):
            if octets[offset : offset + length] in runs:
                yield Sighting(number, offset, octets[offset : offset + length])
                break


def contains_run_of(path: Path, *needles: bytes, length: int = RUN_LENGTH) -> bool:
    """Tells whether any packet has any run of ``length`` octets in common with any needle."""
    return next(find_runs(path, needles, length), None) is not None
