"""What stands before the ESP packet in a datagram's payload: parsed once, then known by its octets.

Datagrams of one sender, between two stations and of one length, all begin alike.

Patent: Fig. 8-2 step 811; Fig. 10 parts 1001, 1002.
"""

from __future__ import annotations

from typing import NamedTuple

from protocol.errors import WireError
from protocol.types import IpAddress
from protocol.wire import ip, vpn_header
from protocol.wire.inner_packet import InnerPacket
from protocol.wire.vpn_header import VpnHeader

MOST_KNOWN = 4096


class ClearPart(NamedTuple):
    """The VPN header's MACs (source, destination) if there are any, the group, and where ESP begins."""

    macs: tuple[bytes, bytes] | None
    destination: IpAddress
    length: int
    header_length: int
    """Octets of the VPN header; none where the relay has stripped it."""


class ClearHeaders:
    """Takes payloads apart and remembers how; at most ``MOST_KNOWN`` different beginnings."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, int], ClearPart] = {}

    def take_apart(self, payload: bytes) -> ClearPart:
        """Returns what is in the clear; raises WireError when it breaks the wire format."""
        key = (payload[: _clear_length(payload)], len(payload))
        known = self._known.get(key)
        if known is None:
            known = _parse(payload)
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[key] = known
        return known


def _clear_length(payload: bytes) -> int:
    """Returns how many octets stand before the ESP packet, as far as the first ones tell."""
    first = payload[0] if payload else 0
    if first >> 4 in ip.HEADER_LENGTHS:
        return ip.HEADER_LENGTHS[first >> 4]
    before = vpn_header.LENGTH if first == vpn_header.MAC_BLOCK_FOLLOWS else vpn_header.SHORT_LENGTH
    version = payload[before] >> 4 if len(payload) > before else 0
    return before + ip.HEADER_LENGTHS.get(version, 0)


def _parse(payload: bytes) -> ClearPart:
    """Takes a payload apart. The first octet tells whether the relay has stripped the VPN header.

    An IP packet begins with 4x or 6x.
    """
    if payload[:1] and payload[0] >> 4 in (4, 6):
        macs, header_length, inner = None, 0, InnerPacket.parse(payload)
    else:
        header = VpnHeader.parse(payload)
        if header.flags:
            raise WireError(f"VPN header with flags {header.flags:#04x}, expected none")
        macs, header_length = header.macs, header.length
        inner = InnerPacket.parse(payload[header_length:])
    return ClearPart(macs, inner.destination, len(payload) - len(inner.esp), header_length)
