"""A flow: a sender's datagrams that are forwarded alike, told by all that a relay may read of them.

Two stages, since the first is done for every datagram: :func:`flow_octets` cuts out the fields that
name the flow and checks the length; :meth:`Flow.parse` checks the rest, once for each flow. A later
datagram with the same octets has passed the same checks.

Patent: Fig. 7-2 steps 710, 711; Fig. 10 parts 901, 1001, 1002.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import NamedTuple

from protocol.errors import DropReason, WireError
from protocol.types import Address, IpAddress
from protocol.wire import esp, ip, vpn_header

FlowOctets = tuple[bytes | int, ...]
"""(VPN header, then the inner IP header's constant fields, then inner destination and SPI)."""

_SEALED = esp.MINIMUM_LENGTH
_SPI_LENGTH = 4
_IPV4_WITHOUT_OPTIONS = 0x45
_IPV4_FRAGMENT = 0x3FFF


def _ipv6_layout(header_length: int) -> struct.Struct:
    """VPN header | version, - | payload length | next header, hop limit - | source - | destination, SPI."""
    return struct.Struct(f"!{header_length}sB3xHB17x20s")


def _ipv4_layout(header_length: int) -> struct.Struct:
    """VPN header | version, - | total length | - | fragment | - protocol - | source - | destination, SPI."""
    return struct.Struct(f"!{header_length}sBxH2xHxB6x8s")


_IPV6 = {length: _ipv6_layout(length) for length in (vpn_header.LENGTH, vpn_header.SHORT_LENGTH)}
_IPV4 = {length: _ipv4_layout(length) for length in (vpn_header.LENGTH, vpn_header.SHORT_LENGTH)}


def flow_octets(datagram: bytes) -> FlowOctets | None:
    """Returns the octets that name the datagram's flow, or None when it is malformed."""
    length = len(datagram)
    if length < vpn_header.SHORT_LENGTH + ip.HEADER_LENGTHS[4] + _SEALED:
        return None
    if datagram[0] == vpn_header.MAC_BLOCK_FOLLOWS:
        header_length = vpn_header.LENGTH
    elif datagram[0] == vpn_header.IP_HEADER_FOLLOWS:
        header_length = vpn_header.SHORT_LENGTH
    else:
        return None
    version = datagram[header_length] >> 4
    if version == 6:
        if length < header_length + ip.HEADER_LENGTHS[6] + _SEALED:
            return None
        header, first, payload_length, next_header, inner = _IPV6[header_length].unpack_from(
            datagram
        )
        if payload_length != length - header_length - ip.HEADER_LENGTHS[6]:
            return None
        return header, first, next_header, inner
    if version == 4:
        if length < header_length + ip.HEADER_LENGTHS[4] + _SEALED:
            return None
        header, first, total_length, fragment, protocol, inner = _IPV4[header_length].unpack_from(
            datagram
        )
        if total_length != length - header_length:
            return None
        return header, first, fragment, protocol, inner
    return None


class Flow(NamedTuple):
    """The sender, and all that the relay may read of its datagrams."""

    source: Address
    header: vpn_header.VpnHeader
    inner_destination: IpAddress
    spi: int

    @classmethod
    def parse(cls, source: Address, octets: FlowOctets) -> Flow | DropReason:
        """Reads the fields of :func:`flow_octets`; a reason when they break a rule of the wire format."""
        header_octets, first, *middle, next_header, inner = octets
        assert isinstance(header_octets, bytes)
        assert isinstance(inner, bytes)
        try:
            header = vpn_header.VpnHeader.parse(header_octets)
        except WireError:
            return DropReason.MALFORMED_DATAGRAM
        if header.flags:
            return DropReason.UNSUPPORTED_FLAGS
        if next_header != esp.NEXT_HEADER or not _is_whole_ipv4(first, middle):
            return DropReason.MALFORMED_DATAGRAM
        return cls(
            source,
            header,
            ip_address(inner[:-_SPI_LENGTH]),
            int.from_bytes(inner[-_SPI_LENGTH:], "big"),
        )


def _is_whole_ipv4(first: bytes | int, middle: list[bytes | int]) -> bool:
    """Tells whether an IPv4 header has neither options nor a part of a fragment (IPv6 has no middle)."""
    if not middle:
        return True
    (fragment,) = middle
    assert isinstance(fragment, int)
    return first == _IPV4_WITHOUT_OPTIONS and not fragment & _IPV4_FRAGMENT
