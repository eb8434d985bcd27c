"""Octets that a frame takes on a link, from the packages of the wire format itself.

Without what links add below IP.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocol.relay.verdicts import Strip
from protocol.wire import esp, etherip, ethernet, ip, vpn_header
from protocol.wire.inner_packet import UDP_HEADER_LENGTH, lan_mtu, multicast_lan_mtu


class SizeError(ValueError):
    """Says which frames cannot be carried in one piece."""


@dataclass(frozen=True)
class Sizes:
    """Octets of the IP packets that carry one frame, and of what is sealed."""

    frame: int
    to_server: int
    """From a client, and between servers."""
    to_client: int
    multicast: int
    """The inner packet alone, as routers replicate it."""
    sealed: int
    """Octets that the cipher works on: EtherIP, frame, trailer."""


def sizes(frame: int, family: int = 6, strip: Strip = Strip.KEEP, tagged: bool = False) -> Sizes:
    """Returns what a frame of so many octets takes; SizeError when it needs cutting."""
    tag = vpn_header.HOP_TAG_LENGTH if tagged else 0
    largest = min(lan_mtu(family, family), multicast_lan_mtu(family)) - tag + ethernet.HEADER_LENGTH
    if not ethernet.HEADER_LENGTH <= frame <= largest:
        raise SizeError(
            f"frames of {frame} octets: expected {ethernet.HEADER_LENGTH} to {largest}, which go "
            "in one packet"
        )
    payload = etherip.HEADER_LENGTH + frame
    sealed = payload + len(esp.trailer(payload, etherip.NEXT_HEADER))
    inner = ip.HEADER_LENGTHS[family] + esp.HEADER_LENGTH + esp.IV_LENGTH + sealed + esp.ICV_LENGTH
    outside = ip.HEADER_LENGTHS[family] + UDP_HEADER_LENGTH
    kept = outside + vpn_header.LENGTH + tag + inner
    stripped = outside + inner
    return Sizes(frame, kept, stripped if strip is Strip.PATENT else kept, inner, sealed)
