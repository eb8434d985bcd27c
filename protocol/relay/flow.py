"""A flow: a sender's datagrams that are forwarded alike, told by all that a relay may read of them.

Two stages, since the first is done for every datagram: :func:`flow_octets` cuts out the fields that
name the flow and checks the length; :meth:`Flow.parse` checks the rest, once for each flow. A later
datagram with the same octets has passed the same checks.

Patent: Fig. 7-2 steps 710, 711; Fig. 10 parts 901, 1001, 1002.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

from protocol.errors import DropReason, WireError
from protocol.types import Address, IpAddress
from protocol.wire import esp, ip, vpn_header

FlowOctets = tuple[bytes, bytes]
"""What stands before the inner packet's length, and what stands behind it and does not change."""

_SEALED = esp.MINIMUM_LENGTH
_SPI_LENGTH = 4
_IPV4_WITHOUT_OPTIONS = 0x45
_IPV4_FRAGMENT = 0x3FFF

# VPN header, version, traffic class, flow label | payload length | next header … SPI
_IPV6 = {
    length: struct.Struct(f"!{length + 4}sH38s")
    for length in (vpn_header.LENGTH, vpn_header.SHORT_LENGTH)
}
# VPN header, version, - | total length | - | fragment | - | protocol | - | source, destination, SPI
_IPV4 = {
    length: struct.Struct(f"!{length + 2}sH2x2sxs2x12s")
    for length in (vpn_header.LENGTH, vpn_header.SHORT_LENGTH)
}

split_usual = _IPV6[vpn_header.LENGTH].unpack_from
"""Cuts (octets before, payload length, octets behind) out of a datagram with MACs and IPv6 inside."""
USUAL_HEADERS = vpn_header.LENGTH + ip.HEADER_LENGTHS[6]
USUAL_LEAST = USUAL_HEADERS + _SEALED
"""Octets before the ESP packet, and of the smallest datagram, where ``split_usual`` serves."""


def flow_octets(datagram: bytes | memoryview, length: int | None = None) -> FlowOctets | None:
    """Returns the octets that name the datagram's flow, or None when it is malformed.

    With ``length``, that of the whole, ``datagram`` need be no more than its front up to the ESP header.
    """
    if not datagram:
        return None
    if length is None:
        length = len(datagram)
    if datagram[0] == vpn_header.MAC_BLOCK_FOLLOWS:
        header_length = vpn_header.LENGTH
    elif datagram[0] == vpn_header.IP_HEADER_FOLLOWS:
        header_length = vpn_header.SHORT_LENGTH
    else:
        return None
    version = datagram[header_length] >> 4 if len(datagram) > header_length else 0
    behind = length - header_length - ip.HEADER_LENGTHS.get(version, 0)
    if version == 6 and behind >= _SEALED:
        head, payload_length, tail = _IPV6[header_length].unpack_from(datagram)
        return (head, tail) if payload_length == behind else None
    if version == 4 and behind >= _SEALED:
        head, total_length, *rest = _IPV4[header_length].unpack_from(datagram)
        return (head, b"".join(rest)) if total_length == length - header_length else None
    return None


def count_alike(datagrams: memoryview, size: int) -> int:
    """Counts the datagrams of ``size`` octets at the front that are of the flow of the first.

    That is one which :func:`flow_octets` takes. The others begin with the same octets, so what holds for
    it holds for them.
    """
    whole = datagrams[: len(datagrams) // size * size]
    fronts = _front(_clear_length(datagrams), size).iter_unpack(whole)
    first, alike = next(fronts), 1
    for front in fronts:
        if front != first:
            break
        alike += 1
    return alike


@lru_cache(maxsize=1024)
def _front(clear: int, size: int) -> struct.Struct:
    """Returns how to cut the octets in the clear out of a datagram."""
    return struct.Struct(f"{clear}s{size - clear}x")


def _clear_length(datagram: bytes | memoryview) -> int:
    """Returns how many octets in front hold all that :func:`flow_octets` reads of a good datagram."""
    long = datagram[0] == vpn_header.MAC_BLOCK_FOLLOWS
    header_length = vpn_header.LENGTH if long else vpn_header.SHORT_LENGTH
    return header_length + ip.HEADER_LENGTHS[datagram[header_length] >> 4] + _SPI_LENGTH


class Flow(NamedTuple):
    """The sender, and all that the relay may read of its datagrams."""

    source: Address
    header: vpn_header.VpnHeader
    inner_destination: IpAddress
    spi: int

    @classmethod
    def parse(cls, source: Address, octets: FlowOctets, flags: int = 0) -> Flow | DropReason:
        """Reads the fields of :func:`flow_octets`; a reason when they break a rule of the wire format.

        ``flags`` are those that the VPN header must have.
        """
        head, tail = octets
        try:
            header = vpn_header.VpnHeader.parse(head)
        except WireError:
            return DropReason.MALFORMED_DATAGRAM
        if header.flags != flags:
            return DropReason.UNSUPPORTED_FLAGS
        if head[header.length] >> 4 == 6:
            next_header, destination = tail[0], tail[-16 - _SPI_LENGTH : -_SPI_LENGTH]
            whole = True
        else:
            next_header, destination = tail[2], tail[-4 - _SPI_LENGTH : -_SPI_LENGTH]
            fragment = int.from_bytes(tail[:2], "big")
            whole = head[header.length] == _IPV4_WITHOUT_OPTIONS and not fragment & _IPV4_FRAGMENT
        if next_header != esp.NEXT_HEADER or not whole:
            return DropReason.MALFORMED_DATAGRAM
        spi = int.from_bytes(tail[-_SPI_LENGTH:], "big")
        return cls(source, header, ip_address(destination), spi)
