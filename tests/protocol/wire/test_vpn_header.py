"""The VPN header (Fig. 9)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import WireError
from protocol.wire.vpn_header import VpnHeader
from tests.protocol.vectors import octets_of, vectors

VECTORS = vectors("vpn_header")
every_vector = pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS.keys())
macs = st.binary(min_size=6, max_size=6)


def header_of(vector: dict[str, Any]) -> VpnHeader:
    if vector["macs"] is None:
        return VpnHeader(None, vector["flags"])
    source, destination = (bytes.fromhex(mac) for mac in vector["macs"])
    return VpnHeader((source, destination), vector["flags"])


@every_vector
def test_octets_parse_as_the_header_they_are(vector: dict[str, Any]) -> None:
    assert VpnHeader.parse(octets_of(vector) + b"\x60 and more") == header_of(vector)


@every_vector
def test_a_header_packs_to_its_octets(vector: dict[str, Any]) -> None:
    assert header_of(vector).pack() == octets_of(vector)
    assert header_of(vector).length == len(octets_of(vector))


@given(st.none() | st.tuples(macs, macs), st.integers(0, 255), st.binary(max_size=40))
def test_what_is_packed_parses_to_the_same(
    addresses: tuple[bytes, bytes] | None, flags: int, below: bytes
) -> None:
    header = VpnHeader(addresses, flags)
    assert VpnHeader.parse(header.pack() + below) == header


@every_vector
def test_too_few_octets_are_refused(vector: dict[str, Any]) -> None:
    octets = octets_of(vector)
    for length in range(len(octets)):
        with pytest.raises(WireError, match="next data"):
            VpnHeader.parse(octets[:length])


@pytest.mark.parametrize("next_data", [0, 3, 0x45, 0x60, 255])
def test_another_next_data_breaks_the_rule(next_data: int) -> None:
    with pytest.raises(WireError, match=f"next data {next_data}"):
        VpnHeader.parse(bytes([next_data]) + bytes(60))


@every_vector
@pytest.mark.parametrize("place", [2, 3])
def test_reserved_octets_that_are_not_zero_break_the_rule(
    vector: dict[str, Any], place: int
) -> None:
    octets = bytearray(octets_of(vector))
    octets[place] = 1
    with pytest.raises(WireError, match="reserved"):
        VpnHeader.parse(bytes(octets))
