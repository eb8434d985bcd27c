"""The inner packet: an IP header to the group's multicast address, then ESP in transport mode.

Patent: Fig. 8-1 step 804; Fig. 8-2 step 811; Fig. 10 part 1002.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocol.errors import WireError
from protocol.types import Algorithm, IpAddress
from protocol.wire import esp, etherip, ethernet, ip, vpn_header

UDP_HEADER_LENGTH = 8
PATH_MTU = 1500


@dataclass(frozen=True)
class InnerPacket:
    """An inner packet taken apart: addresses in the clear, and the ESP packet as octets."""

    source: IpAddress
    destination: IpAddress
    esp: bytes

    @classmethod
    def parse(cls, packet: bytes) -> InnerPacket:
        """Takes ``packet`` apart; raises WireError unless it is a whole IP packet that carries ESP."""
        header = ip.IpHeader.parse(packet)
        if header.next_header != esp.NEXT_HEADER:
            raise WireError(f"inner next header {header.next_header}, expected {esp.NEXT_HEADER}")
        return cls(header.source, header.destination, packet[ip.HEADER_LENGTHS[header.version] :])

    def pack(self) -> bytes:
        """Returns the packet as octets."""
        header = ip.IpHeader(self.source, self.destination, esp.NEXT_HEADER, len(self.esp))
        return header.pack() + self.esp


def lan_mtu(
    outer_version: int,
    inner_version: int,
    path_mtu: int = PATH_MTU,
    algorithm: Algorithm = "aes-128-gcm",
) -> int:
    """Computes the largest IP packet on a LAN whose frame crosses ``path_mtu`` in one datagram.

    1346 octets for IPv6 in IPv6, 1386 for IPv4 in IPv4, on a path of 1500. Padding (0-3) is allowed for.
    """
    outside = ip.HEADER_LENGTHS[outer_version] + UDP_HEADER_LENGTH + vpn_header.LENGTH
    return multicast_lan_mtu(inner_version, path_mtu - outside, algorithm)


def multicast_lan_mtu(
    version: int, path_mtu: int = PATH_MTU, algorithm: Algorithm = "aes-128-gcm"
) -> int:
    """Computes the largest IP packet on a LAN whose frame crosses ``path_mtu`` in one inner packet.

    1410 octets for IPv6, 1430 for IPv4, on a path of 1500: nothing is around the inner packet.

    Patent: Fig. 14.
    """
    around, alignment = esp.LAYOUTS[algorithm]
    header = ip.HEADER_LENGTHS[version] + esp.HEADER_LENGTH + esp.IV_LENGTH + around
    sealed = (path_mtu - header) // alignment * alignment
    return sealed - esp.TRAILER_LENGTH - etherip.HEADER_LENGTH - ethernet.HEADER_LENGTH
