"""Searches the memory of a running process for octet strings: does a relay hold a data key?

What is searched is what a process can write and has to itself (``rw-p`` in /proc/PID/maps): heap, stacks,
data of libraries. A scan that finds nothing says something only beside one that finds: look for a client's
key in the client too. Needs the right to trace the process (root).

    python -m experiments.observation.memory_scan PID KEY_IN_HEX …
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nodes.command_line import Parser, whole

PIECE = 1024 * 1024
"""Octets that are read at a time."""
CIPHER_LIBRARY = "/cryptography/"
"""Part of the path of the shared objects of Python's `cryptography`; TLS's own libcrypto is another."""


class ScanError(RuntimeError):
    """Says which process could not be searched, and why."""


@dataclass(frozen=True)
class Region:
    """One mapping of a process: addresses, access (such as ``rw-p``) and file, if any."""

    start: int
    end: int
    access: str
    path: str


@dataclass(frozen=True)
class Scan:
    """What a scan has found: names of strings with their addresses; and how much was read."""

    found: Mapping[str, tuple[int, ...]]
    octets: int
    unreadable: int
    """Octets of mappings that the kernel did not give."""


def regions(pid: int) -> list[Region]:
    """Returns a process's mappings; raises ScanError when it is gone or may not be looked at."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise ScanError(f"process {pid}: {(error.strerror or str(error)).lower()}") from None
    return [_region(line) for line in lines]


def cipher_modules(pid: int) -> list[str]:
    """Returns the shared objects of Python's `cryptography` that the process has mapped."""
    return sorted({one.path for one in regions(pid) if CIPHER_LIBRARY in one.path})


def key_forms(associations: Iterable[Mapping[str, Any]]) -> dict[str, bytes]:
    """Returns every form in which data keys may stand in memory, by name.

    ``associations`` are SAs as a client's key socket shows them. Forms are the raw octets and
    hexadecimal text in either case; as a string of wider characters it would be found nowhere.
    """
    forms = {}
    for one in associations:
        key = bytes.fromhex(one["key"])
        name = f"SPI {one['spi']:#010x}"
        forms[f"{name}, octets"] = key
        forms[f"{name}, text"] = key.hex().encode()
        forms[f"{name}, upper-case text"] = key.hex().upper().encode()
    return forms


def scan(pid: int, wanted: Mapping[str, bytes]) -> Scan:
    """Searches all private memory that the process can write; raises ScanError.

    ``wanted`` maps a name to the octets to look for; of those that are not there none is in ``found``.
    """
    if not wanted or not all(wanted.values()):
        raise ValueError("expected at least one string, and no empty one")
    found: dict[str, set[int]] = {}
    octets = unreadable = 0
    private = [one for one in regions(pid) if one.access == "rw-p"]
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            for region in private:
                read = 0
                for address, piece, fresh in _pieces(memory, region, wanted):
                    read += fresh
                    _search(piece, address, wanted, found)
                octets += read
                unreadable += region.end - region.start - read
    except OSError as error:
        raise ScanError(f"process {pid}: {(error.strerror or str(error)).lower()}") from None
    return Scan({name: tuple(sorted(at)) for name, at in found.items()}, octets, unreadable)


def _pieces(
    memory: Any, region: Region, wanted: Mapping[str, bytes]
) -> Iterator[tuple[int, bytes, int]]:
    """Yields (address, octets, how many of them are new); each overlaps the one before it."""
    overlap = max(map(len, wanted.values())) - 1
    address, tail = region.start, b""
    while address < region.end:
        try:
            memory.seek(address)
            fresh = memory.read(min(PIECE, region.end - address))
        except (OSError, OverflowError):  # the kernel's own pages, or unmapped meanwhile
            return
        if not fresh:
            return
        piece = tail + fresh
        yield address - len(tail), piece, len(fresh)
        address += len(fresh)
        tail = piece[-overlap:] if overlap else b""


def _search(
    piece: bytes, address: int, wanted: Mapping[str, bytes], found: dict[str, set[int]]
) -> None:
    for name, octets in wanted.items():
        at = piece.find(octets)
        while at >= 0:
            found.setdefault(name, set()).add(address + at)
            at = piece.find(octets, at + 1)


def _region(line: str) -> Region:
    """Reads a line of /proc/PID/maps: addresses, access, offset, device, inode, path."""
    addresses, access, _, _, _, *path = line.split(maxsplit=5)
    start, end = (int(number, 16) for number in addresses.split("-"))
    return Region(start, end, access, path[0] if path else "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line: 0 when none of the keys is there, 1 when one is."""
    parser = Parser(prog="python -m experiments.observation.memory_scan", description=__doc__)
    parser.add_argument("pid", type=whole(1))
    parser.add_argument("keys", nargs="+", metavar="key", type=bytes.fromhex)
    options = parser.parse_args(arguments)
    wanted = {}
    for number, key in enumerate(options.keys, 1):
        wanted[f"key {number}, octets"] = key
        wanted[f"key {number}, text"] = key.hex().encode()
    try:
        result = scan(options.pid, wanted)
    except ScanError as error:
        print(f"memory scan: {error}", file=sys.stderr)
        return 3
    for name, places in result.found.items():
        print(f"{name}: {len(places)} times, first at {places[0]:#x}")
    print(f"{result.octets} octets searched, {result.unreadable} could not be read")
    return 1 if result.found else 0


if __name__ == "__main__":
    sys.exit(main())
