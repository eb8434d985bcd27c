"""The table of NT hashes: there only when a server of this database uses IKE.

The hash of a password that is set while there is no table is not kept; who has none cannot use IKE.
"""

from __future__ import annotations

import sqlite3

from nodes.database.nt_hash import nt_hash
from protocol.types import Secret


def prepare(connection: sqlite3.Connection) -> None:
    """Makes the table."""
    connection.execute(
        "CREATE TABLE IF NOT EXISTS nt_hashes (user TEXT PRIMARY KEY REFERENCES users (user) "
        "ON DELETE CASCADE, nt_hash BLOB NOT NULL) STRICT, WITHOUT ROWID"
    )


def of_all(connection: sqlite3.Connection) -> dict[str, Secret]:
    """Returns every user's NT hash."""
    if not _kept(connection):
        return {}
    rows = connection.execute("SELECT user, nt_hash FROM nt_hashes")
    return {user: Secret(octets) for user, octets in rows}


def replace(connection: sqlite3.Connection, user: str, password: bytes) -> None:
    """Stores the NT hash of a user's new password, and forgets that of the one before."""
    forget(connection, user)
    fresh = nt_hash(password)
    if fresh is not None and _kept(connection):
        connection.execute("INSERT INTO nt_hashes VALUES (?, ?)", (user, fresh.reveal()))


def forget(connection: sqlite3.Connection, user: str) -> None:
    """Removes a user's NT hash, if there is one."""
    if _kept(connection):
        connection.execute("DELETE FROM nt_hashes WHERE user = ?", (user,))


def _kept(connection: sqlite3.Connection) -> bool:
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'nt_hashes'"
    return connection.execute(query).fetchone() is not None
