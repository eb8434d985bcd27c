"""The tables of one VPN server as rows by key, and what differs between two of them.

Patent: Fig. 19; tables 507-509.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from protocol.wire.table_messages import (
    GroupRow,
    Keys,
    MemberRow,
    Rows,
    ServerRow,
    StationKey,
    StationRow,
)

Key = TypeVar("Key")
Row = TypeVar("Row")


@dataclass
class Tables:
    """Rows by VPN ID, client ID, server name, and station."""

    groups: dict[int, GroupRow] = field(default_factory=dict)
    members: dict[int, MemberRow] = field(default_factory=dict)
    servers: dict[str, ServerRow] = field(default_factory=dict)
    stations: dict[StationKey, StationRow] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Rows) -> Tables:
        """Returns the tables that hold just these rows."""
        tables = cls()
        tables.put(rows)
        return tables

    def __len__(self) -> int:
        """Returns how many rows there are in all."""
        return len(self.groups) + len(self.members) + len(self.servers) + len(self.stations)

    def copy(self) -> Tables:
        """Returns tables with the same rows that change by themselves."""
        return Tables(
            dict(self.groups), dict(self.members), dict(self.servers), dict(self.stations)
        )

    def put(self, rows: Rows) -> None:
        """Adds rows, or replaces those with the same keys."""
        self.groups.update((row.vpn_id, row) for row in rows.groups)
        self.members.update((row.client_id, row) for row in rows.members)
        self.servers.update((row.name, row) for row in rows.servers)
        self.stations.update((station_key(row), row) for row in rows.stations)

    def remove(self, keys: Keys) -> None:
        """Removes rows; a key without a row is no error."""
        _remove(self.groups, keys.groups)
        _remove(self.members, keys.members)
        _remove(self.servers, keys.servers)
        _remove(self.stations, keys.stations)

    def rows(self) -> Rows:
        """Returns every row."""
        return Rows(
            tuple(self.groups.values()),
            tuple(self.members.values()),
            tuple(self.servers.values()),
            tuple(self.stations.values()),
        )


def station_key(row: StationRow) -> StationKey:
    """Returns what names a station's row."""
    return StationKey(row.vpn_id, row.mac)


def difference(before: Tables, after: Tables) -> tuple[Keys, Rows]:
    """Returns the keys to remove from ``before`` and the rows to put there to make it ``after``."""
    removed = Keys(
        _gone(before.groups, after.groups),
        _gone(before.members, after.members),
        _gone(before.servers, after.servers),
        _gone(before.stations, after.stations),
    )
    put = Rows(
        _new(before.groups, after.groups),
        _new(before.members, after.members),
        _new(before.servers, after.servers),
        _new(before.stations, after.stations),
    )
    return removed, put


def _remove(table: dict[Key, Row], keys: Iterable[Key]) -> None:
    for key in keys:
        table.pop(key, None)


def _gone(before: Mapping[Key, Row], after: Mapping[Key, Row]) -> tuple[Key, ...]:
    return tuple(key for key in before if key not in after)


def _new(before: Mapping[Key, Row], after: Mapping[Key, Row]) -> tuple[Row, ...]:
    return tuple(row for key, row in after.items() if before.get(key) != row)
