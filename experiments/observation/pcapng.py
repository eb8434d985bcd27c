"""Writes captures of Ethernet frames that were never on a wire: pcapng (draft-ietf-opsawg-pcapng)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_ETHERNET = 1
_NAME, _RESOLUTION, _NANOSECONDS = 2, 9, b"\x09"


class CapturedFrame(NamedTuple):
    """A frame at an interface; the time is in ns."""

    time: int
    interface: str
    octets: bytes


def write_capture(path: Path, frames: Iterable[CapturedFrame]) -> Path:
    """Writes the frames in their order, each with its interface's name; returns the path."""
    section = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)
    octets = bytearray(_block(_SECTION, section))
    numbers: dict[str, int] = {}
    for frame in frames:
        if frame.interface not in numbers:
            numbers[frame.interface] = len(numbers)
            octets += _interface(frame.interface)
        head = struct.pack(
            "<IIIII",
            numbers[frame.interface],
            frame.time >> 32,
            frame.time & 0xFFFF_FFFF,
            len(frame.octets),
            len(frame.octets),
        )
        octets += _block(_PACKET, head + _padded(frame.octets))
    path.write_bytes(octets)
    return path


def _interface(name: str) -> bytes:
    options = _option(_NAME, name.encode()) + _option(_RESOLUTION, _NANOSECONDS) + _option(0, b"")
    return _block(_INTERFACE, struct.pack("<HHI", _ETHERNET, 0, 0) + options)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _block(kind: int, body: bytes) -> bytes:
    length = 12 + len(body)
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


def _padded(octets: bytes) -> bytes:
    return octets + bytes(-len(octets) % 4)
