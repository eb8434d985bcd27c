"""The inner packet's IP header."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import WireError
from protocol.types import IpAddress
from protocol.wire.ip import IpHeader, checksum
from tests.protocol.vectors import octets_of, vectors

VECTORS = vectors("ip")
every_vector = pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS.keys())
addresses = st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=6)) | st.tuples(
    st.ip_addresses(v=4), st.ip_addresses(v=4)
)


def header_of(vector: dict[str, Any]) -> IpHeader:
    return IpHeader(
        ip_address(vector["source"]),
        ip_address(vector["destination"]),
        vector["next_header"],
        vector["payload_length"],
        vector["hop_limit"],
    )


def with_checksum(header: bytearray) -> bytes:
    header[10:12] = bytes(2)
    header[10:12] = checksum(bytes(header[:20])).to_bytes(2, "big")
    return bytes(header)


@every_vector
def test_octets_parse_as_the_header_they_are(vector: dict[str, Any]) -> None:
    assert IpHeader.parse(octets_of(vector) + bytes(68)) == header_of(vector)


@every_vector
def test_a_header_packs_to_its_octets(vector: dict[str, Any]) -> None:
    assert header_of(vector).pack() == octets_of(vector)


@given(addresses, st.integers(0, 255), st.binary(max_size=40), st.integers(0, 255))
def test_what_is_packed_parses_to_the_same(
    ends: tuple[IpAddress, IpAddress], next_header: int, payload: bytes, hop_limit: int
) -> None:
    header = IpHeader(*ends, next_header, len(payload), hop_limit)
    assert IpHeader.parse(header.pack() + payload) == header


@every_vector
def test_too_few_octets_are_refused(vector: dict[str, Any]) -> None:
    packet = octets_of(vector) + bytes(68)
    for length in range(len(packet)):
        with pytest.raises(WireError, match="IP "):
            IpHeader.parse(packet[:length])


@every_vector
def test_octets_behind_the_packet_break_the_rule(vector: dict[str, Any]) -> None:
    with pytest.raises(WireError, match="payload length"):
        IpHeader.parse(octets_of(vector) + bytes(69))


@pytest.mark.parametrize("version", [0, 1, 5, 7, 15])
def test_another_version_breaks_the_rule(version: int) -> None:
    with pytest.raises(WireError, match="version 4 or 6"):
        IpHeader.parse(bytes([version << 4]) + bytes(99))


@pytest.mark.parametrize(("place", "value"), [(0, 0x46), (6, 0x20), (6, 0x1F), (7, 0x01)], ids=str)
def test_ipv4_options_and_fragments_break_the_rule(place: int, value: int) -> None:
    header = bytearray(octets_of(VECTORS["ipv4"]))
    header[place] = value
    with pytest.raises(WireError, match="options or of a fragment"):
        IpHeader.parse(with_checksum(header) + bytes(68))


@pytest.mark.parametrize("place", range(1, 20))
def test_an_ipv4_header_with_a_changed_octet_breaks_the_rule(place: int) -> None:
    header = bytearray(octets_of(VECTORS["ipv4"]))
    header[place] ^= 0x80
    with pytest.raises(WireError):
        IpHeader.parse(bytes(header) + bytes(68))


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        (IPv6Address("3ffe:aaaa::1"), IPv4Address("239.1.1.1")),
        (IPv4Address("198.51.100.1"), IPv6Address("ff1e::1")),
    ],
    ids=["IPv6 to IPv4", "IPv4 to IPv6"],
)
def test_addresses_of_two_families_do_not_pack(source: IpAddress, destination: IpAddress) -> None:
    with pytest.raises(ValueError, match="family|version|IPv"):
        IpHeader(source, destination, 50, 0).pack()
