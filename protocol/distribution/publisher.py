"""The representative's side: what each VPN server has been told of its tables, and what it has applied.

Each server has tables of its own (:class:`ServerTables`). What changes is gathered until
:meth:`Publisher.flush`, which tells each server one message: the whole, or what changed.

Patent: Figs. 15, 16, 18, 19; tables 19, 507, 508; effects E4, E5.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from protocol.distribution.counts import CountSums
from protocol.distribution.hop_keys import HopKeys
from protocol.distribution.server_tables import ServerTables
from protocol.distribution.tables import Tables
from protocol.distribution.view import Dirty, Server, View
from protocol.relay.tables import Member, RelayedGroup
from protocol.types import SECOND, Address, ClientId, Secret, ServerDelivery
from protocol.wire.table_messages import (
    VERSION,
    Alive,
    Applied,
    Bound,
    Changes,
    Counts,
    Hello,
    MemberRow,
    RepresentativeMessage,
    Snapshot,
    StationKey,
    Stations,
    VpnServerMessage,
)

MILLISECOND = 1_000_000
SILENCE = 4 * SECOND
"""How long a server may say nothing before it counts as gone."""

Distribution = Literal["full", "delta"]
"""Whether a change is told by the whole tables, or by what has changed: the patent allows both."""


class Events(Protocol):
    """Who is told what servers do: the one that gives clients their servers."""

    def server_up(self, name: str, now: int) -> None:
        """A server has its tables and can take clients."""

    def server_down(self, name: str) -> None:
        """A server is gone."""

    def placed(self, client_id: ClientId, server: str, now: int) -> None:
        """A client's own server knows of it."""

    def bound(self, client_id: ClientId, address: Address) -> None:
        """A client has shown its own server where it is."""


@dataclass(frozen=True)
class SendTables:
    """Send this message to a server."""

    connection: int
    message: RepresentativeMessage


@dataclass(frozen=True)
class CloseServer:
    """End the connection of a server."""

    connection: int


PublisherAction = SendTables | CloseServer


class Publisher:
    """Keeps every VPN server's tables what user VPN management says."""

    def __init__(
        self,
        servers: Iterable[Server],
        events: Events,
        epoch: int,
        token: Secret,
        delivery: ServerDelivery = "direct",
        distribution: Distribution = "delta",
        reports: bool = True,
        grace: int = 30 * SECOND,
        hop_keys: HopKeys | None = None,
    ) -> None:
        """Takes the servers, who is told of them, and the switches.

        ``hop_keys``, where hop tags are required, makes those between servers.
        ``reports`` has servers say which stations they see (direct delivery only); ``grace`` is how
        long, in ns, a server uses rows of the epoch before beside those of this one.
        """
        self.epoch = epoch
        self.delivery: ServerDelivery = delivery
        self.distribution: Distribution = distribution
        self.counts = CountSums(delivery == "direct")
        """What servers have counted by client."""
        self.foreign_counts = 0
        """Rows of such counts that were not their server's to tell."""
        self.foreign_addresses = 0
        """Clients' addresses that were not their server's to tell."""
        self._events = events
        self._token = token
        self._reports = reports and delivery == "direct"
        self._grace = grace
        self._hop_tags = hop_keys is not None
        self._views = {server.name: View(server) for server in servers}
        self._by_connection: dict[int, View] = {}
        self._tables = ServerTables(self._views, delivery, self._reports, hop_keys)
        self._actions: deque[PublisherAction] = deque()

    # -- what user VPN management says

    def group_changed(self, group: RelayedGroup) -> None:
        """Takes a group's address and SPIs; a group without SPIs has no member."""
        self._tables.group_changed(group)

    def member_joined(self, member: Member, server: str) -> None:
        """Adds a client that was given ``server``, or gives it that one."""
        self._tables.member_joined(member, server)
        self.counts.joined(member, server)

    def member_left(self, client_id: ClientId) -> None:
        """Removes a client and its stations."""
        self._tables.member_left(client_id)
        self.counts.left(client_id)

    # -- what servers do

    def server_connected(self, connection: int, name: str, now: int) -> bool:
        """Notes that a server is there, by what its certificate says; False when it is none of ours."""
        view = self._views.get(name)
        if view is None:
            return False
        if view.connection is not None:
            self._actions.append(CloseServer(view.connection))
            self.server_lost(view.connection)
        view.connection, view.deadline, view.greeted = connection, now + SILENCE, False
        self._by_connection[connection] = view
        return True

    def server_lost(self, connection: int) -> None:
        """Notes that a server is gone."""
        view = self._by_connection.pop(connection, None)
        if view is None:
            return
        view.connection = None
        view.unconfirmed.clear()
        if view.up:
            view.up = False
            self._events.server_down(view.name)

    def receive_message(self, connection: int, message: VpnServerMessage, now: int) -> None:
        """Takes a message of a server; one out of turn ends the connection."""
        view = self._by_connection.get(connection)
        if view is None:
            return
        view.deadline = now + SILENCE
        if isinstance(message, Hello):
            if view.greeted or message.version != VERSION:
                self._end(connection)
                return
            view.greeted = True
            self._send_whole(view)
        elif not view.greeted:
            self._end(connection)
        elif isinstance(message, Alive):
            self._actions.append(SendTables(connection, Alive()))
        elif isinstance(message, Applied):
            self._applied(view, message, now)
        elif isinstance(message, Stations):
            self._tables.stations.take(view, message)
        elif isinstance(message, Counts):
            self.foreign_counts += self.counts.take(view.name, message)
        elif isinstance(message, Bound):
            self._bound(view, message)
        else:
            self._send_whole(view)

    def message_broken(self, connection: int) -> None:
        """Ends the connection of a server whose octets are no message."""
        if connection in self._by_connection:
            self._end(connection)

    # -- time and actions

    def next_timeout(self) -> int | None:
        """Returns when :meth:`handle_timeout` is due, or None."""
        return min((view.deadline for view in self._by_connection.values()), default=None)

    def handle_timeout(self, now: int) -> None:
        """Gives up servers that say nothing."""
        for connection, view in list(self._by_connection.items()):
            if now >= view.deadline:
                self._end(connection)

    def flush(self) -> None:
        """Tells each server what has changed since it was told last."""
        for view in self._views.values():
            if not view.dirty:
                continue
            if not view.greeted or view.connection is None:
                view.dirty = Dirty()  # it will be told the whole
            elif self.distribution == "full":
                self._send_whole(view)
            else:
                self._send_changes(view)

    def next_action(self) -> PublisherAction | None:
        """Returns the next thing to do, or None when all is done."""
        return self._actions.popleft() if self._actions else None

    def tables(self, name: str) -> Tables:
        """Returns the tables that a server is to hold."""
        return self._views[name].tables

    def servers(self) -> Iterable[tuple[str, bool, int, int]]:
        """Yields (name, whether it is up, its clients, last sequence number) of every server."""
        for name, view in self._views.items():
            yield name, view.up, self._tables.clients(name), view.sequence

    def stations(self) -> Iterable[tuple[StationKey, ClientId, str]]:
        """Yields (station, the client it is behind, the server that has seen it)."""
        return self._tables.stations.rows()

    @property
    def not_taken(self) -> Mapping[str, int]:
        """Rows of station reports that were not believed, by reason."""
        return self._tables.stations.not_taken

    # -- messages

    def _send_whole(self, view: View) -> None:
        view.dirty = Dirty()
        view.sequence += 1
        assert view.connection is not None
        message = Snapshot(
            self.epoch,
            view.sequence,
            view.tables.rows(),
            self._token,
            self._reports,
            self._grace // MILLISECOND,
            self._hop_tags,
        )
        self._actions.append(SendTables(view.connection, message))
        self._expect(view, view.tables.members.values())

    def _send_changes(self, view: View) -> None:
        removed, put = view.take_changes()
        view.sequence += 1
        assert view.connection is not None
        self._actions.append(
            SendTables(view.connection, Changes(self.epoch, view.sequence, removed, put))
        )
        self._expect(view, put.members)

    @staticmethod
    def _expect(view: View, members: Iterable[MemberRow]) -> None:
        """Notes which clients wait for the server to have the message that was just sent."""
        view.unconfirmed += [
            (view.sequence, ClientId(row.client_id)) for row in members if row.home
        ]

    def _applied(self, view: View, message: Applied, now: int) -> None:
        if message.epoch != self.epoch or message.sequence > view.sequence:
            return
        if not view.up:
            view.up = True
            if not view.has_keys:
                view.has_keys = True
                self._tables.tell_of_servers()
            self._events.server_up(view.name, now)
        while view.unconfirmed and view.unconfirmed[0][0] <= message.sequence:
            _, client_id = view.unconfirmed.popleft()
            self._events.placed(client_id, view.name, now)

    def _end(self, connection: int) -> None:
        self._actions.append(CloseServer(connection))
        self.server_lost(connection)

    def _bound(self, view: View, message: Bound) -> None:
        """Takes a server's word for where its own clients are, and for nobody else's."""
        for row in message.rows:
            client_id = ClientId(row.client_id)
            if self._tables.server_of(client_id) == view.name:
                self._events.bound(client_id, row.endpoint.address)
            else:
                self.foreign_addresses += 1
