"""The control channel: messages over TLS 1.3.

The server proves who it is by its certificate; the user by a password, which the channel keeps secret.

Patent: Fig. 7-1 step 701 ("IKE or the like").
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Protocol, cast

from protocol.errors import WireError
from protocol.wire.codec import MAXIMUM_LENGTH, Message, MessageBuffer, pack

HANDSHAKE_TIME = 10.0
"""Seconds that a TLS handshake may take."""
CLOSING_TIME = 2.0
"""Seconds that the end of a channel may take."""
UNSENT_LIMIT = 1024 * 1024
"""Octets that may wait for a peer which does not read; then the channel is ended."""


class ChannelError(Exception):
    """A control channel that cannot be set up: names the file or peer, and what was expected."""


class CredentialsError(ChannelError):
    """The server has refused user ID and password while the channel was set up."""


class Events(Protocol):
    """Who is told what happens on a channel."""

    def channel_opened(self, channel: Channel) -> None:
        """The channel is up."""

    def body_received(self, channel: Channel, body: bytes) -> None:
        """A whole message's JSON has arrived."""

    def stream_broken(self, channel: Channel, detail: str) -> None:
        """What arrives cannot be cut into messages."""

    def channel_lost(self, channel: Channel) -> None:
        """The channel is gone, by whoever's doing."""


class Channel(asyncio.Protocol):
    """One end of a control channel."""

    def __init__(
        self,
        events: Events,
        maximum_length: int = MAXIMUM_LENGTH,
        unsent_limit: int = UNSENT_LIMIT,
    ) -> None:
        """Takes who is told, how long a message may be, and how much may wait to be sent, in octets."""
        self._events = events
        self._buffer = MessageBuffer(maximum_length)
        self._unsent_limit = unsent_limit
        self._transport: asyncio.Transport | None = None
        self.peer = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop after the handshake."""
        self._transport = cast(asyncio.Transport, transport)
        self.peer = self._transport.get_extra_info("peername")[0]
        self._events.channel_opened(self)

    def data_received(self, data: bytes) -> None:
        """Called by the loop with the stream's next octets."""
        self._buffer.append(data)
        try:
            while self._transport is not None:
                body = self._buffer.next_body()
                if body is None:
                    return
                self._events.body_received(self, body)
        except WireError as error:
            self._events.stream_broken(self, str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop when the connection has ended."""
        self._transport = None
        self._events.channel_lost(self)

    def certified_names(self) -> list[str]:
        """Returns the DNS names in the peer's certificate, if it has shown one that holds."""
        if self._transport is None:
            return []
        certificate = self._transport.get_extra_info("peercert") or {}
        return [name for kind, name in certificate.get("subjectAltName", ()) if kind == "DNS"]

    def send(self, message: Message) -> int:
        """Sends a message, if the channel is still up; a peer that does not read is cut off.

        Returns how many octets it had, 0 when the channel is gone.
        """
        if self._transport is None or self._transport.is_closing():
            return 0
        octets = pack(message)
        self._transport.write(octets)
        if self._transport.get_write_buffer_size() > self._unsent_limit:
            self._transport.abort()
        return len(octets)

    def abort(self) -> None:
        """Ends the channel without a word to the peer, who cannot hear it."""
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Ends the channel after what was sent before."""
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.close()
        # a peer that hangs never answers TLS's farewell
        asyncio.get_running_loop().call_later(CLOSING_TIME, self._transport.abort)


def server_context(
    certificate: Path, private_key: Path, clients_authority: Path | None = None
) -> ssl.SSLContext:
    """Returns the server's side of TLS; raises ChannelError naming the file that does not serve.

    With ``clients_authority`` whoever connects must show a certificate of that one.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    _load_own(context, certificate, private_key)
    if clients_authority is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        _load_authority(context, clients_authority)
    return context


def client_context(
    certificate_authority: Path, own: tuple[Path, Path] | None = None
) -> ssl.SSLContext:
    """Returns the client's side of TLS; raises ChannelError naming the file that does not serve.

    ``own`` is a certificate to show, and its private key.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    _load_authority(context, certificate_authority)
    if own is not None:
        _load_own(context, *own)
    return context


def _load_own(context: ssl.SSLContext, certificate: Path, private_key: Path) -> None:
    try:
        context.load_cert_chain(certificate, private_key)
    except OSError as error:
        reason = _reason(error, "a certificate and its private key in PEM")
        raise ChannelError(f"{certificate}, {private_key}: {reason}") from None


def _load_authority(context: ssl.SSLContext, certificate_authority: Path) -> None:
    try:
        context.load_verify_locations(certificate_authority)
    except OSError as error:
        reason = _reason(error, "certificates in PEM")
        raise ChannelError(f"{certificate_authority}: {reason}") from None


def _reason(error: OSError, expected: str) -> str:
    """Says why a file does not serve; the words of the TLS library are not for users."""
    if isinstance(error, ssl.SSLError):
        return f"expected {expected}, got something else"
    return f"expected {expected}, got {(error.strerror or str(error)).lower()}"


def _context(side: int) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context
