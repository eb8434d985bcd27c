"""An independent judge: scapy's IPsec opens what we seal, and we open what scapy seals."""

from __future__ import annotations

import warnings
from ipaddress import ip_address
from typing import Any

import pytest

from protocol.types import Algorithm
from protocol.wire import esp
from protocol.wire.inner_packet import InnerPacket
from tests.protocol.associations import SALT, SPI, association, key_octets
from tests.protocol.vectors import octets_of, vectors
from tests.world import frame

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from scapy.layers.inet import IP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.ipsec import ESP, IPSecIntegrityError, SecurityAssociation
    from scapy.packet import Raw

ALGORITHMS: list[Algorithm] = ["aes-128-gcm", "aes-256-gcm"]
LENGTHS = [*range(14, 24), 60, 590, 1360]
ADDRESSES = {6: ("3ffe:aaaa::1", "ff1e::1"), 4: ("198.51.100.1", "239.1.1.1")}
ETHERIP = 97

pytestmark = [
    pytest.mark.parametrize("family", [6, 4]),
    pytest.mark.parametrize("algorithm", ALGORITHMS),
]


def judge(key: bytes, salt: bytes, spi: int = SPI) -> Any:
    """scapy's SA with the same key material."""
    make: Any = SecurityAssociation
    return make(ESP, spi, crypt_algo="AES-GCM", crypt_key=key + salt)


def ip_class(family: int) -> Any:
    return IPv6 if family == 6 else IP


def opened_by_scapy(sa: Any, packet: bytes, family: int) -> tuple[int, bytes]:
    """The next header and the octets behind the IP header that scapy makes of a sealed packet."""
    opened = sa.decrypt(ip_class(family)(packet))
    return (opened.nh if family == 6 else opened.proto), bytes(opened.payload)


def inner_packet(sealed: bytes, family: int) -> bytes:
    source, destination = (ip_address(text) for text in ADDRESSES[family])
    return InnerPacket(source, destination, sealed).pack()


def test_scapy_opens_what_we_seal_to_the_very_frame(family: int, algorithm: Algorithm) -> None:
    sender, sa = association(7, algorithm), judge(key_octets(algorithm), SALT)
    for length in LENGTHS:
        octets = frame("bb", "aa", bytes(length - 14))
        packet = inner_packet(sender.seal(octets), family)
        assert opened_by_scapy(sa, packet, family) == (ETHERIP, b"\x30\x00" + octets)


def test_we_open_what_scapy_seals_to_the_very_frame(family: int, algorithm: Algorithm) -> None:
    receiver, sa = association(8, algorithm), judge(key_octets(algorithm), SALT)
    source, destination = ADDRESSES[family]
    for counter, length in enumerate(LENGTHS, start=1):
        octets = frame("bb", "aa", bytes(length - 14))
        field = "nh" if family == 6 else "proto"
        header = ip_class(family)(src=source, dst=destination, **{field: ETHERIP})
        vector = (7).to_bytes(2, "big") + counter.to_bytes(6, "big")
        plain = ip_class(family)(bytes(header / Raw(b"\x30\x00" + octets)))
        sealed = bytes(sa.encrypt(plain, seq_num=counter, iv=vector))
        parsed = InnerPacket.parse(sealed)
        assert (str(parsed.source), str(parsed.destination)) == (source, destination)
        assert esp.EspHeader.parse(parsed.esp) == (SPI, counter, 7, counter)
        assert receiver.open(parsed.esp) == octets


def test_scapy_opens_the_vector_that_the_documentation_quotes(
    family: int, algorithm: Algorithm
) -> None:
    vector = vectors("datagram")[f"ipv{family}_{algorithm.replace('-', '_')}"]
    sa = judge(bytes.fromhex(vector["key"]), bytes.fromhex(vector["salt"]), vector["spi"])
    next_header, payload = opened_by_scapy(sa, octets_of(vector)[16:], family)
    assert (next_header, payload) == (ETHERIP, b"\x30\x00" + bytes.fromhex(vector["frame"]))


def test_scapy_refuses_what_was_changed_on_its_way(family: int, algorithm: Algorithm) -> None:
    packet = bytearray(inner_packet(association(7, algorithm).seal(frame("bb", "aa")), family))
    packet[-1] ^= 1
    with pytest.raises(IPSecIntegrityError):
        opened_by_scapy(judge(key_octets(algorithm), SALT), bytes(packet), family)
