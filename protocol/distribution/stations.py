"""Stations that VPN servers have seen at their own clients, for telling the other servers.

Patent: table 509.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from protocol.distribution.tables import station_key
from protocol.distribution.view import View
from protocol.relay.stations import STATIONS_PER_CLIENT
from protocol.relay.tables import Member
from protocol.types import ClientId
from protocol.wire.ethernet import is_station
from protocol.wire.table_messages import StationKey, StationRow, Stations


class ReportedStations:
    """Believes of a server what concerns its own clients."""

    def __init__(
        self,
        views: Mapping[str, View],
        members: Mapping[ClientId, tuple[Member, str]],
        asked: bool,
    ) -> None:
        """Takes the servers, every client with its server, and whether servers are to report."""
        self.not_taken: Counter[str] = Counter()
        """Rows that were not believed, by reason."""
        self._views = views
        self._members = members
        self._asked = asked
        self._stations: dict[StationKey, ClientId] = {}
        self._of_client: dict[ClientId, dict[StationKey, None]] = {}

    def rows(self) -> Iterator[tuple[StationKey, ClientId, str]]:
        """Yields (station, the client it is behind, the server that has seen it)."""
        for key, client_id in self._stations.items():
            yield key, client_id, self._members[client_id][1]

    def take(self, view: View, message: Stations) -> None:
        """Takes a server's word for stations at its own clients, and for nobody else's."""
        for key in message.forgotten:
            client_id = self._stations.get(key)
            if client_id is not None and self._members[client_id][1] == view.name:
                self._forget(key)
        for row in message.seen:
            reason = self._why_not_believed(view, row)
            if reason is not None:
                self.not_taken[reason] += 1
                continue
            key, client_id = station_key(row), ClientId(row.client_id)
            if self._stations.get(key) == client_id:
                continue
            self._forget(key)
            self._stations[key] = client_id
            self._of_client.setdefault(client_id, {})[key] = None
            for other in self._views.values():
                if other is not view:
                    other.put_station(row)

    def _why_not_believed(self, view: View, row: StationRow) -> str | None:
        member, server = self._members.get(ClientId(row.client_id), (None, None))
        if not self._asked:
            return "not_asked"
        if member is None or server != view.name or member.vpn_id != row.vpn_id:
            return "foreign_client"
        if not is_station(bytes.fromhex(row.mac)):
            return "no_station"
        if len(self._of_client.get(member.client_id, ())) >= STATIONS_PER_CLIENT:
            return "full"
        return None

    def forget_client(self, client_id: ClientId) -> None:
        """Forgets the stations of a client that has gone, or is at another server now."""
        for key in list(self._of_client.get(client_id, {})):
            self._forget(key)
        self._of_client.pop(client_id, None)

    def _forget(self, key: StationKey) -> None:
        client_id = self._stations.pop(key, None)
        if client_id is None:
            return
        del self._of_client[client_id][key]
        for view in self._views.values():
            view.remove_station(key)
