"""The clear part of ESP and its trailer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import WireError
from protocol.wire import esp
from protocol.wire.esp import EspHeader
from tests.protocol.vectors import octets_of, vectors

VECTORS = vectors("esp")
every_vector = pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS.keys())
SEALED = bytes(20)
"""The least that can stand behind the clear part: four octets and the ICV."""


def header_of(vector: dict[str, Any]) -> EspHeader:
    fields = ("spi", "sequence_number", "sender_id", "counter")
    return EspHeader(*(vector[name] for name in fields))


@every_vector
def test_octets_parse_as_the_header_they_are(vector: dict[str, Any]) -> None:
    assert EspHeader.parse(octets_of(vector) + SEALED) == header_of(vector)


@every_vector
def test_a_header_packs_to_its_octets(vector: dict[str, Any]) -> None:
    assert header_of(vector).pack() == octets_of(vector)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**16 - 1),
    st.integers(0, 2**48 - 1),
)
def test_what_is_packed_parses_to_the_same(
    spi: int, sequence_number: int, sender_id: int, counter: int
) -> None:
    header = EspHeader(spi, sequence_number, sender_id, counter)
    assert EspHeader.parse(header.pack() + SEALED) == header


@pytest.mark.parametrize("length", range(36))
def test_too_few_octets_are_refused(length: int) -> None:
    with pytest.raises(WireError, match=f"{length} octets"):
        EspHeader.parse(bytes(length))


@pytest.mark.parametrize(
    ("plaintext", "rule"),
    [
        ("", "without a trailer"),
        ("61", "without a trailer"),
        ("0361", "pad length"),
        ("aabb0361", "pad length"),
        ("aa0061", None),
        ("aa010161", None),
        ("aa020161", "padding"),
        ("000000000361", "padding"),
        ("010203040461", None),
    ],
)
def test_padding_that_breaks_the_rule_is_refused(plaintext: str, rule: str | None) -> None:
    octets = bytes.fromhex(plaintext)
    if rule is None:
        esp.unpad(octets)
        return
    with pytest.raises(WireError, match=rule):
        esp.unpad(octets)


@given(st.binary(max_size=80), st.integers(0, 255))
def test_a_padded_payload_comes_back_and_is_a_multiple_of_four(
    payload: bytes, next_header: int
) -> None:
    padded = esp.pad(payload, next_header)
    assert len(padded) % 4 == 0
    assert len(padded) - len(payload) in (2, 3, 4, 5)
    assert esp.unpad(padded) == (payload, next_header)
