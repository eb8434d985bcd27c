"""The group administrators: who may change which groups on the page.

Patent: Fig. 11 ("portal page for group administrators").
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from msgspec import Struct

from nodes.database.actor import Actor, operator
from nodes.database.audit import AuditEntry, record
from nodes.database.checks import check_name
from nodes.database.errors import UserRefusedError
from nodes.database.passwords import Passwords
from nodes.database.store import Store
from protocol.types import VpnId

LEAST_PASSWORD = 8
"""Octets of an administrator's shortest password: the page may be open to a network."""


class Administrator(Struct, frozen=True):
    """An administrator and the groups that are theirs."""

    name: str
    groups: tuple[VpnId, ...]


class Standing(Struct, frozen=True):
    """What a session rests on: it ends when the password changes."""

    password_hash: str
    groups: tuple[VpnId, ...]


class Administrators:
    """The administrators' rows; every change is logged. Raises UserRefusedError and ForbiddenError."""

    def __init__(self, store: Store, passwords: Passwords) -> None:
        self._store = store
        self._passwords = passwords

    def rows(self) -> list[Administrator]:
        """Returns the administrators in the order of their names."""
        with self._store.connection() as connection:
            names = connection.execute("SELECT name FROM administrators ORDER BY name").fetchall()
            return [Administrator(name, _groups(connection, name)) for (name,) in names]

    def standing(self, name: str) -> Standing | None:
        """Returns an administrator's hash and groups, or None."""
        with self._store.connection() as connection:
            stored = _hash_of(connection, name)
            return None if stored is None else Standing(stored, _groups(connection, name))

    def verify(self, name: str, password: bytes) -> Standing | None:
        """Returns what a session may rest on if the password is right; else None, as slowly."""
        standing = self.standing(name)
        stored = None if standing is None else standing.password_hash
        return standing if self._passwords.matches(stored, password) else None

    def add(
        self, name: str, password: bytes, groups: Iterable[int], by: Actor | None = None
    ) -> AuditEntry:
        """Adds an administrator of these groups."""
        by = _unbound(by)
        check_name("administrator", name)
        chosen = sorted(set(groups))
        password_hash = self._passwords.hash(password, LEAST_PASSWORD)
        with self._store.change() as connection:
            if _hash_of(connection, name) is not None:
                raise UserRefusedError(f"administrator {name}: exists already")
            connection.execute("INSERT INTO administrators VALUES (?, ?)", (name, password_hash))
            for vpn_id in chosen:
                _grant(connection, by, name, vpn_id)
            shown = ", ".join(map(str, chosen))
            return record(connection, by, "add administrator", name, new=f"groups {shown}")

    def remove(self, name: str, by: Actor | None = None) -> AuditEntry:
        """Removes an administrator; sessions of theirs end with it."""
        by = _unbound(by)
        with self._store.change() as connection:
            _require(connection, name)
            for vpn_id in _groups(connection, name):
                _revoke(connection, by, name, vpn_id)
            connection.execute("DELETE FROM administrators WHERE name = ?", (name,))
            return record(connection, by, "remove administrator", name)

    def set_password(self, name: str, password: bytes, by: Actor | None = None) -> AuditEntry:
        """Gives an administrator another password; sessions of theirs end with it."""
        by = _unbound(by)
        password_hash = self._passwords.hash(password, LEAST_PASSWORD)
        with self._store.change() as connection:
            _require(connection, name)
            statement = "UPDATE administrators SET password_hash = ? WHERE name = ?"
            connection.execute(statement, (password_hash, name))
            return record(connection, by, "set administrator's password", name)

    def grant(self, name: str, vpn_id: int, by: Actor | None = None) -> AuditEntry:
        """Gives an administrator one group more."""
        by = _unbound(by)
        with self._store.change() as connection:
            _require(connection, name)
            if vpn_id in _groups(connection, name):
                raise UserRefusedError(f"administrator {name}: has group {vpn_id} already")
            return _grant(connection, by, name, vpn_id)

    def revoke(self, name: str, vpn_id: int, by: Actor | None = None) -> AuditEntry:
        """Takes one group from an administrator."""
        by = _unbound(by)
        with self._store.change() as connection:
            _require(connection, name)
            if vpn_id not in _groups(connection, name):
                raise UserRefusedError(f"administrator {name}: does not have group {vpn_id}")
            return _revoke(connection, by, name, vpn_id)


def _unbound(by: Actor | None) -> Actor:
    by = by or operator()
    by.permit_everything()
    return by


def _hash_of(connection: sqlite3.Connection, name: str) -> str | None:
    query = "SELECT password_hash FROM administrators WHERE name = ?"
    row = connection.execute(query, (name,)).fetchone()
    return None if row is None else str(row[0])


def _groups(connection: sqlite3.Connection, name: str) -> tuple[VpnId, ...]:
    query = "SELECT vpn_id FROM administered_groups WHERE name = ? ORDER BY vpn_id"
    return tuple(VpnId(vpn_id) for (vpn_id,) in connection.execute(query, (name,)))


def _require(connection: sqlite3.Connection, name: str) -> None:
    if _hash_of(connection, name) is None:
        raise UserRefusedError(f"administrator {name}: does not exist")


def _grant(connection: sqlite3.Connection, by: Actor, name: str, vpn_id: int) -> AuditEntry:
    known = connection.execute("SELECT 1 FROM groups WHERE vpn_id = ?", (vpn_id,)).fetchone()
    if known is None:
        raise UserRefusedError(f"group {vpn_id}: does not exist: add it first")
    connection.execute("INSERT INTO administered_groups VALUES (?, ?)", (name, vpn_id))
    return record(connection, by, "grant group", name, vpn_id)


def _revoke(connection: sqlite3.Connection, by: Actor, name: str, vpn_id: int) -> AuditEntry:
    statement = "DELETE FROM administered_groups WHERE name = ? AND vpn_id = ?"
    connection.execute(statement, (name, vpn_id))
    return record(connection, by, "revoke group", name, vpn_id)
