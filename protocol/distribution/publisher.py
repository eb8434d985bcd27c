"""The representative's side: what each VPN server is to hold, what it has been told, what it has applied.

Each server has tables of its own. With direct delivery they name every client of every group; via servers
(Fig. 19) a server's own clients, and the other servers in place of theirs, each once. What changes is
gathered until :meth:`Publisher.flush`, which tells each server one message: the whole, or what changed.

Patent: Figs. 15, 16, 18, 19; tables 19, 507, 508; effects E4, E5.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from protocol.distribution.counts import CountSums
from protocol.distribution.hop_keys import HopKeys
from protocol.distribution.tables import Tables, station_key
from protocol.distribution.view import Dirty, Server, View
from protocol.relay.stations import STATIONS_PER_CLIENT
from protocol.relay.tables import Member, RelayedGroup
from protocol.types import SECOND, Address, ClientId, Secret, ServerDelivery
from protocol.wire.codec import Endpoint
from protocol.wire.ethernet import is_station
from protocol.wire.table_messages import (
    VERSION,
    Alive,
    Applied,
    Bound,
    Changes,
    Counts,
    GroupRow,
    Hello,
    MemberEndpoint,
    MemberRow,
    RepresentativeMessage,
    ServerRow,
    Snapshot,
    SpiRow,
    StationKey,
    StationRow,
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
        self.not_taken: Counter[str] = Counter()
        """Rows of station reports that were not believed, by reason."""
        self._events = events
        self._token = token
        self._reports = reports and delivery == "direct"
        self._grace = grace
        self._hop_keys = hop_keys
        self._views = {server.name: View(server) for server in servers}
        self._by_connection: dict[int, View] = {}
        self._members: dict[ClientId, tuple[Member, str]] = {}
        self._held: dict[str, Counter[int]] = {name: Counter() for name in self._views}
        self._stations: dict[StationKey, ClientId] = {}
        self._stations_of: dict[ClientId, dict[StationKey, None]] = {}
        self._actions: deque[PublisherAction] = deque()
        self._tell_all_of_servers()

    # -- what user VPN management says

    def group_changed(self, group: RelayedGroup) -> None:
        """Takes a group's address and SPIs; a group without SPIs has no member."""
        row = GroupRow(
            group.vpn_id,
            group.multicast_address,
            tuple(sorted(group.spis)),
            tuple(SpiRow(spi, sub_id) for spi, sub_id in sorted(group.sub_ids)),
            group.member_delivery,
        )
        for view in self._views.values():
            if group.spis:
                view.put_group(row)
            else:
                view.remove_group(group.vpn_id)

    def member_joined(self, member: Member, server: str) -> None:
        """Adds a client that was given ``server``, or gives it that one."""
        _, before = self._members.get(member.client_id, (None, None))
        self._members[member.client_id] = member, server
        self.counts.joined(member, server)
        if before != server:
            if before is not None:
                self._forget_stations(member.client_id)
                self._hold(before, member, -1)
            self._hold(server, member, +1)
        for view in self._views.values():
            home = view.name == server
            if home or self.delivery == "direct":
                view.put_member(_row(member, home))
            else:
                view.remove_member(member.client_id)

    def member_left(self, client_id: ClientId) -> None:
        """Removes a client and its stations."""
        member, server = self._members.pop(client_id)
        self.counts.left(client_id)
        self._forget_stations(client_id)
        self._hold(server, member, -1)
        for view in self._views.values():
            view.remove_member(client_id)

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
            self._seen(view, message)
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
            yield name, view.up, self._held[name].total(), view.sequence

    def stations(self) -> Iterable[tuple[StationKey, ClientId, str]]:
        """Yields (station, the client it is behind, the server that has seen it)."""
        for key, client_id in self._stations.items():
            yield key, client_id, self._members[client_id][1]

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
            self._hop_keys is not None,
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
                self._tell_all_of_servers()
            self._events.server_up(view.name, now)
        while view.unconfirmed and view.unconfirmed[0][0] <= message.sequence:
            _, client_id = view.unconfirmed.popleft()
            self._events.placed(client_id, view.name, now)

    def _end(self, connection: int) -> None:
        self._actions.append(CloseServer(connection))
        self.server_lost(connection)

    # -- rows

    def _hold(self, server: str, member: Member, change: int) -> None:
        """Counts a client at its server; the others learn which groups that one has clients of."""
        before = self._held[server][member.vpn_id]
        self._held[server][member.vpn_id] += change
        if self.delivery == "cascade" and (before == 0 or before + change == 0):
            self._tell_all_of_servers()

    def _tell_all_of_servers(self) -> None:
        for view in self._views.values():
            self._tell_of_servers(view)

    def _tell_of_servers(self, view: View) -> None:
        """Names the other servers to one, with direct delivery none: they send it nothing."""
        if self.delivery == "direct":
            return
        for other in self._views.values():
            if other is not view:
                held = tuple(sorted(vpn for vpn, count in self._held[other.name].items() if count))
                endpoint = Endpoint.of(other.server.address)
                view.put_server(ServerRow(other.name, endpoint, held, *self._keys_of(view, other)))

    def _keys_of(self, view: View, other: View) -> tuple[Secret | None, tuple[Secret, ...]]:
        """Returns what a server tags what it sends the other with, and checks the other's with.

        The first once the other has the key, so that nothing is tagged with what it could not check.
        """
        if self._hop_keys is None:
            return None, ()
        send = self._hop_keys.of(view.name, other.name) if other.has_keys else None
        return send, (self._hop_keys.of(other.name, view.name),)

    def _seen(self, view: View, message: Stations) -> None:
        """Takes a server's word for stations at its own clients, and for nobody else's."""
        for key in message.forgotten:
            client_id = self._stations.get(key)
            if client_id is not None and self._members[client_id][1] == view.name:
                self._forget_station(key)
        for row in message.seen:
            reason = self._why_not_believed(view, row)
            if reason is not None:
                self.not_taken[reason] += 1
                continue
            key, client_id = station_key(row), ClientId(row.client_id)
            if self._stations.get(key) == client_id:
                continue
            self._forget_station(key)
            self._stations[key] = client_id
            self._stations_of.setdefault(client_id, {})[key] = None
            for other in self._views.values():
                if other is not view:
                    other.put_station(row)

    def _bound(self, view: View, message: Bound) -> None:
        """Takes a server's word for where its own clients are, and for nobody else's."""
        for row in message.rows:
            client_id = ClientId(row.client_id)
            _, server = self._members.get(client_id, (None, None))
            if server == view.name:
                self._events.bound(client_id, row.endpoint.address)
            else:
                self.foreign_addresses += 1

    def _why_not_believed(self, view: View, row: StationRow) -> str | None:
        member, server = self._members.get(ClientId(row.client_id), (None, None))
        if not self._reports:
            return "not_asked"
        if member is None or server != view.name or member.vpn_id != row.vpn_id:
            return "foreign_client"
        if not is_station(bytes.fromhex(row.mac)):
            return "no_station"
        if len(self._stations_of.get(member.client_id, ())) >= STATIONS_PER_CLIENT:
            return "full"
        return None

    def _forget_station(self, key: StationKey) -> None:
        client_id = self._stations.pop(key, None)
        if client_id is None:
            return
        del self._stations_of[client_id][key]
        for view in self._views.values():
            view.remove_station(key)

    def _forget_stations(self, client_id: ClientId) -> None:
        for key in list(self._stations_of.pop(client_id, {})):
            del self._stations[key]
            for view in self._views.values():
                view.remove_station(key)


def _row(member: Member, home: bool) -> MemberRow:
    """Returns a client's row as its own server has it (``home``), with its keys, or as others do."""
    return MemberRow(
        member.client_id,
        member.vpn_id,
        MemberEndpoint.of(member.address),
        home,
        member.sub_id,
        member.hop_keys if home else (),
        member.binding_key if home else None,
    )
