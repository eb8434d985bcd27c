"""What a client's registration is outside: packets and octets, told apart by protocol."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Literal

from experiments.observation.packets import read_timed_packets
from nodes.sections import DEFAULT_CONTROL_PORT

Protocol = Literal["TLS", "IKE", "ESP"]
PROTOCOLS: tuple[Protocol, ...] = ("TLS", "IKE", "ESP")
"""TLS: segments of its TCP connection, those without data too; ESP: in UDP, with the channel inside."""
FILTER = f"tcp port {DEFAULT_CONTROL_PORT} or udp port 500 or udp port 4500"
_TCP, _UDP = 6, 17
_NO_ESP = bytes(4)
"""What IKE's messages begin with on port 4500 (RFC 3948)."""

_Address = IPv4Address | IPv6Address


@dataclass(frozen=True)
class Passed:
    """One packet of a registration, from or to a client."""

    at: float
    """Seconds since 1970."""
    client: _Address
    protocol: Protocol
    octets: int


def passed(capture: Path, clients: Mapping[_Address, str]) -> Iterator[Passed]:
    """Yields what was captured of the clients' registrations; octets with the Ethernet header."""
    for at, frame in read_timed_packets(capture):
        read = _read(frame)
        if read is None:
            continue
        source, destination, protocol = read
        for address in (source, destination):
            if address in clients:
                yield Passed(at, address, protocol, len(frame))


def _read(frame: bytes) -> tuple[_Address, _Address, Protocol] | None:
    """Returns source, destination and protocol; None for what is no packet of a registration."""
    (ether_type,) = struct.unpack_from("!H", frame, 12)
    if ether_type == 0x86DD:
        source, destination = ip_address(frame[22:38]), ip_address(frame[38:54])
        kind, payload = frame[20], frame[54:]
    elif ether_type == 0x0800:
        source, destination = ip_address(frame[26:30]), ip_address(frame[30:34])
        kind, payload = frame[23], frame[14 + (frame[14] & 15) * 4 :]
    else:
        return None
    if kind == _TCP:
        return source, destination, "TLS"
    if kind != _UDP:
        return None
    is_ike = 500 in struct.unpack_from("!HH", payload) or payload[8:12] == _NO_ESP
    return source, destination, "IKE" if is_ike else "ESP"
