"""The inner packet (Fig. 10, 1002)."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import WireError
from protocol.types import IpAddress
from protocol.wire.inner_packet import InnerPacket, lan_mtu
from protocol.wire.ip import IpHeader
from tests.protocol.vectors import octets_of, vectors

VECTORS = vectors("inner_packet")
every_vector = pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS.keys())
addresses = st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=6)) | st.tuples(
    st.ip_addresses(v=4), st.ip_addresses(v=4)
)


def packet_of(vector: dict[str, Any]) -> InnerPacket:
    source, destination = ip_address(vector["source"]), ip_address(vector["destination"])
    return InnerPacket(source, destination, bytes.fromhex(vector["esp"]))


@every_vector
def test_octets_parse_as_the_packet_they_are(vector: dict[str, Any]) -> None:
    assert InnerPacket.parse(octets_of(vector)) == packet_of(vector)


@every_vector
def test_a_packet_packs_to_its_octets(vector: dict[str, Any]) -> None:
    assert packet_of(vector).pack() == octets_of(vector)


@given(addresses, st.binary(max_size=80))
def test_what_is_packed_parses_to_the_same(
    ends: tuple[IpAddress, IpAddress], sealed: bytes
) -> None:
    packet = InnerPacket(*ends, sealed)
    assert InnerPacket.parse(packet.pack()) == packet


@every_vector
def test_too_few_octets_are_refused(vector: dict[str, Any]) -> None:
    octets = octets_of(vector)
    for length in range(len(octets)):
        with pytest.raises(WireError):
            InnerPacket.parse(octets[:length])


@every_vector
@pytest.mark.parametrize("next_header", [17, 51, 97])
def test_what_is_not_esp_breaks_the_rule(vector: dict[str, Any], next_header: int) -> None:
    packet = packet_of(vector)
    header = IpHeader(packet.source, packet.destination, next_header, len(packet.esp))
    with pytest.raises(WireError, match=f"next header {next_header}"):
        InnerPacket.parse(header.pack() + packet.esp)


@pytest.mark.parametrize(
    ("outer", "inner", "mtu"), [(6, 6, 1346), (4, 4, 1386), (6, 4, 1366), (4, 6, 1366)]
)
def test_the_lan_mtu_is_what_fits_a_path_of_1500(outer: int, inner: int, mtu: int) -> None:
    assert lan_mtu(outer, inner) == mtu
