"""Packets of registrations, told apart by protocol and client."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from experiments.observation.pcapng import CapturedFrame, write_capture
from experiments.startup.outside import passed

SERVER = {4: "192.0.2.1", 6: "3ffe::1000"}
CLIENT = {4: "192.0.2.2", 6: "3ffe:aaaa::1"}
SECOND = 1_000_000_000


def frame(family: int, above: Packet, back: bool = False) -> bytes:
    ends = (SERVER, CLIENT) if back else (CLIENT, SERVER)
    layer = IP if family == 4 else IPv6
    return bytes(Ether() / layer(src=ends[0][family], dst=ends[1][family]) / above)


@pytest.mark.parametrize("family", [4, 6])
def test_packets_are_told_apart_in_both_directions(tmp_path: Path, family: int) -> None:
    frames = [
        frame(family, TCP(sport=40000, dport=4791)),
        frame(family, TCP(sport=4791, dport=40000), back=True),
        frame(family, UDP(sport=500, dport=500) / Raw(b"\x01" * 28)),
        frame(family, UDP(sport=4500, dport=4500) / Raw(bytes(4) + b"\x01" * 28)),
        frame(family, UDP(sport=4500, dport=4500) / Raw(b"\xc1" * 40), back=True),
        frame(family, UDP(sport=500, dport=500) / Raw(bytes(40)), back=True),
    ]
    timed = [CapturedFrame(number * SECOND, "x", octets) for number, octets in enumerate(frames)]
    capture = write_capture(tmp_path / "x.pcapng", timed)
    address = ip_address(CLIENT[family])
    found = list(passed(capture, {address: "c1"}))
    assert [one.protocol for one in found] == ["TLS", "TLS", "IKE", "IKE", "ESP", "IKE"]
    assert [one.at for one in found] == [0, 1, 2, 3, 4, 5]
    assert [one.octets for one in found] == [len(octets) for octets in frames]
    assert {one.client for one in found} == {address}


def test_strangers_and_what_is_no_ip_packet_are_left_out(tmp_path: Path) -> None:
    frames = [frame(6, TCP(dport=4791)), bytes(Ether() / ARP()), bytes(Ether() / IP() / Raw())]
    capture = write_capture(
        tmp_path / "x.pcapng", [CapturedFrame(0, "x", octets) for octets in frames]
    )
    assert list(passed(capture, {ip_address("3ffe::9"): "c9"})) == []
