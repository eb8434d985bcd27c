"""The control channel's messages."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import WireError
from protocol.types import Secret
from protocol.wire import messages
from protocol.wire.codec import (
    MAXIMUM_LENGTH,
    MOST_PACKETS,
    Endpoint,
    Message,
    MessageBuffer,
    Part,
    pack,
)
from tests.protocol.vectors import octets_of, vectors

VECTORS = vectors("messages")
every_vector = pytest.mark.parametrize("name", VECTORS)
PARSE: dict[str, Any] = {
    "client": messages.parse_from_client,
    "server": messages.parse_from_server,
    "both": messages.parse_from_server,
}

ids = st.integers(1, 2**32 - 1)
ports = st.integers(1, 65535)
delays = st.integers(0, 86_400_000)
secrets = st.binary(max_size=64).map(Secret)
ip_addresses = st.ip_addresses()
associations = st.builds(
    messages.GroupSecurityAssociation,
    spi=st.integers(256, 2**32 - 1),
    algorithm=st.sampled_from(["aes-128-gcm", "aes-256-gcm"]),
    key=secrets,
    salt=secrets,
    sender_id=st.integers(0, 65535),
    packets=st.integers(1, MOST_PACKETS),
)
endpoints = st.builds(Endpoint, host=ip_addresses, port=ports)
server_names = st.from_regex(r"\A[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?\Z")
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=64)
client_messages = st.one_of(
    st.builds(
        messages.Register, version=ports, user=names, password=secrets, vpn_id=ids, data_port=ports
    ),
    st.builds(
        messages.Measured,
        measurements=st.lists(
            st.builds(
                messages.Measurement,
                server=server_names,
                answered=st.integers(0, 255),
                minimum_rtt=st.integers(0, 60_000_000),
            ),
            max_size=4,
        ).map(tuple),
    ),
    st.builds(messages.RekeyRequest, spi=st.integers(256, 2**32 - 1)),
    st.just(messages.KeepAlive()),
    st.just(messages.Leave()),
)
server_messages = st.one_of(
    st.builds(
        messages.Registered,
        client_id=ids,
        vpn_id=ids,
        client_address=ip_addresses,
        multicast_address=ip_addresses,
        relay=endpoints,
        relays=st.lists(endpoints, min_size=1, max_size=4).map(tuple),
        security_association=associations,
        older=st.lists(associations, max_size=2).map(tuple),
        activation_delay=delays,
        deactivation_delay=delays,
        lan_mtu=st.integers(576, 65535),
        keepalive_interval=delays,
        delivery=st.sampled_from(["relay", "multicast"]),
        hop_key=st.none() | secrets,
        binding_key=st.none() | secrets,
    ),
    st.builds(
        messages.Candidates,
        token=secrets,
        probes=st.integers(1, 255),
        interval=st.integers(1, 1000),
        servers=st.lists(
            st.builds(messages.Candidate, server=server_names, endpoint=endpoints),
            min_size=1,
            max_size=4,
        ).map(tuple),
    ),
    st.builds(
        messages.NewRelay,
        relay=endpoints,
        relays=st.lists(endpoints, min_size=1, max_size=4).map(tuple),
    ),
    st.builds(
        messages.NewSecurityAssociation,
        security_association=associations,
        replaces=st.sampled_from(["older", "all"]),
        older=st.lists(associations, max_size=2).map(tuple),
        activation_delay=delays,
        deactivation_delay=delays,
    ),
    st.just(messages.KeepAlive()),
    st.builds(
        messages.Refused,
        reason=st.sampled_from(messages.RefusalReason),
        detail=st.text(st.characters(codec="utf-8"), max_size=200),
    ),
)


def parsed(name: str) -> Message:
    vector = VECTORS[name]
    message: Message = PARSE[vector["from"]](vector["text"].encode())
    return message


def plain(message: Message) -> bytes:
    """The message's octets: secrets compare by what they hold, not by identity."""
    return pack(message)


def altered(name: str, path: str, value: Any) -> bytes:
    """The vector's JSON with another value at ``path``."""
    document = json.loads(VECTORS[name]["text"])
    *parents, field = path.split(".")
    inner = document
    for parent in parents:
        inner = inner[parent]
    inner[field] = value
    return json.dumps(document).encode()


@every_vector
def test_octets_parse_as_the_message_they_are(name: str) -> None:
    message = parsed(name)
    assert type(message).__struct_config__.tag == name
    shown = json.loads(VECTORS[name]["text"])
    for field in type(message).__struct_fields__:
        value = getattr(message, field)
        if value is None:
            assert field not in shown
        elif not isinstance(value, (Secret, tuple, Part)):
            assert str(getattr(value, "value", value)) == str(shown[field])


@every_vector
def test_a_message_packs_to_its_octets(name: str) -> None:
    assert pack(parsed(name)) == octets_of(VECTORS[name])


@given(client_messages)
def test_what_a_client_packs_parses_to_the_same(message: messages.ClientMessage) -> None:
    octets = pack(message)
    assert plain(messages.parse_from_client(octets[4:])) == octets


@given(server_messages)
def test_what_a_server_packs_parses_to_the_same(message: messages.ServerMessage) -> None:
    octets = pack(message)
    assert plain(messages.parse_from_server(octets[4:])) == octets


@every_vector
def test_too_few_octets_are_refused(name: str) -> None:
    text = VECTORS[name]["text"].encode()
    for length in range(len(text)):
        with pytest.raises(WireError, match="control message"):
            PARSE[VECTORS[name]["from"]](text[:length])


@every_vector
def test_an_unknown_field_breaks_the_rule_and_is_named(name: str) -> None:
    with pytest.raises(WireError, match="surprise"):
        PARSE[VECTORS[name]["from"]](altered(name, "surprise", 1))


@every_vector
def test_a_missing_field_breaks_the_rule_and_is_named(name: str) -> None:
    document = json.loads(VECTORS[name]["text"])
    for field in set(document) - {"type", "binding_key"}:
        rest = {key: value for key, value in document.items() if key != field}
        with pytest.raises(WireError, match=field):
            PARSE[VECTORS[name]["from"]](json.dumps(rest).encode())


@pytest.mark.parametrize("parse", [messages.parse_from_client, messages.parse_from_server])
def test_an_unknown_type_breaks_the_rule_and_is_named(parse: Any) -> None:
    with pytest.raises(WireError, match="abolish"):
        parse(b'{"type":"abolish"}')


@pytest.mark.parametrize(
    "name", [name for name, vector in VECTORS.items() if vector["from"] != "both"]
)
def test_a_message_of_the_other_side_is_refused(name: str) -> None:
    other = "server" if VECTORS[name]["from"] == "client" else "client"
    with pytest.raises(WireError, match=name):
        PARSE[other](VECTORS[name]["text"].encode())


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("register", "version", -1),
        ("register", "version", 10**100),
        ("register", "version", "1"),
        ("register", "user", ""),
        ("register", "user", "a" * 65),
        ("register", "user", None),
        ("register", "password", "not hexadecimal"),
        ("register", "password", 12),
        ("register", "vpn_id", 0),
        ("register", "vpn_id", 2**32),
        ("register", "vpn_id", 1.5),
        ("register", "data_port", 0),
        ("register", "data_port", 65536),
        ("rekey_request", "spi", 255),
        ("rekey_request", "spi", 2**32),
        ("registered", "client_address", "3ffe::g"),
        ("registered", "multicast_address", 17),
        ("registered", "relay.host", "relay.example"),
        ("registered", "lan_mtu", 575),
        ("registered", "keepalive_interval", -1),
        ("registered", "security_association.spi", 255),
        ("registered", "security_association.sender_id", 65536),
        ("registered", "security_association.algorithm", "rot13"),
        ("registered", "security_association.key", "0g"),
        ("registered", "security_association.packets", 0),
        ("registered", "security_association.packets", 2**32 - 2**24 + 1),
        ("new_security_association", "activation_delay", 86_400_001),
        ("candidates", "probes", 0),
        ("candidates", "interval", 0),
        ("candidates", "servers", []),
        ("candidates", "token", "xyz"),
        ("measured", "measurements", [{"server": "A", "answered": 0, "minimum_rtt": 0}]),
        ("new_relay", "relays", []),
        ("new_relay", "relay.port", 0),
        ("refused", "reason", "mood"),
        ("refused", "detail", "x" * 257),
    ],
    ids=str,
)
def test_a_value_out_of_range_breaks_the_rule_and_is_named(
    name: str, path: str, value: Any
) -> None:
    with pytest.raises(WireError, match=path.replace(".", r"\.")):
        PARSE[VECTORS[name]["from"]](altered(name, path, value))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b'{"type":"leave"',
        b'{"type":"leave"}{"type":"leave"}',
        b'{"type":"register","user":"\xff"}',
        b'{"type":"register","user":"\\ud800"}',
        b'{"type":"register","version":' + b"9" * 16000 + b"}",
        b"[" * 16000,
        b'{"type":"leave","a":' + b"[" * 16000,
        b'{"a":' + b"[" * 16000,
        b'{"a":' + b'{"a":' * 3000,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_octets_that_are_no_message_are_refused_and_harm_nothing(body: bytes) -> None:
    assert len(body) <= MAXIMUM_LENGTH
    for parse in (messages.parse_from_client, messages.parse_from_server):
        with pytest.raises(WireError, match="control message"):
            parse(body)


@given(st.binary(max_size=200))
def test_random_octets_are_refused_and_harm_nothing(body: bytes) -> None:
    with pytest.raises(WireError):
        messages.parse_from_client(body)


# -- the stream


@given(st.lists(client_messages, max_size=4), st.data())
def test_a_stream_cut_anywhere_gives_the_same_messages(
    sent: list[messages.ClientMessage], data: st.DataObject
) -> None:
    stream = b"".join(pack(message) for message in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    buffer, received = MessageBuffer(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        buffer.append(stream[start:end])
        while (body := buffer.next_body()) is not None:
            received.append(body)
    assert received == [pack(message)[4:] for message in sent]


def test_a_message_cut_at_any_octet_comes_only_when_it_is_whole() -> None:
    stream = octets_of(VECTORS["register"])
    for cut in range(len(stream)):
        buffer = MessageBuffer()
        buffer.append(stream[:cut])
        assert buffer.next_body() is None
        buffer.append(stream[cut:])
        assert buffer.next_body() == stream[4:]


@pytest.mark.parametrize("length", [0, MAXIMUM_LENGTH + 1, 2**32 - 1])
def test_a_length_that_is_not_allowed_is_refused_before_anything_is_stored(length: int) -> None:
    buffer = MessageBuffer()
    buffer.append(length.to_bytes(4, "big"))
    with pytest.raises(WireError, match=f"{length} octets"):
        buffer.next_body()


def test_the_longest_message_that_is_allowed_is_cut_out() -> None:
    buffer = MessageBuffer()
    buffer.append(MAXIMUM_LENGTH.to_bytes(4, "big") + bytes(MAXIMUM_LENGTH))
    assert buffer.next_body() == bytes(MAXIMUM_LENGTH)


# -- secrets


@pytest.mark.parametrize("name", ["register", "registered", "new_security_association"])
def test_a_secret_is_never_shown(name: str) -> None:
    message = parsed(name)
    for shown in (repr(message), str(message), f"{message}", repr([message])):
        assert "secret of" in shown
        for secret in (b"open", bytes(range(16)), bytes.fromhex("a0a1a2a3")):
            assert secret.hex() not in shown
            assert repr(secret)[2:-1] not in shown


@pytest.mark.parametrize("wrong", ["6f70656e2073", "xx6f70656e2073", 7])
def test_an_error_never_quotes_a_secret(wrong: Any) -> None:
    body = altered("register", "password", wrong).replace(b'"data_port": 5000', b'"data_port": 0')
    with pytest.raises(WireError) as caught:
        messages.parse_from_client(body)
    assert "6f70656e2073" not in f"{caught.value!r} {caught.value.__context__!r}"


def test_an_address_parses_as_either_family() -> None:
    for text in ("3ffe::1000", "192.0.2.1"):
        message = messages.parse_from_server(altered("registered", "relay.host", text))
        assert isinstance(message, messages.Registered)
        assert message.relay.host == ip_address(text)
