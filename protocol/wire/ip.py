"""The header of the inner packet: IPv6 (RFC 8200) or IPv4 (RFC 791), nothing optional in it."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address

from protocol.errors import WireError
from protocol.types import IpAddress

HEADER_LENGTHS = {4: 20, 6: 40}
HOP_LIMIT = 64
"""RFC 1700's default; a multicast packet with 1 would die at the first router."""

_IPV6 = struct.Struct("!IHBB16s16s")
_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_DONT_FRAGMENT = 0x4000
_FRAGMENT = 0x3FFF


@dataclass(frozen=True)
class IpHeader:
    """An IPv4 or IPv6 header without options or extension headers."""

    source: IpAddress
    destination: IpAddress
    next_header: int
    payload_length: int
    """Octets behind the header."""
    hop_limit: int = HOP_LIMIT

    def __post_init__(self) -> None:
        if self.source.version != self.destination.version:
            raise ValueError(f"packet from {self.source} to {self.destination}: two IP versions")

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.destination.version

    @classmethod
    def parse(cls, packet: bytes) -> IpHeader:
        """Reads the header; raises WireError when it is broken or lies about the packet's length."""
        version = packet[0] >> 4 if packet else 0
        if version == 6 and len(packet) >= HEADER_LENGTHS[6]:
            _, length, next_header, hop_limit, source6, destination6 = _IPV6.unpack_from(packet)
            header = cls(
                IPv6Address(source6), IPv6Address(destination6), next_header, length, hop_limit
            )
        elif version == 4 and len(packet) >= HEADER_LENGTHS[4]:
            header = cls._parse_ipv4(packet)
        else:
            raise WireError("IP header, expected version 4 or 6 and a whole header")
        if header.payload_length != len(packet) - HEADER_LENGTHS[header.version]:
            raise WireError(f"IP payload length {header.payload_length} is not the packet's")
        return header

    @classmethod
    def _parse_ipv4(cls, packet: bytes) -> IpHeader:
        first, _, length, _, fragment, hop_limit, protocol, _, source, destination = (
            _IPV4.unpack_from(packet)
        )
        if first != 0x45 or fragment & _FRAGMENT:
            raise WireError("IPv4 header with options or of a fragment, expected neither")
        if checksum(packet[:20]):
            raise WireError("IPv4 header checksum does not hold")
        payload_length = length - HEADER_LENGTHS[4]
        return cls(
            IPv4Address(source), IPv4Address(destination), protocol, payload_length, hop_limit
        )

    def pack(self) -> bytes:
        """Returns the 40 (IPv6) or 20 (IPv4) octets of the header."""
        source, destination = self.source.packed, self.destination.packed
        if self.version == 6:
            return _IPV6.pack(
                6 << 28, self.payload_length, self.next_header, self.hop_limit, source, destination
            )
        length = self.payload_length + HEADER_LENGTHS[4]
        before, behind = (0x45, 0, length, 0, _DONT_FRAGMENT), (source, destination)
        blank = _IPV4.pack(*before, self.hop_limit, self.next_header, 0, *behind)
        return _IPV4.pack(*before, self.hop_limit, self.next_header, checksum(blank), *behind)


class HeaderTemplate:
    """The header of one sender's packets to one destination: only the length differs."""

    def __init__(self, source: IpAddress, destination: IpAddress, next_header: int) -> None:
        self._header = IpHeader(source, destination, next_header, 0)
        self._packed: dict[int, bytes] = {}

    def pack(self, payload_length: int) -> bytes:
        """Returns the header of a packet with ``payload_length`` octets behind it."""
        packed = self._packed.get(payload_length)
        if packed is None:
            packed = replace(self._header, payload_length=payload_length).pack()
            self._packed[payload_length] = packed
        return packed


def checksum(octets: bytes) -> int:
    """Computes the Internet checksum (RFC 1071) of an even number of octets."""
    total: int = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
