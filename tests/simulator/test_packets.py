from __future__ import annotations

from ipaddress import ip_address

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6

from simulator.packets import UDP as UDP_PROTOCOL
from simulator.packets import Packet


@pytest.mark.parametrize(
    ("source", "destination", "layer"),
    [("3ffe::1", "3ffe::2", IPv6), ("198.18.0.1", "198.18.0.2", IP)],
)
@pytest.mark.parametrize("payload", [b"", b"odd", b"even"])
def test_scapy_reads_a_packet_and_agrees_with_its_checksums(
    source: str, destination: str, layer: type, payload: bytes
) -> None:
    packet = Packet(
        ip_address(source), ip_address(destination), UDP_PROTOCOL, payload, (4790, 5000)
    )
    octets = packet.pack()
    assert len(octets) == packet.length
    parsed = layer(octets)
    assert (parsed[UDP].sport, parsed[UDP].dport) == (4790, 5000)
    written = parsed[UDP].chksum
    del parsed[UDP].chksum
    assert layer(bytes(parsed))[UDP].chksum == written
