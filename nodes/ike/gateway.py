"""The server's side of a control channel inside SAs: who is behind a connection, and nobody without an SA.

Patent: Fig. 5-2 part 510; Fig. 7-1 step 701.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Any, Protocol

from nodes.channel import Channel, Events
from nodes.configuration import ServerSection
from nodes.ike import inner_network, view
from nodes.ike.connections import ServerSide
from nodes.ike.conversation import Conversation, UnicastAssociation
from nodes.ike.daemon import charon_of
from nodes.ike.supervisor import Supervisor
from nodes.process import complain
from protocol.types import Secret
from protocol.wire.messages import RefusalReason, Refused

NtHashes = Callable[[], dict[str, Secret]]
WAITING_MESSAGES = 4
"""Messages that a connection may send before it is known whose it is."""


class Admitting(Events, Protocol):
    """Who takes a channel whose user is known."""

    def admit(self, channel: Channel, outside: str, user: str) -> None:
        """The channel is that user's, whose outside address this is."""


class Gateway:
    """Runs a server's charon, and hands over control channels once it has said whose they are."""

    def __init__(
        self,
        program: str,
        section: ServerSection,
        certificate: str,
        private_key: Secret,
        nt_hashes: NtHashes,
        key_server: Admitting,
    ) -> None:
        """Takes certificate and key in PEM; ``nt_hashes`` may block. Raises IkeMissingError."""
        self._program = program
        self._section = section
        self._certificate, self._private_key = certificate, private_key
        self._nt_hashes = nt_hashes
        self._key_server = key_server
        self._waiting: dict[Channel, list[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.refused = 0
        self._supervisor = Supervisor(
            program,
            charon_of(section.vici_socket, section.status_socket.parent),
            self._configure,
            _nothing,
            _nothing,
        )

    @property
    def inner(self) -> IPv6Address:
        """Where clients register."""
        address = self._section.ike_inner_address
        assert isinstance(address, IPv6Address)
        return address

    async def start(self) -> None:
        """Starts charon; raises OSError."""
        inner_network.open_server(self.inner)
        await self._supervisor.start()
        print(f"{self._program}: IKE, ESP in {self._supervisor.esp}", flush=True)

    async def close(self) -> None:
        """Ends charon."""
        for task in self._tasks:
            task.cancel()
        await self._supervisor.close()
        inner_network.close_server(self.inner)

    def users_changed(self) -> None:
        """Has charon take the users' passwords anew."""
        self._do(self._set_passwords())

    def process_view(self) -> dict[str, Any]:
        """Returns what the status says of IKE."""
        return {**self._supervisor.process_view(), "outside_an_sa_refused": self.refused}

    def tables(self) -> dict[str, Any]:
        """Returns the SAs that charon had when it was asked last, within the second."""
        return {view.SERVER_TABLE: view.association_table(self._supervisor.seen)}

    # -- what happens on the channels

    def channel_opened(self, channel: Channel) -> None:
        """Asks charon whose channel this is."""
        if ip_address(channel.peer) not in inner_network.site(self.inner):
            self._refuse(channel)
            return
        self._waiting[channel] = []
        self._do(self._find(channel))

    def body_received(self, channel: Channel, body: bytes) -> None:
        """Keeps a message until it is known whose it is."""
        waiting = self._waiting.get(channel)
        if waiting is None:
            self._key_server.body_received(channel, body)
        elif len(waiting) == WAITING_MESSAGES:
            channel.abort()
        else:
            waiting.append(body)

    def stream_broken(self, channel: Channel, detail: str) -> None:
        """Ends a channel on which no message can be found."""
        if channel in self._waiting:
            channel.abort()
        else:
            self._key_server.stream_broken(channel, detail)

    def channel_lost(self, channel: Channel) -> None:
        """Passes on that a channel is gone."""
        if self._waiting.pop(channel, None) is None:
            self._key_server.channel_lost(channel)

    async def _find(self, channel: Channel) -> None:
        try:
            found = await self._supervisor.ask(self._supervisor.conversation.associations)
        except OSError as error:
            complain(self._program, error)
            found = []
        bodies = self._waiting.pop(channel, None)
        if bodies is None:
            return
        owner = owner_of(found, channel.peer)
        if owner is None or owner.user is None:
            self._refuse(channel)
            return
        self._key_server.admit(channel, owner.outside, owner.user)
        for body in bodies:
            self._key_server.body_received(channel, body)

    def _refuse(self, channel: Channel) -> None:
        self.refused += 1
        detail = "a registration is taken only inside an SA set up by IKE"
        channel.send(Refused(RefusalReason.CREDENTIALS, detail))
        channel.close()

    # -- charon

    def _configure(self, conversation: Conversation) -> None:
        pool = inner_network.pool(self.inner, self._supervisor.charon.starts)
        side = ServerSide(
            self._section.address,
            self.inner,
            pool,
            self._certificate,
            self._private_key,
            self._section.ike_version,
        )
        conversation.configure_server(side, self._nt_hashes())

    async def _set_passwords(self) -> None:
        await self._supervisor.wait_until_ready()
        try:
            await self._supervisor.ask(
                lambda: self._supervisor.conversation.set_passwords(self._nt_hashes())
            )
        except OSError as error:
            complain(self._program, error)

    def _do(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def owner_of(associations: list[UnicastAssociation], inner: str) -> UnicastAssociation | None:
    """Returns the SA of whoever has this inner address, the newest of several."""
    found = [one for one in associations if one.peer == inner]
    return min(found, key=lambda one: one.age, default=None)


def _nothing() -> None:
    """Clients set up their SAs again; until they have, the group's members stay its members."""
