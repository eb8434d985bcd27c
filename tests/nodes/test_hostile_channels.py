"""Control connections that should not be: they end, and nobody else notices."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.types import Secret
from protocol.wire.codec import MessageBuffer, pack
from protocol.wire.messages import (
    VERSION,
    KeepAlive,
    Leave,
    Refused,
    Register,
    RekeyRequest,
    parse_from_server,
)
from tests.namespaces import inside
from tests.nodes.running import Crew, crew_on
from topologies.emulate import Network

pytestmark = pytest.mark.emulated

IMPATIENT = """
import sys
import nodes.server
import protocol.management.management as management
nodes.server.HANDSHAKE_TIME = 3.0
management.REGISTRATION_TIME = 3_000_000_000
sys.exit(nodes.server.main())
"""
"""A server that waits for three seconds where the real one waits for ten; on a busy machine TLS takes one."""
SECONDS = 20.0
HALF_OPEN = 60
REGISTER = Register(VERSION, "C", Secret(b"wrong"), 1001, 4790)


class Stranger:
    """Opens connections to the server from c3, where no client runs."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._server = str(crew.network.plan.data_address("server")), 4791
        self._context = ssl.create_default_context(cafile=str(crew.folder / "authority.pem"))

    def plain(self) -> socket.socket:
        """Opens a TCP connection."""
        with inside(self._crew.network.pid("c3")):
            opened = socket.create_connection(self._server, SECONDS)
        opened.settimeout(SECONDS)
        return opened

    def tls(self) -> ssl.SSLSocket:
        """Opens a connection and does the handshake."""
        return self._context.wrap_socket(self.plain(), server_hostname=self._server[0])


@pytest.fixture(scope="module")
def impatient(network: Network, files: object) -> Iterator[Crew]:
    """Gives an impatient server with c1 and c2 registered."""
    with crew_on(network) as crew:
        crew.start("server", program=IMPATIENT)
        crew.wait("server", "serving")
        crew.up("c1", "c2")
        yield crew


@pytest.fixture(scope="module")
def stranger(impatient: Crew) -> Stranger:
    """Gives somebody at c3."""
    return Stranger(impatient)


@pytest.fixture(autouse=True)
def _others_notice_nothing(impatient: Crew) -> Iterator[None]:
    members = impatient.members()
    yield
    assert impatient.members() == members
    assert impatient.reach("t1a", "t2a")
    for node in ("server", "c1", "c2"):
        assert impatient.errors(node) == []


def _until_the_end(connection: socket.socket) -> bytes:
    """Returns all that comes until the server ends the connection."""
    received = b""
    while True:
        try:
            octets = connection.recv(65536)
        except (ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return received
        if not octets:
            return received
        received += octets


def _refusal(octets: bytes) -> str:
    """Returns the reason in the server's only message."""
    buffer = MessageBuffer()
    buffer.append(octets)
    body = buffer.next_body()
    assert body is not None
    message = parse_from_server(body)
    assert isinstance(message, Refused)
    assert buffer.next_body() is None
    return message.reason.value


@pytest.mark.parametrize(
    "octets",
    [b"GET / HTTP/1.1\r\nHost: vpn\r\n\r\n", bytes(1000), b"\x16\x03\x01\xff\xff" + b"\xff" * 500],
    ids=["HTTP", "zeros", "almost TLS"],
)
def test_what_is_no_tls_is_cut_off(stranger: Stranger, octets: bytes) -> None:
    with stranger.plain() as connection:
        connection.sendall(octets)
        _until_the_end(connection)


def test_old_tls_is_refused(stranger: Stranger) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with stranger.plain() as connection, pytest.raises(ssl.SSLError):
        old.wrap_socket(connection)


def test_half_open_connections_hinder_nobody_and_end(impatient: Crew, stranger: Stranger) -> None:
    with ExitStack() as stack:
        opened = [stack.enter_context(stranger.plain()) for _ in range(HALF_OPEN)]
        opened += [stack.enter_context(stranger.tls()) for _ in range(3)]
        impatient.up("c4")
        assert impatient.end("c4") == [0]
        assert [_until_the_end(connection) for connection in opened] == [b""] * len(opened)


def test_a_client_that_is_slow_to_register_is_cut_off(stranger: Stranger) -> None:
    with stranger.tls() as connection:
        started = time.monotonic()
        octets = iter(pack(REGISTER))
        with pytest.raises(OSError, match="pipe|reset|EOF|protocol"):  # noqa: PT012
            while time.monotonic() < started + SECONDS:
                connection.sendall(bytes([next(octets)]))
                time.sleep(0.2)
        assert time.monotonic() - started < SECONDS


def _body(text: bytes) -> bytes:
    return len(text).to_bytes(4, "big") + text


GARBAGE: dict[str, bytes] = {
    "no message": _body(b"hello"),
    "no UTF-8": _body(b'{"type": "\xff\xfe"}'),
    "a length of zero": bytes(4),
    "a length of 4 GB": b"\xff" * 4,
    "nested 8000 deep": _body(b'{"a":' + b"[" * 8000),
    "a server's message": _body(b'{"type": "registered"}'),
    "an unknown type": _body(b'{"type": "root"}'),
    "a version of 4000 digits": _body(b'{"type":"register","version":' + b"9" * 4000 + b"}"),
    "a keep-alive before the registration": pack(KeepAlive()),
    "a leave before the registration": pack(Leave()),
    "a wish for a key before the registration": pack(RekeyRequest(4097)),
    "another version": pack(Register(77, "C", Secret(b"wrong"), 1001, 4790)),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_within_tls_is_refused(stranger: Stranger, name: str) -> None:
    with stranger.tls() as connection:
        connection.sendall(GARBAGE[name])
        expected = "version" if name == "another version" else "protocol"
        assert _refusal(_until_the_end(connection)) == expected


def test_messages_behind_a_registration_that_is_checked_are_refused(stranger: Stranger) -> None:
    with stranger.tls() as connection:
        connection.sendall(pack(REGISTER) + pack(REGISTER) + pack(KeepAlive()))
        assert _refusal(_until_the_end(connection)) == "protocol"


def test_a_connection_that_ends_while_its_password_is_checked_leaves_nothing(
    stranger: Stranger,
) -> None:
    for _ in range(5):
        with stranger.tls() as connection:
            connection.sendall(pack(REGISTER))


def test_no_stream_stops_the_server(stranger: Stranger) -> None:
    @settings(max_examples=40, deadline=None, database=None)
    @given(st.binary(min_size=1, max_size=600) | st.binary(max_size=600).map(_body))
    def attack(octets: bytes) -> None:
        with stranger.tls() as connection:
            connection.sendall(octets)

    attack()
