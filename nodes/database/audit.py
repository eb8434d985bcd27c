"""The log of changes: each is written in the transaction of its change, and none is ever altered.

Triggers of the schema refuse to change or to remove a row.
"""

from __future__ import annotations

import datetime
import sqlite3

from msgspec import Struct

from nodes.database.actor import Actor
from nodes.database.store import Store

_COLUMNS = "number, time, who, source, address, vpn_id, subject, operation, old, new"


class AuditEntry(Struct, frozen=True):
    """One change: when (UTC), by whom and from where, in which group, of whom, what, old and new."""

    number: int
    time: str
    who: str
    source: str
    address: str
    vpn_id: int | None
    subject: str
    operation: str
    old: str
    new: str


def record(
    connection: sqlite3.Connection,
    by: Actor,
    operation: str,
    subject: str,
    vpn_id: int | None = None,
    old: object = "",
    new: object = "",
) -> AuditEntry:
    """Writes a change to the log within the change's transaction, and returns the row."""
    time = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
    values = (time.replace("+00:00", "Z"), by.name, by.source, by.address, vpn_id)
    row = (*values, subject, operation, str(old), str(new))
    statement = f"INSERT INTO audit ({_COLUMNS}) VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    number = connection.execute(statement, row).lastrowid
    assert number is not None
    return AuditEntry(number, *row)


class AuditLog:
    """Reads the log."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def entries(self, vpn_id: int | None = None, limit: int = 100) -> list[AuditEntry]:
        """Returns the newest entries, newest first, on request of one group."""
        chosen, values = ("WHERE vpn_id = ?", [vpn_id]) if vpn_id is not None else ("", [])
        query = f"SELECT {_COLUMNS} FROM audit {chosen} ORDER BY number DESC LIMIT ?"
        with self._store.connection() as connection:
            return [AuditEntry(*row) for row in connection.execute(query, (*values, limit))]
