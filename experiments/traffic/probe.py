"""Numbered probe frames: how they are built, checked, planned and recorded.

A probe frame is an Ethernet frame of EtherType 0x88B5 (IEEE 802 local experimental 1) in which every
octet follows from six values, so that a receiver can check it byte for byte without the sender::

    destination 6 | source 6 | 0x88B5 | marker 16 | sender 2 | sequence 4 | length 2 | filling

``length`` is that of the whole frame in octets, without frame check sequence. The marker is random
and new for each run: it is what a capture is searched for.

Run as a program, this module sends and receives such frames: ``python -m experiments.traffic.probe --help``.
"""

from __future__ import annotations

import hashlib
import struct
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

ETHERTYPE = 0x88B5
MARKER_LENGTH = 16
SIZES = (64, 512, 1360)
_LAYOUT = struct.Struct("!6s6sH16sHIH")
MINIMUM_LENGTH = _LAYOUT.size
MAXIMUM_LENGTH = 9014


class ProbeError(ValueError):
    """Says why octets are no probe frame, or why one cannot be made."""


def mac_to_text(address: bytes) -> str:
    """Writes a MAC address of 6 octets as ``02:00:00:00:aa:01``."""
    return address.hex(":")


def mac_from_text(text: str) -> bytes:
    """Reads a MAC address such as ``02:00:00:00:aa:01``; raises ProbeError for anything else."""
    try:
        address = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        address = b""
    if len(address) != 6 or text.count(":") != 5:
        raise ProbeError(f"MAC address {text!r}: expected six octets such as 02:00:00:00:aa:01")
    return address


@dataclass(frozen=True)
class ProbeFrame:
    """Names one probe frame; everything in it follows from these values.

    ``destination`` and ``source`` are 6 octets, ``marker`` 16; ``length`` is in octets.
    """

    destination: bytes
    source: bytes
    marker: bytes
    sender: int
    sequence: int
    length: int

    def __post_init__(self) -> None:
        if len(self.destination) != 6 or len(self.source) != 6:
            raise ProbeError("probe frame: MAC addresses have 6 octets")
        if len(self.marker) != MARKER_LENGTH:
            raise ProbeError(f"probe frame: the marker has {MARKER_LENGTH} octets")
        if not MINIMUM_LENGTH <= self.length <= MAXIMUM_LENGTH:
            raise ProbeError(
                f"probe frame of {self.length} octets: expected {MINIMUM_LENGTH}..{MAXIMUM_LENGTH}"
            )
        if not 0 <= self.sender < 1 << 16 or not 0 <= self.sequence < 1 << 32:
            raise ProbeError("probe frame: sender has 16 bits and sequence 32")

    def to_bytes(self) -> bytes:
        """Builds the frame: ``length`` octets."""
        header = _LAYOUT.pack(
            self.destination,
            self.source,
            ETHERTYPE,
            self.marker,
            self.sender,
            self.sequence,
            self.length,
        )
        seed = self.marker + struct.pack("!HI", self.sender, self.sequence)
        return header + hashlib.shake_128(seed).digest(self.length - len(header))

    def describe(self) -> str:
        """Says in a few words which frame this is."""
        return (
            f"sender {self.sender} sequence {self.sequence} ({self.length} octets, "
            f"{mac_to_text(self.source)} to {mac_to_text(self.destination)})"
        )


def parse(octets: bytes) -> ProbeFrame:
    """Reads the header of a probe frame; raises ProbeError where it is none.

    The filling is not looked at: see :func:`verify`.
    """
    if len(octets) < MINIMUM_LENGTH:
        raise ProbeError(f"{len(octets)} octets: a probe frame has at least {MINIMUM_LENGTH}")
    destination, source, ethertype, marker, sender, sequence, length = _LAYOUT.unpack_from(octets)
    if ethertype != ETHERTYPE:
        raise ProbeError(f"EtherType {ethertype:#06x}: a probe frame has {ETHERTYPE:#06x}")
    return ProbeFrame(destination, source, marker, sender, sequence, length)


def verify(octets: bytes) -> bool:
    """Tells whether the octets are a probe frame as it was built, to the last octet."""
    try:
        return parse(octets).to_bytes() == octets
    except ProbeError:
        return False


class Stream(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Describes frames of one size to one destination, at an even rate (frames a second)."""

    destination: str
    length: int
    count: int
    rate: float
    first_sequence: int = 0


class SendPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Describes all that one sender sends: its streams one after another.

    ``marker`` is 32 hexadecimal digits, ``source`` a MAC address as text.
    """

    marker: str
    sender: int
    source: str
    streams: tuple[Stream, ...]

    def frames_of(self, stream: Stream) -> Iterable[ProbeFrame]:
        """Yields one stream's frames in their order; raises ProbeError for bad values."""
        try:
            marker = bytes.fromhex(self.marker)
        except ValueError as error:
            raise ProbeError(f"marker {self.marker!r}: expected 32 hexadecimal digits") from error
        destination, source = mac_from_text(stream.destination), mac_from_text(self.source)
        for sequence in range(stream.first_sequence, stream.first_sequence + stream.count):
            yield ProbeFrame(destination, source, marker, self.sender, sequence, stream.length)


class ReceivedFrame(msgspec.Struct, frozen=True, tag="frame", tag_field="type"):
    """Records one frame that a receiver saw; ``at`` is CLOCK_MONOTONIC in nanoseconds.

    ``digest`` is the SHA-256 of the frame as it came (16 hexadecimal digits of it); ``intact`` says
    that every octet is the expected one. Of a frame too short for a header, ``marker`` is empty and
    ``sender`` and ``sequence`` are -1.
    """

    at: int
    destination: str
    source: str
    marker: str
    sender: int
    sequence: int
    length: int
    intact: bool
    digest: str


class ReceiveEnd(msgspec.Struct, frozen=True, tag="end", tag_field="type"):
    """Closes a receiver's record: how many frames, how many the kernel dropped, why it ended."""

    frames: int
    kernel_dropped: int
    reason: str


def observe(octets: bytes, at: int) -> ReceivedFrame:
    """Turns a frame as it came into its record."""
    digest = hashlib.sha256(octets).hexdigest()[:16]
    destination, source = mac_to_text(octets[:6]), mac_to_text(octets[6:12])
    if len(octets) < MINIMUM_LENGTH:
        return ReceivedFrame(at, destination, source, "", -1, -1, len(octets), False, digest)
    _, _, _, marker, sender, sequence, _ = _LAYOUT.unpack_from(octets)
    return ReceivedFrame(
        at,
        destination,
        source,
        marker.hex(),
        sender,
        sequence,
        len(octets),
        verify(octets),
        digest,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the program; see :mod:`experiments.traffic.probe_program`."""
    # Imported here so that the frames stay usable where there are no packet sockets.
    from experiments.traffic.probe_program import run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
