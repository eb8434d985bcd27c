"""A binding: a client's datagram that shows its relay where the client's datagrams come from.

Its first octet is one that no VPN header has. The relay answers with as many octets, so that nobody is
sent more than was asked with.

Patent: Fig. 10 part 1001 (the address of whoever sends the datagram).
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from protocol.errors import WireError

BINDING = 4
"""The first octet, where a VPN header has its next data (1 or 2)."""
TOKEN_LENGTH = 8
NO_TOKEN = bytes(TOKEN_LENGTH)
TAG_LENGTH = 8
COVERED = 16 + TOKEN_LENGTH
"""Octets that the tag is over."""
LENGTH = COVERED + TAG_LENGTH

_BINDING = struct.Struct(f"!BBHIQ{TOKEN_LENGTH}s")


class Kind(IntEnum):
    """What a binding says: the second octet."""

    QUESTION = 0
    """Client to relay: this datagram's source is where I am."""
    BOUND = 1
    """Relay to client: that is where you are sent to."""
    CHALLENGE = 2
    """Relay to client: say so once more, with this token, if you can hear this."""


class Binding(NamedTuple):
    """What a binding says, without its tag."""

    kind: Kind
    client_id: int
    counter: int
    """1 and more, in each question another; an answer has its question's."""
    token: bytes = NO_TOKEN
    """A challenge's, and that which a question has got from one."""

    @classmethod
    def parse(cls, octets: bytes | memoryview) -> Binding:
        """Reads a datagram's payload; raises WireError unless it is a binding and nothing else."""
        if len(octets) != LENGTH or octets[0] != BINDING or octets[1] > max(Kind):
            raise WireError(
                f"binding of {len(octets)} octets, expected {LENGTH} that begin with 4 and 0, 1 or 2"
            )
        _, kind, zero, client_id, counter, token = _BINDING.unpack_from(octets)
        if zero:
            raise WireError("binding: reserved octets expected to be zero")
        return cls(Kind(kind), client_id, counter, token)

    def pack(self) -> bytes:
        """Returns the 24 octets that the tag is over."""
        return _BINDING.pack(BINDING, self.kind, 0, self.client_id, self.counter, self.token)


def is_binding(payload: bytes | memoryview) -> bool:
    """Tells whether a datagram's payload is looked at as a binding."""
    return len(payload) == LENGTH and payload[0] == BINDING
