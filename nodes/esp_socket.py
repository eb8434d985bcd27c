"""The raw socket for native multicast: ESP packets to and from a group's address, unfragmented.

The kernel writes and takes off the IP header; it needs CAP_NET_RAW.

Patent: Figs. 13, 14.
"""

from __future__ import annotations

import fcntl
import socket
import struct
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import NamedTuple

from nodes.outside_socket import LARGEST_DATAGRAM, OutsideSocket
from protocol.types import IpAddress
from protocol.wire.esp import NEXT_HEADER
from protocol.wire.ip import HOP_LIMIT

# linux/in.h, linux/in6.h, linux/sockios.h
_IP_MULTICAST_ALL = 49
_IPV6_MULTICAST_ALL = 29
_SIOCGIFADDR = 0x8915
_REQUEST_OCTETS = 40
_PACKET_INFORMATION = struct.Struct("=16sI")
_IPV4_DESTINATION = slice(16, 20)


class ReceivedPacket(NamedTuple):
    """An ESP packet without its IP header, and the address that it was sent to."""

    packet: bytes
    destination: IpAddress


class EspSocket(OutsideSocket):
    """Sends and receives ESP packets on one interface; what the network refuses is counted."""

    def __init__(self, address: IpAddress, interface: str) -> None:
        """Takes the own address and the interface that has it; raises OSError when it cannot be."""
        self._index = socket.if_nametoindex(interface)
        super().__init__(address.version, socket.SOCK_RAW, NEXT_HEADER)
        try:
            self._set_common_options()
            name = interface.encode() + b"\0"
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name)
            self._prepare(address)
        except OSError:
            self._socket.close()
            raise

    def _prepare(self, address: IpAddress) -> None:
        """Sets hop limit, interface and source, and keeps own copies off."""
        if self._version == 4:
            level, self._membership = socket.IPPROTO_IP, struct.Struct("=4s4si")
            via = self._membership.pack(bytes(4), address.packed, self._index)
            self._socket.setsockopt(level, socket.IP_MULTICAST_IF, via)
            self._socket.setsockopt(level, socket.IP_MULTICAST_TTL, HOP_LIMIT)
            self._socket.setsockopt(level, socket.IP_MULTICAST_LOOP, 0)
            self._socket.setsockopt(level, _IP_MULTICAST_ALL, 0)
            return
        level, self._membership = socket.IPPROTO_IPV6, struct.Struct("=16sI")
        self._socket.setsockopt(level, socket.IPV6_MULTICAST_IF, self._index)
        self._socket.setsockopt(level, socket.IPV6_MULTICAST_HOPS, HOP_LIMIT)
        self._socket.setsockopt(level, socket.IPV6_MULTICAST_LOOP, 0)
        self._socket.setsockopt(level, _IPV6_MULTICAST_ALL, 0)
        self._socket.setsockopt(level, socket.IPV6_RECVPKTINFO, 1)
        self._socket.bind((str(address), 0))

    def join(self, multicast_address: IpAddress) -> None:
        """Receives what is sent to the address (MLD or IGMP tells the routers)."""
        if self._version == 4:
            request = self._membership.pack(multicast_address.packed, bytes(4), self._index)
            self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
            return
        request = self._membership.pack(multicast_address.packed, self._index)
        self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)

    def receive(self) -> ReceivedPacket | None:
        """Returns the next packet, or None when none waits."""
        try:
            octets, ancillary, _, _ = self._socket.recvmsg(LARGEST_DATAGRAM, 64)
        except BlockingIOError:
            return None
        except OSError as error:
            self._count_refusal(error)
            return None
        if self._version == 4:
            header = 4 * (octets[0] & 0x0F)
            return ReceivedPacket(octets[header:], IPv4Address(octets[_IPV4_DESTINATION]))
        for level, kind, data in ancillary:
            if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
                return ReceivedPacket(octets, IPv6Address(_PACKET_INFORMATION.unpack(data)[0]))
        raise AssertionError("the kernel gave no destination though IPV6_RECVPKTINFO is set")

    def send(self, packet: bytes, destination: IpAddress) -> bool:
        """Sends one ESP packet; False, and counted, when the network refuses it."""
        try:
            self._socket.sendto(packet, (str(destination), 0))
        except OSError as error:
            self._count_refusal(error)
            return False
        return True


def interface_with(address: IpAddress) -> str:
    """Names the interface that has ``address``; OSError when none has."""
    names = _ipv6_interfaces() if address.version == 6 else _ipv4_interfaces()
    if address not in names:
        raise OSError(f"address {address}: expected it on an interface of this machine")
    return names[address]


def _ipv6_interfaces() -> dict[IpAddress, str]:
    rows = (line.split() for line in Path("/proc/net/if_inet6").read_text().splitlines())
    return {IPv6Address(bytes.fromhex(row[0])): row[-1] for row in rows}


def _ipv4_interfaces() -> dict[IpAddress, str]:
    """Asks for each interface's first address; one with several is named in the configuration."""
    found: dict[IpAddress, str] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            request = name.encode().ljust(_REQUEST_OCTETS, b"\0")
            try:
                answer = fcntl.ioctl(asking, _SIOCGIFADDR, request)
            except OSError:
                continue
            found[IPv4Address(answer[20:24])] = name
    return found
