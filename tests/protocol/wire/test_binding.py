"""Bindings: octets, and the tag and token over them, against vectors made with another SipHash."""

from __future__ import annotations

import pytest

from protocol import binding_tag
from protocol.errors import WireError
from protocol.types import Secret
from protocol.wire.binding import COVERED, LENGTH, Binding, Kind, is_binding
from tests.protocol.vectors import octets_of, vectors

VECTORS = vectors("binding")
QUESTION = octets_of(VECTORS["question"])
every_vector = pytest.mark.parametrize("name", VECTORS)


def binding_of(name: str) -> Binding:
    row = VECTORS[name]
    token = bytes.fromhex(row["token"])
    return Binding(Kind(row["kind"]), row["client_id"], row["counter"], token)


def key_of(name: str) -> Secret:
    return Secret(bytes.fromhex(VECTORS[name]["key"]))


@every_vector
def test_octets_are_the_binding_and_the_tag_is_that_of_its_key(name: str) -> None:
    octets = octets_of(VECTORS[name])
    assert len(octets) == LENGTH
    assert is_binding(octets)
    assert Binding.parse(octets) == binding_of(name)
    assert Binding.parse(memoryview(octets)).pack() == octets[:COVERED]
    assert binding_tag.tagged(binding_of(name), key_of(name)) == octets
    assert binding_tag.holds(octets, key_of(name))
    assert not binding_tag.holds(octets, Secret(bytes(16)))


@every_vector
def test_a_bit_that_is_other_anywhere_is_noticed(name: str) -> None:
    octets = octets_of(VECTORS[name])
    for bit in range(8 * LENGTH):
        changed = bytearray(octets)
        changed[bit // 8] ^= 1 << bit % 8
        assert not binding_tag.holds(bytes(changed), key_of(name))


@pytest.mark.parametrize("name", ["challenge", "challenge_ipv4"])
def test_a_token_is_for_one_client_at_one_address_in_one_membership(name: str) -> None:
    row, key = VECTORS[name], key_of(name)
    where = (row["host"], row["port"])
    token = binding_tag.token(key, row["client_id"], row["membership"], where)
    assert token.hex() == row["token"]
    others = [
        binding_tag.token(Secret(bytes(16)), row["client_id"], row["membership"], where),
        binding_tag.token(key, row["client_id"] + 1, row["membership"], where),
        binding_tag.token(key, row["client_id"], row["membership"] - 1, where),
        binding_tag.token(key, row["client_id"], row["membership"], (row["host"], 9)),
        binding_tag.token(key, row["client_id"], row["membership"], ("192.0.2.9", row["port"])),
    ]
    assert token not in others


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        QUESTION[:-1],
        QUESTION + b"\0",
        b"\x03" + QUESTION[1:],
        b"\x04\x03" + QUESTION[2:],
        b"\x04\x00\x00\x01" + QUESTION[4:],
    ],
)
def test_anything_else_is_refused(octets: bytes) -> None:
    with pytest.raises(WireError, match="binding"):
        Binding.parse(octets)
