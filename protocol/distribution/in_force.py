"""What a relay goes by: puts rows into its tables, and takes out what is there no more.

Patent: tables 507-509.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from protocol.distribution.tables import Tables, difference
from protocol.relay.flow_table import Station
from protocol.relay.tables import Member, NextHop, RelayedGroup
from protocol.types import ClientId, SubId, VpnId
from protocol.wire.table_messages import GroupRow, Keys, MemberRow, Rows, StationKey, StationRow

if TYPE_CHECKING:
    from protocol.relay.transfer import Relay


class InForce:
    """One relay's tables, and the rows that they are made of."""

    def __init__(self, relay: Relay) -> None:
        self.rows = Tables()
        self._relay = relay

    def put(self, tables: Tables, now: int) -> None:
        """Changes the relay's tables where they differ, so that only those groups decide anew."""
        removed, put = difference(self.rows, tables)
        for key in removed.stations:
            self._relay.remove_station(_station(key))
        anew = self._change_hop_keys(put.members)
        self._take_out(removed, put, anew)
        self._put_in(put, anew)
        self._install_stations(put.stations, now)
        self._install_stations(self._missing_stations(tables, now), now)
        self.rows = tables

    def _change_hop_keys(self, members: Iterable[MemberRow]) -> list[MemberRow]:
        """Does so for clients of whom nothing else has changed, and returns the others' rows."""
        others = []
        for row in members:
            known = self.rows.members.get(row.client_id)
            if known is not None and replace(known, hop_keys=row.hop_keys) == row:
                self._relay.change_hop_keys(ClientId(row.client_id), row.hop_keys)
            else:
                others.append(row)
        return others

    def _take_out(self, removed: Keys, put: Rows, anew: Iterable[MemberRow]) -> None:
        """Takes out what is gone or has changed: its addresses may be others' now."""
        relay = self._relay
        changed = [row.client_id for row in anew if row.client_id in self.rows.members]
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

    def _put_in(self, put: Rows, anew: Iterable[MemberRow]) -> None:
        for group in put.groups:
            self._relay.install_group(_relayed_group(group))
        for member in anew:
            self._relay.add_member(_member(member))
        for server in put.servers:
            hop = NextHop(server.name, server.endpoint.address, server.send_key, server.hop_keys)
            vpn_ids = frozenset(VpnId(vpn_id) for vpn_id in server.vpn_ids)
            self._relay.install_next_hop(hop, vpn_ids)

    def _install_stations(self, rows: Iterable[StationRow], now: int) -> None:
        for row in rows:
            self._relay.install_station(_station(row), ClientId(row.client_id), now)

    def _missing_stations(self, tables: Tables, now: int) -> list[StationRow]:
        """Returns stations elsewhere that the relay took for its own until their client here went."""
        known = {station for station, _ in self._relay.stations.elsewhere()}
        missing = [row for row in tables.stations.values() if _station(row) not in known]
        return [row for row in missing if self._relay.mac_ip.lookup(_station(row), now) is None]


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
