"""ESP (RFC 4303) as AES-GCM uses it (RFC 4106), without any key: header, trailer and their lengths.

The eight octets of the IV are a sender ID of 16 bits and a counter of 48 bits (RFC 6054): senders
that share a key never share a nonce. The sequence number is the low half of that counter.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from protocol.errors import WireError
from protocol.types import Algorithm

NEXT_HEADER = 50
HEADER_LENGTH = 8
IV_LENGTH = 8
ICV_LENGTH = 16
TRAILER_LENGTH = 2
ALIGNMENT = 4
SENDER_ID_BITS = 16

_HEADER = struct.Struct("!IIHHI")
pack_header = _HEADER.pack
"""Packs (SPI, sequence number, sender ID, counter's high 16 bits, counter's low 32 bits)."""
unpack_header = _HEADER.unpack_from
"""Reads the same five from the start of a packet."""


class Layout(NamedTuple):
    """What an algorithm makes of a packet: octets beside header, IV field and plaintext, and padding."""

    around: int
    """ICV, and an IV of the algorithm's own."""
    alignment: int
    """The plaintext with its trailer is a multiple of this."""


LAYOUTS: dict[Algorithm, Layout] = {
    "aes-128-gcm": Layout(ICV_LENGTH, ALIGNMENT),
    "aes-256-gcm": Layout(ICV_LENGTH, ALIGNMENT),
    "aes-128-cbc-hmac-sha1": Layout(16 + 12, 16),
}

_PADDING_AND_LENGTH = tuple(bytes((*range(1, n + 1), n)) for n in range(16))
_OCTETS = tuple(bytes((n,)) for n in range(256))
_LONGEST_PADDING = bytes(range(1, 256))

MINIMUM_LENGTH = HEADER_LENGTH + IV_LENGTH + ALIGNMENT + ICV_LENGTH


class EspHeader(NamedTuple):
    """SPI, sequence number and IV: all of an ESP packet that stands in the clear."""

    spi: int
    sequence_number: int
    sender_id: int
    counter: int

    @classmethod
    def parse(cls, packet: bytes) -> EspHeader:
        """Reads the clear part; raises WireError when the packet is too short to be sealed at all."""
        if len(packet) < MINIMUM_LENGTH:
            raise WireError(
                f"ESP packet of {len(packet)} octets, expected {MINIMUM_LENGTH} or more"
            )
        spi, sequence_number, sender_id, high, low = _HEADER.unpack_from(packet)
        return cls(spi, sequence_number, sender_id, high << 32 | low)

    def pack(self) -> bytes:
        """Returns the 16 octets: SPI 4, sequence number 4, IV 8."""
        return _HEADER.pack(
            self.spi,
            self.sequence_number,
            self.sender_id,
            self.counter >> 32,
            self.counter & 0xFFFFFFFF,
        )


def low_counters(first: int, count: int) -> tuple[bytes, ...]:
    """Returns the low halves of counters that follow each other: sequence numbers, and ends of IVs.

    ``first`` is the low half of the first; none is above 32 bits.
    """
    octets = struct.pack(f"!{count}I", *range(first, first + count))
    return struct.unpack("4s" * count, octets)


def trailer(payload_length: int, next_header: int, alignment: int = ALIGNMENT) -> bytes:
    """Returns padding 1, 2, 3, …, pad length and next header that make a multiple of ``alignment``.

    That is at most 16.
    """
    length = -(payload_length + TRAILER_LENGTH) % alignment
    return _PADDING_AND_LENGTH[length] + _OCTETS[next_header]


def pad(payload: bytes, next_header: int) -> bytes:
    """Returns ``payload`` with its trailer."""
    return payload + trailer(len(payload), next_header)


def payload_end(plaintext: bytes) -> tuple[int, int]:
    """Returns where the payload ends, and next header; raises WireError unless padding is 1, 2, 3, ….

    RFC 4303 section 2.4 has the receiver inspect the padding.
    """
    if len(plaintext) < TRAILER_LENGTH:
        raise WireError("ESP plaintext without a trailer")
    length, next_header = plaintext[-2], plaintext[-1]
    end = len(plaintext) - TRAILER_LENGTH
    if length > end:
        raise WireError(f"ESP pad length {length}, expected at most {end}")
    if length and plaintext[end - length : end] != _LONGEST_PADDING[:length]:
        raise WireError("ESP padding, expected 1, 2, 3, ...")
    return end - length, next_header


def unpad(plaintext: bytes) -> tuple[bytes, int]:
    """Returns payload and next header; raises WireError as `payload_end` does."""
    end, next_header = payload_end(plaintext)
    return plaintext[:end], next_header
