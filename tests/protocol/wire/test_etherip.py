"""EtherIP."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import WireError
from protocol.wire import etherip
from tests.protocol.vectors import octets_of, vectors

VECTORS = vectors("etherip")
every_vector = pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS.keys())


@every_vector
def test_octets_parse_as_the_frame_they_carry(vector: dict[str, Any]) -> None:
    assert etherip.parse(octets_of(vector)) == bytes.fromhex(vector["frame"])


@every_vector
def test_a_frame_packs_to_its_octets(vector: dict[str, Any]) -> None:
    assert etherip.pack(bytes.fromhex(vector["frame"])) == octets_of(vector)


@given(st.binary(max_size=80))
def test_what_is_packed_parses_to_the_same(frame: bytes) -> None:
    assert etherip.parse(etherip.pack(frame)) == frame


@pytest.mark.parametrize("octets", [b"", b"\x30"])
def test_too_few_octets_are_refused(octets: bytes) -> None:
    with pytest.raises(WireError, match="EtherIP"):
        etherip.parse(octets)


@pytest.mark.parametrize("header", ["2000", "4000", "3001", "3f00", "0003"])
def test_another_version_or_reserved_bits_break_the_rule(header: str) -> None:
    with pytest.raises(WireError, match=header):
        etherip.parse(bytes.fromhex(header) + bytes(60))
