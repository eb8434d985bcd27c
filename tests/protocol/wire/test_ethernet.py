"""Ethernet headers and MAC addresses."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import WireError
from protocol.wire import ethernet
from protocol.wire.ethernet import EthernetHeader
from tests.protocol.vectors import octets_of, vectors

VECTORS = vectors("ethernet")
every_vector = pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS.keys())
macs = st.binary(min_size=6, max_size=6)


def header_of(vector: dict[str, Any]) -> EthernetHeader:
    return EthernetHeader(
        bytes.fromhex(vector["destination"]), bytes.fromhex(vector["source"]), vector["ether_type"]
    )


@every_vector
def test_octets_parse_as_the_header_they_are(vector: dict[str, Any]) -> None:
    assert EthernetHeader.parse(octets_of(vector) + b"payload") == header_of(vector)


@every_vector
def test_a_header_packs_to_its_octets(vector: dict[str, Any]) -> None:
    assert header_of(vector).pack() == octets_of(vector)


@given(macs, macs, st.integers(0, 2**16 - 1), st.binary(max_size=40))
def test_what_is_packed_parses_to_the_same(
    destination: bytes, source: bytes, ether_type: int, payload: bytes
) -> None:
    header = EthernetHeader(destination, source, ether_type)
    assert EthernetHeader.parse(header.pack() + payload) == header


@pytest.mark.parametrize("length", range(14))
def test_too_few_octets_are_refused(length: int) -> None:
    with pytest.raises(WireError, match=f"{length} octets"):
        EthernetHeader.parse(bytes(length))


@pytest.mark.parametrize(
    "text", ["", "02:00:00:00:00", "02:00:00:00:00:aa:bb", "02-00-00-00-00-aa", "gg:00:00:00:00:00"]
)
def test_a_text_that_breaks_the_rule_is_no_mac_address(text: str) -> None:
    with pytest.raises(WireError, match="MAC address"):
        ethernet.parse_mac(text)


@given(macs)
def test_a_mac_address_reads_back_from_its_text(mac: bytes) -> None:
    assert ethernet.parse_mac(ethernet.format_mac(mac)) == mac


@pytest.mark.parametrize(
    ("text", "group", "station", "bridge_local"),
    [
        ("02:00:00:00:00:aa", False, True, False),
        ("00:00:00:00:00:00", False, False, False),
        ("ff:ff:ff:ff:ff:ff", True, False, False),
        ("33:33:00:00:00:01", True, False, False),
        ("01:80:c2:00:00:00", True, False, True),
        ("01:80:c2:00:00:0f", True, False, True),
        ("01:80:c2:00:00:10", True, False, False),
    ],
)
def test_the_kind_of_a_mac_address(
    text: str, group: bool, station: bool, bridge_local: bool
) -> None:
    mac = ethernet.parse_mac(text)
    kinds = ethernet.is_group(mac), ethernet.is_station(mac), ethernet.is_bridge_local(mac)
    assert kinds == (group, station, bridge_local)
