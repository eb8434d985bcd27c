"""A piece of a frame that is too large for one packet: four octets, then octets of the frame.

It stands in an ESP packet's plaintext where EtherIP and a whole frame would, with next header 253 (RFC 3692:
for experiments). Each piece is sealed by itself, so that what is put together again is authenticated.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from protocol.errors import WireError

NEXT_HEADER = 253
HEADER_LENGTH = 4
UNIT = 8
"""Offsets count in this many octets, and every piece but the last is a multiple of them."""
NUMBERS = 1 << 16
LARGEST_FRAME = 65_549
"""Octets of the largest frame that is cut."""

_HEADER = struct.Struct("!HH")
_MORE = 1
_RESERVED = 0b110


@dataclass(frozen=True)
class Piece:
    """Octets of frame ``number`` (of its sender, mod 2^16) from ``offset`` on; ``more`` follow, or not."""

    number: int
    offset: int
    more: bool
    octets: bytes

    @classmethod
    def parse(cls, payload: bytes) -> Piece:
        """Reads a piece; raises WireError when it is empty, reaches too far or is of no whole units."""
        if len(payload) <= HEADER_LENGTH:
            raise WireError(f"piece of {len(payload)} octets, expected more than {HEADER_LENGTH}")
        number, place = _HEADER.unpack_from(payload)
        if place & _RESERVED:
            raise WireError(f"piece: reserved bits {place & _RESERVED}, expected 0")
        piece = cls(number, place & ~(UNIT - 1), bool(place & _MORE), payload[HEADER_LENGTH:])
        if piece.more and len(piece.octets) % UNIT:
            raise WireError(f"piece of {len(piece.octets)} octets, expected a multiple of {UNIT}")
        if piece.end > LARGEST_FRAME:
            raise WireError(f"piece up to octet {piece.end}, expected {LARGEST_FRAME} at most")
        return piece

    @property
    def end(self) -> int:
        """Where the next piece begins."""
        return self.offset + len(self.octets)

    def pack(self) -> bytes:
        """Returns the piece behind its header: frame number 16 bits, offset / 8 13, zero 2, more 1."""
        return _HEADER.pack(self.number, self.offset | self.more) + self.octets


def cut(frame: bytes, number: int, most: int) -> list[Piece]:
    """Cuts a frame into pieces that have, with their headers, at most ``most`` octets each.

    Raises ValueError when there is no room for a unit.
    """
    size = (most - HEADER_LENGTH) // UNIT * UNIT
    if size < UNIT:
        raise ValueError(f"pieces of {most} octets, expected {HEADER_LENGTH + UNIT} at least")
    return [
        Piece(number, start, start + size < len(frame), frame[start : start + size])
        for start in range(0, len(frame), size)
    ]
