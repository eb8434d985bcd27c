"""What crosses links: IP packets, taken apart once so that hops need not parse them."""

from __future__ import annotations

import struct
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

from protocol.types import Address, IpAddress
from protocol.wire.ip import HEADER_LENGTHS, HOP_LIMIT, IpHeader, checksum

UDP = 17
UDP_HEADER_LENGTH = 8
_PSEUDO_IPV6 = struct.Struct("!16s16sII")
_PSEUDO_IPV4 = struct.Struct("!4s4sBBH")
_PORTS = struct.Struct("!HHHH")


@lru_cache(maxsize=1 << 16)
def address_of(text: str) -> IpAddress:
    """Reads an IP address; the same object for the same text."""
    return ip_address(text)


@lru_cache(maxsize=1 << 16)
def text_of(address: IpAddress) -> str:
    """Writes an IP address."""
    return str(address)


class Packet(NamedTuple):
    """An IP packet. ``payload`` is a datagram's, or for any other protocol what follows the IP header."""

    source: IpAddress
    destination: IpAddress
    protocol: int
    payload: bytes
    ports: tuple[int, int] = (0, 0)
    """Source and destination port of a datagram."""
    hop_limit: int = HOP_LIMIT

    @property
    def length(self) -> int:
        """Octets of the whole packet."""
        udp = UDP_HEADER_LENGTH if self.protocol == UDP else 0
        return HEADER_LENGTHS[self.destination.version] + udp + len(self.payload)

    def sender(self) -> Address:
        """Returns where a datagram comes from."""
        return Address(text_of(self.source), self.ports[0])

    def one_hop_on(self) -> Packet:
        """Returns the packet as a router sends it on."""
        return Packet(*self[:5], self.hop_limit - 1)

    def corrupted(self, place: int) -> Packet:
        """Returns the packet with bit ``place`` of its payload turned over."""
        octets = bytearray(self.payload)
        if octets:
            octets[place // 8 % len(octets)] ^= 1 << place % 8
        return self._replace(payload=bytes(octets))

    def pack(self) -> bytes:
        """Returns the packet as octets, with the checksums that belong there."""
        body = self._datagram() if self.protocol == UDP else self.payload
        header = IpHeader(self.source, self.destination, self.protocol, len(body), self.hop_limit)
        return header.pack() + body

    def _datagram(self) -> bytes:
        length = UDP_HEADER_LENGTH + len(self.payload)
        source, destination = self.source.packed, self.destination.packed
        if self.destination.version == 6:
            pseudo = _PSEUDO_IPV6.pack(source, destination, length, UDP)
        else:
            pseudo = _PSEUDO_IPV4.pack(source, destination, 0, UDP, length)
        blank = _PORTS.pack(*self.ports, length, 0)
        summed = pseudo + blank + self.payload
        total = checksum(summed + bytes(len(summed) % 2)) or 0xFFFF
        return _PORTS.pack(*self.ports, length, total) + self.payload
