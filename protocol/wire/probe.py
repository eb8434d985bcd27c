"""A probe: a datagram that a VPN server sends back as it is, so that a client learns how far that is.

Its first octet is one that no VPN header has; the token tells that the representative sent the client.

Patent: Fig. 16 (the nearest VPN server).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from protocol.errors import WireError

PROBE = 3
"""The first octet, where a VPN header has its next data (1 or 2)."""
TOKEN_LENGTH = 16
LENGTH = 4 + TOKEN_LENGTH

_PROBE = struct.Struct(f"!BBH{TOKEN_LENGTH}s")


class Probe(NamedTuple):
    """Sequence number and token."""

    sequence_number: int
    token: bytes

    @classmethod
    def parse(cls, octets: bytes | memoryview) -> Probe:
        """Reads a datagram's payload; raises WireError unless it is a probe and nothing else."""
        if len(octets) != LENGTH or octets[0] != PROBE or octets[1]:
            raise WireError(
                f"probe of {len(octets)} octets, expected {LENGTH} that begin with 3, 0"
            )
        _, _, sequence_number, token = _PROBE.unpack(octets)
        return cls(sequence_number, token)

    def pack(self) -> bytes:
        """Returns the 20 octets."""
        return _PROBE.pack(PROBE, 0, self.sequence_number, self.token)
