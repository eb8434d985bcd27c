"""Small types that every layer shares: numbers that must not be swapped, addresses, secrets."""

from __future__ import annotations

import hmac
import struct
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Literal, NamedTuple, NewType

VpnId = NewType("VpnId", int)
SubId = NewType("SubId", int)
ClientId = NewType("ClientId", int)
Spi = NewType("Spi", int)
SenderId = NewType("SenderId", int)

ONLY_SUB_ID = SubId(1)
"""The Sub ID of users who were given none."""

IpAddress = IPv4Address | IPv6Address
RandomOctets = Callable[[int], bytes]
"""Returns that many random octets: the operating system's in a process, a seeded stream's in a test."""

Algorithm = Literal["aes-128-gcm", "aes-256-gcm", "aes-128-cbc-hmac-sha1"]
KEY_LENGTHS: dict[Algorithm, int] = {
    "aes-128-gcm": 16,
    "aes-256-gcm": 32,
    "aes-128-cbc-hmac-sha1": 16 + 20,
}
"""Octets of the AES key, and behind it of HMAC's; RFC 4106 section 8.1 adds four octets of salt."""
SALT_LENGTH = 4

Delivery = Literal["relay", "multicast"]
"""How a group's packets get to its clients: by a server that relays, or by the network itself."""

ServerDelivery = Literal["direct", "cascade"]
"""Who sends to a client: every VPN server (embodiment 4), or its own alone (embodiment 5)."""

MemberDelivery = Literal["patent", "spi"]
"""Whom a relay sends a packet: every member of the group, or only those who hold its SPI."""

SECOND = 1_000_000_000
"""Nanoseconds: the unit of every time in this package."""


class Address(NamedTuple):
    """Where datagrams come from and go to; equal to the plain tuple (host, port)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Batch(NamedTuple):
    """Datagrams behind each other: all of ``size`` octets but the last, which may be shorter."""

    octets: bytes
    size: int

    @property
    def datagrams(self) -> int:
        """How many datagrams it has."""
        return -(-len(self.octets) // self.size)


class FrameRun(NamedTuple):
    """Ethernet frames of one length, in rows of ``size`` octets behind each other.

    The ``before`` first and the ``behind`` last octets of a row are not the frame's; they are equal in all
    rows.
    """

    octets: bytes | memoryview
    size: int
    before: int = 0
    behind: int = 0

    @classmethod
    def of(cls, frame: bytes) -> FrameRun:
        """Returns a run of one frame."""
        return cls(frame, len(frame))

    @property
    def rows(self) -> int:
        """How many frames there are."""
        return len(self.octets) // self.size

    def frames(self) -> list[bytes]:
        """Returns each frame by itself."""
        if (
            isinstance(self.octets, bytes)
            and len(self.octets) == self.size - self.before - self.behind
        ):
            return [self.octets]
        length = self.size - self.before - self.behind
        return list(_middles(self.before, length, self.behind, self.rows).unpack(self.octets))


@lru_cache(maxsize=256)
def _middles(before: int, length: int, behind: int, count: int) -> struct.Struct:
    return struct.Struct(f"{before}x{length}s{behind}x" * count)


class Secret:
    """Octets that must not be shown: a key or a password. ``repr`` and ``str`` hide them.

    Equal octets are equal secrets; the comparison's time says nothing of where they differ.
    """

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = bytes(value)

    def reveal(self) -> bytes:
        """Returns the octets themselves."""
        return self._value

    def __len__(self) -> int:
        return len(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return f"<secret of {len(self._value)} octets>"
