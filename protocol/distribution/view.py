"""What one VPN server is to hold, what of that it has not been told, and how far it has got.

Patent: Figs. 15, 19; tables 19, 507, 508.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from protocol.distribution.tables import Tables, station_key
from protocol.types import Address, ClientId
from protocol.wire.table_messages import (
    GroupRow,
    Keys,
    MemberRow,
    Rows,
    ServerRow,
    StationKey,
    StationRow,
)


class Server(Protocol):
    """A VPN server as it is configured."""

    @property
    def name(self) -> str: ...
    @property
    def address(self) -> Address: ...


@dataclass
class Dirty:
    """Keys of rows that have changed since the last message; in the order of the changes."""

    groups: dict[int, None] = field(default_factory=dict)
    members: dict[int, None] = field(default_factory=dict)
    servers: dict[str, None] = field(default_factory=dict)
    stations: dict[StationKey, None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.groups or self.members or self.servers or self.stations)


class View:
    """One server: the tables that it is to hold, and how far it has got."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.tables = Tables()
        self.dirty = Dirty()
        self.sequence = 0
        self.connection: int | None = None
        self.up = False
        self.greeted = False
        self.has_keys = False
        """Whether it has ever had tables of this epoch, and so the keys of the hops to it."""
        self.deadline = 0
        self.unconfirmed: deque[tuple[int, ClientId]] = deque()
        """(sequence number of the message that told it, own client)."""

    @property
    def name(self) -> str:
        return self.server.name

    def put_group(self, row: GroupRow) -> None:
        self.tables.groups[row.vpn_id] = row
        self.dirty.groups[row.vpn_id] = None

    def remove_group(self, vpn_id: int) -> None:
        if self.tables.groups.pop(vpn_id, None) is not None:
            self.dirty.groups[vpn_id] = None

    def put_member(self, row: MemberRow) -> None:
        self.tables.members[row.client_id] = row
        self.dirty.members[row.client_id] = None

    def remove_member(self, client_id: int) -> None:
        if self.tables.members.pop(client_id, None) is not None:
            self.dirty.members[client_id] = None

    def put_server(self, row: ServerRow) -> None:
        if self.tables.servers.get(row.name) != row:
            self.tables.servers[row.name] = row
            self.dirty.servers[row.name] = None

    def put_station(self, row: StationRow) -> None:
        key = station_key(row)
        self.tables.stations[key] = row
        self.dirty.stations[key] = None

    def remove_station(self, key: StationKey) -> None:
        if self.tables.stations.pop(key, None) is not None:
            self.dirty.stations[key] = None

    def take_changes(self) -> tuple[Keys, Rows]:
        """Returns what has changed: keys whose rows are gone, and rows that are new or other."""
        dirty, tables, self.dirty = self.dirty, self.tables, Dirty()
        removed = Keys(
            tuple(key for key in dirty.groups if key not in tables.groups),
            tuple(key for key in dirty.members if key not in tables.members),
            tuple(key for key in dirty.servers if key not in tables.servers),
            tuple(key for key in dirty.stations if key not in tables.stations),
        )
        put = Rows(
            tuple(tables.groups[key] for key in dirty.groups if key in tables.groups),
            tuple(tables.members[key] for key in dirty.members if key in tables.members),
            tuple(tables.servers[key] for key in dirty.servers if key in tables.servers),
            tuple(tables.stations[key] for key in dirty.stations if key in tables.stations),
        )
        return removed, put
