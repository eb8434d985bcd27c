"""EtherIP (RFC 3378): two octets before an Ethernet frame, IP protocol 97."""

from __future__ import annotations

from protocol.errors import WireError

NEXT_HEADER = 97
HEADER = b"\x30\x00"
"""Version 3 in the first four bits, the other twelve zero (RFC 3378 section 2)."""
HEADER_LENGTH = len(HEADER)


def pack(frame: bytes) -> bytes:
    """Returns ``frame`` behind an EtherIP header."""
    return HEADER + frame


def parse(packet: bytes, end: int | None = None) -> bytes:
    """Returns the frame behind the header, up to ``end``; raises WireError unless it is version 3, rest 0."""
    if packet[:HEADER_LENGTH] != HEADER or (end is not None and end < HEADER_LENGTH):
        raise WireError(f"EtherIP header {packet[:HEADER_LENGTH].hex()}, expected 3000")
    return packet[HEADER_LENGTH:end]
