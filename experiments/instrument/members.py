"""The members of the groups as the generator holds them: real clients without a LAN."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

import msgspec

from nodes.channel import HANDSHAKE_TIME, Channel
from nodes.clock import now
from protocol.client import Client
from protocol.client.actions import (
    CloseChannel,
    DeliverFrame,
    Joined,
    Rejected,
    SendDatagram,
    SendMessage,
)
from protocol.client.tables import AuthenticationInformation
from protocol.errors import WireError
from protocol.types import Secret, VpnId
from protocol.wire.messages import parse_from_server

REGISTER_SECONDS = 30.0
BROADCAST = b"\xff" * 6
_HEADER_OCTETS = 14
_ETHERTYPE = b"\x88\xb5"
_SEND_BUFFER = 4 * 1024 * 1024
_RECEIVE_BUFFER = 4096


class MemberError(RuntimeError):
    """Says which member could not be brought into its group."""


class ServerAddress(msgspec.Struct, frozen=True):
    """Where a server listens."""

    address: str
    control_port: int
    data_port: int


class MemberFile(msgspec.Struct, frozen=True):
    """One user, and its address on the network of each server."""

    user: str
    password_file: str
    addresses: dict[str, str]


class GroupOfMembers(msgspec.Struct, frozen=True):
    """One group, the same at every server."""

    size: int
    vpn_id: int
    members: list[MemberFile]


class GeneratorFile(msgspec.Struct, frozen=True):
    """All that the generator reads."""

    authority: str
    servers: dict[str, ServerAddress]
    groups: list[GroupOfMembers]
    no_cipher: bool = False
    """Whether one algorithm's name stands for none: see `no_cipher`."""


class Member:
    """One client: a control channel, a socket of its own, and one station on its LAN."""

    def __init__(self, file: MemberFile, vpn_id: int, server: ServerAddress, address: str) -> None:
        """Binds to the member's own address; ``address`` is on the server's network."""
        password = Path(file.password_file).read_bytes().rstrip(b"\n")
        authentication = AuthenticationInformation(file.user, Secret(password), VpnId(vpn_id))
        self.name = file.user
        self.server, self.address = server, address
        self.client = Client(authentication, server.data_port, listening=0)
        self.mac = (
            b"\x02" + socket.inet_pton(socket.AF_INET6, address)[-1:] + vpn_id.to_bytes(4, "big")
        )
        self.joined = asyncio.get_running_loop().create_future()
        self.socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self.socket.bind((address, server.data_port))
        self._channel: Channel | None = None

    async def register(self, context: ssl.SSLContext) -> None:
        """Opens the control channel and waits for the SA; MemberError when it is refused or late."""
        await asyncio.get_running_loop().create_connection(
            lambda: Channel(self),
            self.server.address,
            self.server.control_port,
            ssl=context,
            server_hostname=self.server.address,
            local_addr=(self.address, 0),
            ssl_handshake_timeout=HANDSHAKE_TIME,
        )
        try:
            await asyncio.wait_for(self.joined, REGISTER_SECONDS)
        except asyncio.TimeoutError:
            late = f"{self.name}: no SA within {REGISTER_SECONDS:.0f} s"
            raise MemberError(late) from None

    def frame(self, destination: bytes, octets: int) -> bytes:
        """Returns a frame of this member's station, ``octets`` long."""
        header = destination + self.mac + _ETHERTYPE
        return header + bytes(octets - _HEADER_OCTETS)

    def seal(self, frame: bytes) -> bytes:
        """Returns the datagram's payload that carries a frame; MemberError when it is dropped."""
        self.client.receive_frame(frame, now())
        payload = None
        while (action := self.client.next_action()) is not None:
            if isinstance(action, SendDatagram):
                payload = action.payload
        if payload is None:
            raise MemberError(f"{self.name}: frame dropped: {dict(self.client.drops)}")
        return payload

    def close(self) -> None:
        """Leaves the group and closes the socket."""
        self.client.leave(now())
        self._act()
        self.socket.close()

    # -- events of the channel

    def channel_opened(self, channel: Channel) -> None:
        """Registers."""
        self._channel = channel
        self.client.channel_opened(now())
        self._act()

    def body_received(self, channel: Channel, body: bytes) -> None:
        """Hands the server's message to the client."""
        try:
            self.client.receive_message(parse_from_server(body), now())
        except WireError as error:
            self._fail(str(error))
        self._act()

    def stream_broken(self, channel: Channel, detail: str) -> None:
        """Ends a channel whose octets are no message."""
        channel.close()

    def channel_lost(self, channel: Channel) -> None:
        """Notes that the channel is gone, which must not happen before the end."""
        self._channel = None
        self.client.channel_lost(now())
        self._fail("the control channel was lost")

    def _act(self) -> None:
        while (action := self.client.next_action()) is not None:
            if isinstance(action, SendMessage) and self._channel is not None:
                self._channel.send(action.message)
            elif isinstance(action, CloseChannel) and self._channel is not None:
                self._channel.close()
            elif isinstance(action, Joined) and not self.joined.done():
                self.joined.set_result(None)
            elif isinstance(action, Rejected):
                self._fail(action.refusal.detail)
            elif isinstance(action, SendDatagram):  # shows the relay where it is
                self.socket.sendto(action.payload, action.destination)
            else:
                assert not isinstance(action, DeliverFrame)

    def _fail(self, reason: str) -> None:
        if not self.joined.done():
            self.joined.set_exception(MemberError(f"{self.name}: {reason}"))
