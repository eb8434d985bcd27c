"""The messages between the representative and the VPN servers, and probes."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import WireError
from protocol.wire import messages, table_messages
from protocol.wire.codec import LENGTH_OCTETS, Message, MessageBuffer, pack
from protocol.wire.probe import LENGTH, Probe
from tests.protocol.vectors import octets_of, vectors

VECTORS = vectors("table_messages")
every_vector = pytest.mark.parametrize("name", VECTORS)
PARSE: dict[str, Any] = {
    "representative": table_messages.parse_from_representative,
    "vpn_server": table_messages.parse_from_vpn_server,
    "both": table_messages.parse_from_vpn_server,
}
DECODERS = [
    messages.parse_from_client,
    messages.parse_from_server,
    table_messages.parse_from_representative,
    table_messages.parse_from_vpn_server,
]
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
tree = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4), max_leaves=8)


@every_vector
def test_octets_parse_as_the_message_and_pack_to_the_same(name: str) -> None:
    message: Message = PARSE[VECTORS[name]["from"]](VECTORS[name]["text"].encode())
    assert type(message).__struct_config__.tag == name
    assert pack(message) == octets_of(VECTORS[name])


def test_there_is_a_vector_for_every_message() -> None:
    kinds = [table_messages.RepresentativeMessage, table_messages.VpnServerMessage]
    tags = {kind.__struct_config__.tag for union in kinds for kind in union.__args__}
    assert tags == set(VECTORS)


@every_vector
def test_each_side_may_say_only_its_own(name: str) -> None:
    said_by = VECTORS[name]["from"]
    if said_by == "both":
        return
    other = "vpn_server" if said_by == "representative" else "representative"
    with pytest.raises(WireError):
        PARSE[other](VECTORS[name]["text"].encode())


@every_vector
def test_an_unknown_field_is_refused_and_so_is_any_part_of_a_message(name: str) -> None:
    parse, text = PARSE[VECTORS[name]["from"]], VECTORS[name]["text"].encode()
    with pytest.raises(WireError, match="unknown field"):
        parse(json.dumps({**json.loads(text), "key": "00"}).encode())
    for length in range(len(text)):
        with pytest.raises(WireError):
            parse(text[:length])


@pytest.mark.parametrize("decoder", DECODERS)
@given(data=st.data())
def test_no_octets_raise_anything_but_a_wire_error(decoder: Any, data: st.DataObject) -> None:
    known = [one["text"] for one in (*VECTORS.values(), *vectors("messages").values())]
    document = json.loads(data.draw(st.sampled_from(known)))
    if len(document) > 1:
        document[data.draw(st.sampled_from(sorted(document)))] = data.draw(tree)
    octets = bytearray(json.dumps(document).encode())
    for _ in range(data.draw(st.integers(0, 3))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(WireError):
        decoder(bytes(octets))


def test_tables_longer_than_a_clients_message_pass_and_longer_ones_do_not() -> None:
    buffer = MessageBuffer(table_messages.MAXIMUM_LENGTH)
    buffer.append((100_000).to_bytes(LENGTH_OCTETS, "big") + bytes(100_000))
    assert buffer.next_body() == bytes(100_000)
    buffer.append((table_messages.MAXIMUM_LENGTH + 1).to_bytes(LENGTH_OCTETS, "big"))
    with pytest.raises(WireError):
        buffer.next_body()


def test_a_probe_is_its_vector() -> None:
    token = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
    octets = octets_of(vectors("probe")["probe"])
    assert Probe.parse(octets) == Probe(7, token)
    assert Probe(7, token).pack() == octets


@given(st.binary(max_size=40))
def test_only_twenty_octets_that_begin_with_3_and_0_are_a_probe(octets: bytes) -> None:
    if len(octets) == LENGTH and octets[:2] == b"\3\0":
        assert Probe.parse(octets).pack() == octets
        return
    with pytest.raises(WireError):
        Probe.parse(octets)
