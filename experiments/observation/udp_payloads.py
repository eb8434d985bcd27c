"""UDP payloads and IP packets out of a capture of Ethernet frames."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from experiments.observation.packets import read_packets
from protocol import hop_tag
from protocol.wire.vpn_header import HOP_TAG_FOLLOWS

ESP = 50


UdpPayload = tuple[bytes, IPv4Address | IPv6Address, IPv4Address | IPv6Address]
"""(payload, source, destination)"""


def udp_payload(packet: bytes, port: int) -> UdpPayload | None:
    """Returns what a frame carries of a datagram from or to ``port``; None for others and fragments."""
    ether_type = int.from_bytes(packet[12:14], "big")
    if ether_type == 0x86DD and packet[20] == 17:
        source, destination, datagram = packet[22:38], packet[38:54], packet[54:]
    elif ether_type == 0x0800 and packet[23] == 17 and packet[14] == 0x45:
        source, destination, datagram = packet[26:30], packet[30:34], packet[34:]
    else:
        return None
    ports = int.from_bytes(datagram[:2], "big"), int.from_bytes(datagram[2:4], "big")
    if port not in ports:
        return None
    end = int.from_bytes(datagram[4:6], "big")
    return bytes(datagram[8:end]), ip_address(source), ip_address(destination)


def udp_payloads(capture: Path, port: int) -> Iterator[UdpPayload]:
    """Yields what the frames of a capture carry from or to ``port``."""
    for packet in read_packets(capture):
        found = udp_payload(packet, port)
        if found is not None:
            yield found


def has_vpn_header(payload: bytes) -> bool:
    """Tells whether a payload begins with a VPN header: no probe, and none that was stripped."""
    return payload[:1] in (b"\x01", b"\x02")


def has_hop_tag(payload: bytes) -> bool:
    """Tells whether a payload's VPN header says that a hop tag follows."""
    return has_vpn_header(payload) and payload[1:2] == bytes((HOP_TAG_FOLLOWS,))


def without_hop_tag(payload: bytes) -> bytes:
    """Returns a payload as its sender would send it without a hop tag: the same on every hop."""
    return hop_tag.remove(payload) if has_hop_tag(payload) else payload


def esp_packets(capture: Path) -> Iterator[bytes]:
    """Yields the IP packets, header and all, that carry ESP as it is."""
    for packet in read_packets(capture):
        ether_type = int.from_bytes(packet[12:14], "big")
        if ether_type == 0x86DD and packet[20] == ESP:
            yield packet[14 : 54 + int.from_bytes(packet[18:20], "big")]
        elif ether_type == 0x0800 and packet[23] == ESP:
            yield packet[14 : 14 + int.from_bytes(packet[16:18], "big")]
