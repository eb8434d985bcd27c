"""A representative's channels to its VPN servers: who may connect, and what each is told.

A VPN server shows a certificate of the authority for servers; its DNS name is the server's.

Patent: Fig. 15 part 1501; Fig. 16; tables 507, 508.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any

from nodes.channel import HANDSHAKE_TIME, Channel, server_context
from nodes.clock import now
from nodes.process import complain
from nodes.sections import ServerConfiguration
from protocol.distribution.publisher import CloseServer, PublisherAction, SendTables
from protocol.distribution.representative import Representative
from protocol.errors import WireError
from protocol.types import Address
from protocol.wire.table_messages import MAXIMUM_LENGTH, Alive, parse_from_vpn_server

PROGRAM = "blindrelay server"
HANDSHAKES = 64
"""TLS handshakes with would-be servers that may go on at a time."""
BACKLOG = 64
OUT_OF_RESOURCES_PAUSE = 1.0
"""Seconds until connections are taken again after the machine had nothing left for one."""


class VpnServerChannels:
    """Takes the VPN servers' connections and drives the distribution of tables over them."""

    def __init__(self, representative: Representative, act: Callable[[], None]) -> None:
        """Takes what is driven, and what to call when it may want something done."""
        self.representative = representative
        self.counters: Counter[str] = Counter(
            servers_refused_certificate=0, servers_refused_name=0, table_octets_sent=0
        )
        self.octets_sent: Counter[str] = Counter()
        """Octets of table messages, by server."""
        self._act = act
        self._channels: dict[int, tuple[Channel, str]] = {}
        self._numbers: dict[Channel, int] = {}
        self._next_number = 1
        self._greeting: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None

    # -- connections

    def listen(self, configuration: ServerConfiguration) -> None:
        """Begins to take connections; ChannelError for a file that fails, OSError for the port."""
        section = configuration.server
        assert section.certificate is not None
        assert section.private_key is not None
        authority = section.servers_certificate_authority
        context = server_context(section.certificate, section.private_key, authority)
        listener = _listener(Address(str(section.address), section.servers_port))
        accepting = self._accept(listener, context)
        self._accepting = asyncio.get_running_loop().create_task(accepting)

    def close(self) -> None:
        """Takes no more connections."""
        tasks = [*self._greeting, *([self._accepting] if self._accepting else [])]
        for task in tasks:
            task.cancel()

    async def _accept(self, listener: socket.socket, context: Any) -> None:
        """Takes connections one by one: asyncio's own listener tells nobody of a handshake that fails."""
        loop = asyncio.get_running_loop()
        with listener:
            while True:
                try:
                    connection, source = await loop.sock_accept(listener)
                except OSError as error:
                    complain(PROGRAM, f"VPN servers' port: {error}")
                    await asyncio.sleep(OUT_OF_RESOURCES_PAUSE)
                    continue
                if len(self._greeting) >= HANDSHAKES:
                    self.counters["servers_refused_busy"] += 1
                    connection.close()
                    continue
                task = loop.create_task(self._greet(connection, str(source[0]), context))
                self._greeting.add(task)
                task.add_done_callback(self._greeting.discard)

    async def _greet(self, connection: socket.socket, peer: str, context: Any) -> None:
        """Does the handshake, and says so when it fails."""
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: Channel(self, MAXIMUM_LENGTH, MAXIMUM_LENGTH),
                connection,
                ssl=context,
                ssl_handshake_timeout=HANDSHAKE_TIME,
            )
        except OSError as error:  # what TLS and the network say
            self.counters["servers_refused_certificate"] += 1
            reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
            complain(PROGRAM, f"refused a VPN server at {peer}: {reason}")
            connection.close()

    # -- what happens on the channels

    def channel_opened(self, channel: Channel) -> None:
        """Takes a server that is configured, by the name in its certificate; refuses another."""
        number = self._next_number
        self._next_number += 1
        names = channel.certified_names()
        for name in names[:1] if len(names) == 1 else []:
            if self.representative.server_connected(number, name, now()):
                self._channels[number], self._numbers[channel] = (channel, name), number
                self._act()
                return
        self.counters["servers_refused_name"] += 1
        shown = ", ".join(names) or "no DNS name"
        complain(PROGRAM, f"refused a VPN server at {channel.peer}: {shown} is not in [servers]")
        channel.close()

    def body_received(self, channel: Channel, body: bytes) -> None:
        """Hands a server's message on."""
        number = self._numbers.get(channel)
        if number is None:
            return
        try:
            message = parse_from_vpn_server(body)
        except WireError as error:
            self.stream_broken(channel, str(error))
            return
        self.representative.server_message(number, message, now())
        self._act()

    def stream_broken(self, channel: Channel, detail: str) -> None:
        """Ends a channel whose octets are no message."""
        number = self._numbers.get(channel)
        if number is not None:
            self.counters["servers_messages_broken"] += 1
            complain(PROGRAM, f"VPN server {self._channels[number][1]}: {detail}")
            self.representative.publisher.message_broken(number)
            self._act()

    def channel_lost(self, channel: Channel) -> None:
        """Notes that a server is gone: its clients get others."""
        number = self._numbers.pop(channel, None)
        if number is not None:
            del self._channels[number]
            self.representative.server_lost(number, now())
            self._act()

    # -- what the distribution wants done

    def do(self, action: PublisherAction) -> None:
        """Sends tables, or ends a channel."""
        channel, name = self._channels.get(action.connection, (None, ""))
        if channel is None:
            return
        if isinstance(action, CloseServer):
            channel.close()
        elif isinstance(action, SendTables):
            octets = channel.send(action.message)
            if not isinstance(action.message, Alive):
                self.octets_sent[name] += octets
                self.counters["table_octets_sent"] += octets


def _listener(address: Address) -> socket.socket:
    """Opens the port; raises OSError that names it."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise OSError(f"TCP {address}: {(error.strerror or str(error)).lower()}") from None
    return listener
