"""A VPN server's side: takes the representative's tables in order, and keeps the relay in step.

A message that does not follow what is held changes nothing, and the whole is asked for. When the
representative comes back with a new epoch, what the old one said serves beside it for a while: clients
register again one by one, and until then their frames go on.

Patent: Fig. 15 parts 1502, 1503; Figs. 16, 18, 19; tables 507, 508.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from protocol import binding_tag, hop_tag
from protocol.distribution.addresses import put_at, unknown_to, with_shown
from protocol.distribution.counts import ClientCounts
from protocol.distribution.tables import Tables, difference, station_key
from protocol.relay.flow_table import Station
from protocol.relay.tables import NO_PORT, Member, NextHop, RelayedGroup
from protocol.types import SECOND, Address, ClientId, Secret, SubId, VpnId
from protocol.wire.table_messages import (
    VERSION,
    Alive,
    Applied,
    Changes,
    GroupRow,
    Hello,
    MemberRow,
    RepresentativeMessage,
    Resynchronise,
    ServerRow,
    Snapshot,
    StationKey,
    StationRow,
    Stations,
    VpnServerMessage,
)

if TYPE_CHECKING:
    from protocol.relay.transfer import Relay

MILLISECOND = 1_000_000
ALIVE_INTERVAL = SECOND
SILENCE = 4 * SECOND
"""How long the representative may say nothing before the channel counts as dead."""
COUNTS_INTERVAL = 5 * SECOND
"""How often the representative is told what has come from and gone to clients."""
NOTHING = -1


@dataclass(frozen=True)
class SendReport:
    """Send this message to the representative."""

    message: VpnServerMessage


@dataclass(frozen=True)
class CloseReport:
    """End the channel to the representative."""

    reason: str = ""
    """What its user should mend, if something."""


SubscriberAction = SendReport | CloseReport


class Subscriber:
    """Applies what the representative says to one relay."""

    def __init__(self, relay: Relay, start: int) -> None:
        """Takes the relay, and a number that no other start of this server has."""
        self.epoch = NOTHING
        self.sequence = NOTHING
        self.tables = Tables()
        """What the representative has said in this epoch."""
        self.ignored: Counter[str] = Counter()
        """Messages that changed nothing, by reason."""
        self.counts = ClientCounts(relay, start)
        self._relay = relay
        relay.bindings.start_at(start)
        self._in_force = Tables()
        self._earlier: Tables | None = None
        self._earlier_until = 0
        self._connected = False
        self._asked = False
        self._sights_again = False
        self._alive_due = 0
        self._counts_due = 0
        self._silent_at = 0
        self._actions: deque[SubscriberAction] = deque()

    # -- the channel

    def channel_opened(self, now: int) -> None:
        """Greets the representative, which then tells the whole."""
        self._connected, self._asked, self._sights_again = True, False, True
        self._actions.clear()
        self._alive_due, self._silent_at = now + ALIVE_INTERVAL, now + SILENCE
        self._counts_due = now + COUNTS_INTERVAL
        self.counts.tell_all_again()
        self._actions.append(SendReport(Hello(VERSION)))

    def channel_lost(self, now: int) -> None:
        """Notes that the representative is away: the tables go on serving."""
        self._connected = False

    def receive_message(self, message: RepresentativeMessage, now: int) -> None:
        """Takes a message if it follows what is held; otherwise it changes nothing."""
        self._silent_at = now + SILENCE
        if isinstance(message, Alive):
            return
        self._take_bound()
        if message.epoch < self.epoch:
            self.ignored["old_epoch"] += 1
        elif message.epoch == self.epoch and message.sequence <= self.sequence:
            self.ignored["repeated"] += 1
        elif isinstance(message, Snapshot):
            self._take_whole(message, now)
        elif message.epoch != self.epoch or message.sequence != self.sequence + 1:
            self.ignored["gap"] += 1
            self._ask()
        else:
            self._take_changes(message, now)

    # -- time and actions

    def next_timeout(self) -> int | None:
        """Returns when :meth:`handle_timeout` is due, or None."""
        times = [self._earlier_until] if self._earlier is not None else []
        if self._connected:
            times += [self._alive_due, self._silent_at, self._counts_due]
        return min(times, default=None)

    def handle_timeout(self, now: int) -> None:
        """Says that it is here, and what it has counted; gives up a dead channel.

        Forgets what the epoch before said.
        """
        if self._connected and now >= self._alive_due:
            self._alive_due = now + ALIVE_INTERVAL
            self._actions.append(SendReport(Alive()))
        if self._connected and now >= self._counts_due:
            self._counts_due = now + COUNTS_INTERVAL
            self._actions.extend(map(SendReport, self.counts.take_reports()))
        if self._connected and now >= self._silent_at:
            self._connected = False
            self._actions.append(CloseReport())
        if self._earlier is not None and now >= self._earlier_until:
            self._take_bound()
            self._earlier = None
            self._relay.former = frozenset()
            self._put_in_force(with_shown(self.tables, self._relay), now)
            self.counts.forget_all_gone()

    def report(self) -> None:
        """Tells the representative where clients are now, and which stations have come and gone."""
        self._take_bound()
        if not self._connected or self._sights_again:
            return
        sightings = self._relay.stations.take_sightings()
        if not sightings:
            return
        last = {sighting.station: sighting.client_id for sighting in sightings}
        keys = {station: StationKey(station[0], station[1].hex()) for station in last}
        forgotten = tuple(keys[one] for one, client_id in last.items() if client_id is None)
        seen = tuple(
            StationRow(one[0], one[1].hex(), client_id)
            for one, client_id in last.items()
            if client_id is not None
        )
        self._actions.append(SendReport(Stations(forgotten, seen)))

    def _take_bound(self) -> None:
        """Puts clients where they have shown the relay to be, and tells what is not known there."""
        shown = self._relay.bindings.take_bound()
        for client_id, address in shown.items():
            put_at(self._in_force, client_id, address)
            if self._earlier is not None:
                put_at(self._earlier, client_id, address)
        self._tell_addresses(shown)

    def _tell_addresses(self, shown: Mapping[ClientId, Address]) -> None:
        if self._connected and shown:
            self._actions.extend(map(SendReport, unknown_to(self.tables, shown.items())))

    def next_action(self) -> SubscriberAction | None:
        """Returns the next thing to do, or None when all is done."""
        return self._actions.popleft() if self._actions else None

    # -- tables

    def _take_whole(self, message: Snapshot, now: int) -> None:
        if message.hop_tags != self._relay.requires_hop_tags:
            self.ignored["other_hop_tags"] += 1
            here, there = map(_hop_tags, (self._relay.requires_hop_tags, message.hop_tags))
            self._actions.append(
                CloseReport(f'hop_tags: expected "{there}" as there, got "{here}"')
            )
            return
        tables = Tables.of(message.rows)
        if not _fits_together(tables):
            self.ignored["inconsistent"] += 1
            self._actions.append(CloseReport())
            return
        if self.epoch not in (NOTHING, message.epoch):
            self._earlier = self._in_force
            self._earlier_until = now + message.grace * MILLISECOND
        self._asked = False
        self._relay.set_probe_tokens((message.token.reveal(),))
        self._relay.stations.reports = message.reports
        self._take(tables, message.epoch, message.sequence, now)
        if self._sights_again:
            self._sights_again = False
            self._relay.stations.sight_again()

    def _take_changes(self, message: Changes, now: int) -> None:
        tables = self.tables.copy()
        tables.remove(message.removed)
        tables.put(message.put)
        if not _fits_together(tables):
            self.ignored["inconsistent"] += 1
            self._ask()
            return
        self._take(tables, message.epoch, message.sequence, now)

    def _take(self, tables: Tables, epoch: int, sequence: int, now: int) -> None:
        self.tables, self.epoch, self.sequence = tables, epoch, sequence
        in_force = tables if self._earlier is None else beside(tables, self._earlier)
        in_force = with_shown(in_force, self._relay)
        earlier = () if self._earlier is None else self._earlier.members
        self._relay.former = frozenset(ClientId(one) for one in earlier) - tables.members.keys()
        self._put_in_force(in_force, now)
        self._actions.append(SendReport(Applied(epoch, sequence)))
        self._tell_addresses(
            {
                ClientId(row.client_id): row.endpoint.address
                for row in in_force.members.values()
                if row.binding_key is not None
            }
        )

    def _ask(self) -> None:
        """Asks for the whole, once until it comes."""
        if not self._asked:
            self._asked = True
            self._actions.append(
                SendReport(Resynchronise(max(0, self.epoch), max(0, self.sequence)))
            )

    def _put_in_force(self, tables: Tables, now: int) -> None:
        """Changes the relay's tables where they differ, so that only those groups decide anew."""
        relay = self._relay
        removed, put = difference(self._in_force, tables)
        for key in removed.stations:
            relay.remove_station(_station(key))
        joined, changed = [], []
        for row in put.members:
            known = self._in_force.members.get(row.client_id)
            if known is not None and replace(known, hop_keys=row.hop_keys) == row:
                relay.change_hop_keys(ClientId(row.client_id), row.hop_keys)
                continue
            joined.append(row)
            if known is not None:
                changed.append(row.client_id)
        for client_id in (*removed.members, *changed):
            relay.remove_member(ClientId(client_id))
        for name in removed.servers:
            relay.remove_next_hop(name)
        for server in put.servers:
            hop = relay.next_hops.named(server.name)
            if hop is not None and hop.address != server.endpoint.address:
                relay.remove_next_hop(server.name)
        for vpn_id in removed.groups:
            relay.remove_group(VpnId(vpn_id))
        for group in put.groups:
            relay.remove_group(VpnId(group.vpn_id))
        for group in put.groups:
            relay.install_group(_relayed_group(group))
        for member in joined:
            relay.add_member(_member(member))
        for server in put.servers:
            hop = NextHop(server.name, server.endpoint.address, server.send_key, server.hop_keys)
            relay.install_next_hop(hop, frozenset(VpnId(vpn_id) for vpn_id in server.vpn_ids))
        self._install_stations(put.stations, now)
        self._install_stations(self._missing_stations(tables, now), now)
        self._in_force = tables

    def _install_stations(self, rows: Iterable[StationRow], now: int) -> None:
        for row in rows:
            self._relay.install_station(_station(row), ClientId(row.client_id), now)

    def _missing_stations(self, tables: Tables, now: int) -> list[StationRow]:
        """Returns stations elsewhere that the relay took for its own until their client here went."""
        known = {station for station, _ in self._relay.stations.elsewhere()}
        missing = [row for row in tables.stations.values() if _station(row) not in known]
        return [row for row in missing if self._relay.mac_ip.lookup(_station(row), now) is None]


def beside(current: Tables, earlier: Tables) -> Tables:
    """Returns the rows of both; where they are about the same, the current ones, and all SPIs.

    A client of the earlier epoch ends when one of this epoch has its address: it has come back. Until it
    knows its new hop key it uses the one from before, and so do servers that have not been told yet.
    """
    both = current.copy()
    addresses = {row.multicast_address for row in current.groups.values()}
    for group in earlier.groups.values():
        known = current.groups.get(group.vpn_id)
        if known is not None:
            spis = tuple(sorted({*known.spis, *group.spis}))
            sub_ids = {row.spi: row for row in (*group.sub_ids, *known.sub_ids)}
            both.groups[group.vpn_id] = replace(
                known, spis=spis, sub_ids=tuple(sub_ids[spi] for spi in sorted(sub_ids))
            )
        elif group.multicast_address not in addresses:
            both.groups[group.vpn_id] = group
    taken = {row.endpoint: row for row in current.members.values() if row.endpoint.port != NO_PORT}
    for member in earlier.members.values():
        back = taken.get(member.endpoint)
        if back is None:
            both.members.setdefault(member.client_id, member)
        elif back.home and (back.vpn_id, back.sub_id) == (member.vpn_id, member.sub_id):
            keys = _all_of(back.hop_keys, member.hop_keys)
            both.members[back.client_id] = replace(back, hop_keys=keys)
    for server in earlier.servers.values():
        same = current.servers.get(server.name)
        if same is not None:
            vpn_ids = tuple(sorted({*same.vpn_ids, *server.vpn_ids}))
            both.servers[server.name] = ServerRow(
                same.name,
                same.endpoint,
                vpn_ids,
                same.send_key or server.send_key,
                _all_of(same.hop_keys, server.hop_keys),
            )
    for station in earlier.stations.values():
        if station.client_id in both.members:
            both.stations.setdefault(station_key(station), station)
    return both


def _all_of(current: tuple[Secret, ...], earlier: tuple[Secret, ...]) -> tuple[Secret, ...]:
    return tuple(dict.fromkeys((*current, *earlier)))


def _fits_together(tables: Tables) -> bool:
    """Tells whether no two rows claim the same address, and stations are behind clients there are.

    And whether every key is one.
    """
    addresses = {row.multicast_address for row in tables.groups.values()}
    reached = [row.endpoint.address for row in tables.members.values()]
    reached = [address for address in reached if address.port != NO_PORT]
    reached += [row.endpoint.address for row in tables.servers.values()]
    return (
        len(addresses) == len(tables.groups)
        and len(set(reached)) == len(reached)
        and all(_is_behind_its_client(row, tables) for row in tables.stations.values())
        and all(len(key) == hop_tag.KEY_LENGTH for key in _hop_keys(tables))
        and all(len(key) == binding_tag.KEY_LENGTH for key in _binding_keys(tables))
    )


def _binding_keys(tables: Tables) -> Iterator[Secret]:
    for member in tables.members.values():
        if member.binding_key is not None:
            yield member.binding_key


def _hop_keys(tables: Tables) -> Iterator[Secret]:
    for member in tables.members.values():
        yield from member.hop_keys
    for server in tables.servers.values():
        yield from server.hop_keys
        if server.send_key is not None:
            yield server.send_key


def _is_behind_its_client(row: StationRow, tables: Tables) -> bool:
    client = tables.members.get(row.client_id)
    return client is not None and client.vpn_id == row.vpn_id and not client.home


def _station(row: StationKey | StationRow) -> Station:
    return VpnId(row.vpn_id), bytes.fromhex(row.mac)


def _relayed_group(row: GroupRow) -> RelayedGroup:
    spis = frozenset(int(spi) for spi in row.spis)
    sub_ids = frozenset((int(one.spi), SubId(one.sub_id)) for one in row.sub_ids)
    return RelayedGroup(
        VpnId(row.vpn_id), row.multicast_address, spis, sub_ids, row.member_delivery
    )


def _member(row: MemberRow) -> Member:
    return Member(
        ClientId(row.client_id),
        VpnId(row.vpn_id),
        row.endpoint.address,
        row.home,
        SubId(row.sub_id),
        row.hop_keys,
        row.binding_key,
    )


def _hop_tags(required: bool) -> str:
    return "required" if required else "off"
