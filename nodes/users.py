"""The users, groups and Sub IDs of a server, in SQLite; passwords only as argon2id hashes.

Every call opens a connection of its own, so that any thread may call; all of them block, a password
check for tens of milliseconds: an event loop hands them to an executor. A change and its row of the
audit log are one transaction.

Patent: Fig. 7-1 steps 701-703; tables 506, 12-2.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from nodes.database import nt_hashes
from nodes.database.actor import Actor, operator
from nodes.database.administrators import Administrators
from nodes.database.audit import AuditEntry, AuditLog, record
from nodes.database.checks import check_id, check_name
from nodes.database.errors import (
    ForbiddenError,
    UserDatabaseError,
    UserInputError,
    UserRefusedError,
)
from nodes.database.passwords import CHECKS_AT_ONCE, Passwords
from nodes.database.store import ChangeWatch, Store
from protocol.management import UserRecord
from protocol.types import Secret, SubId, VpnId

__all__ = [
    "CHECKS_AT_ONCE",
    "Actor",
    "AuditEntry",
    "ForbiddenError",
    "UserDatabase",
    "UserDatabaseError",
    "UserInputError",
    "UserRefusedError",
    "operator",
]


class UserDatabase:
    """The users of one server; makes the file, readable by its owner alone, when there is none.

    A change says ``by`` whom it is made; unless told, by whoever runs this process. With ``vpn_id`` it
    holds only for a user of that group: one of another group is as unknown as one who is not there.
    """

    def __init__(self, path: Path | str) -> None:
        self._store = Store(path)
        self.path = self._store.path
        self._passwords = Passwords()
        self.administrators = Administrators(self._store, self._passwords)
        self.audit = AuditLog(self._store)

    def watch(self) -> ChangeWatch:
        """Returns what tells whether anybody else has changed the database."""
        return ChangeWatch(self._store)

    def verify(self, user: str, password: bytes) -> bool:
        """Tells whether the password is the user's; an unknown user takes as long as a wrong one.

        Few checks at a time, so that a crowd costs time and not memory. A hash of other parameters
        is renewed when its password was right.
        """
        with self._store.connection() as connection:
            row = connection.execute(
                "SELECT password_hash FROM users WHERE user = ?", (user,)
            ).fetchone()
        stored = None if row is None else str(row[0])
        if not self._passwords.matches(stored, password):
            return False
        assert stored is not None
        if self._passwords.is_outdated(stored):
            self._renew(user, stored, password)
        return True

    def keep_nt_hashes(self) -> None:
        """Has passwords that are set from now on leave their NT hash beside the argon2id one, for IKE."""
        with self._store.change() as connection:
            nt_hashes.prepare(connection)

    def nt_hashes(self) -> dict[str, Secret]:
        """Returns the NT hash of each user whose password was set while they were kept."""
        with self._store.connection() as connection:
            return nt_hashes.of_all(connection)

    def _renew(self, user: str, stored: str, password: bytes) -> None:
        fresh = self._passwords.hash(password)
        with self._store.change() as connection:  # unless another password was set meanwhile
            connection.execute(
                "UPDATE users SET password_hash = ? WHERE user = ? AND password_hash = ?",
                (fresh, user, stored),
            )

    def records(self, vpn_id: int | None = None) -> list[UserRecord]:
        """Returns table 506 with the Sub IDs, in the order of names; on request one group's rows."""
        with self._store.connection() as connection:
            rows = connection.execute("SELECT user, vpn_id, sub_id FROM users ORDER BY user")
            return [
                UserRecord(user, VpnId(vpn), SubId(sub))
                for user, vpn, sub in rows
                if vpn_id in (None, vpn)
            ]

    def groups(self) -> dict[VpnId, str]:
        """Returns each group's name by its VPN ID."""
        with self._store.connection() as connection:
            rows = connection.execute("SELECT vpn_id, name FROM groups ORDER BY vpn_id")
            return {VpnId(vpn_id): name for vpn_id, name in rows}

    def add_group(self, vpn_id: int, name: str = "", by: Actor | None = None) -> AuditEntry:
        """Adds a group; raises UserRefusedError when it exists."""
        by = by or operator()
        by.permit_everything()
        check_id("VPN ID", vpn_id)
        with self._store.change() as connection:
            if _has_group(connection, vpn_id):
                raise UserRefusedError(f"group {vpn_id}: exists already")
            connection.execute("INSERT INTO groups VALUES (?, ?)", (vpn_id, name))
            return record(connection, by, "add group", str(vpn_id), vpn_id, new=name)

    def add(
        self, user: str, password: bytes, vpn_id: int, sub_id: int = 1, by: Actor | None = None
    ) -> AuditEntry:
        """Adds a user to a group that exists; raises UserRefusedError."""
        by = by or operator()
        check_name("user", user)
        check_id("Sub ID", sub_id)
        password_hash = self._passwords.hash(password)
        with self._store.change() as connection:
            by.permit(connection, vpn_id)
            if connection.execute("SELECT 1 FROM users WHERE user = ?", (user,)).fetchone():
                raise UserRefusedError(f"user {user}: exists already")
            if not _has_group(connection, vpn_id):
                raise UserRefusedError(f"group {vpn_id}: does not exist: add it first")
            connection.execute(
                "INSERT INTO users VALUES (?, ?, ?, ?)", (user, password_hash, vpn_id, sub_id)
            )
            nt_hashes.replace(connection, user, password)
            return record(connection, by, "add user", user, vpn_id, new=f"Sub ID {sub_id}")

    def remove(self, user: str, vpn_id: int | None = None, by: Actor | None = None) -> AuditEntry:
        """Expels a user; raises UserRefusedError when there is none of this name."""
        by = by or operator()
        with self._store.change() as connection:
            found = _user(connection, by, user, vpn_id)
            nt_hashes.forget(connection, user)
            connection.execute("DELETE FROM users WHERE user = ?", (user,))
            old = f"Sub ID {found.sub_id}"
            return record(connection, by, "expel user", user, found.vpn_id, old=old)

    def set_password(
        self, user: str, password: bytes, vpn_id: int | None = None, by: Actor | None = None
    ) -> AuditEntry:
        """Gives a user another password; raises UserRefusedError when there is no such user."""
        by = by or operator()
        password_hash = self._passwords.hash(password)
        with self._store.change() as connection:
            found = _user(connection, by, user, vpn_id)
            statement = "UPDATE users SET password_hash = ? WHERE user = ?"
            connection.execute(statement, (password_hash, user))
            nt_hashes.replace(connection, user, password)
            return record(connection, by, "set password", user, found.vpn_id)

    def set_sub_id(
        self, user: str, sub_id: int, vpn_id: int | None = None, by: Actor | None = None
    ) -> AuditEntry:
        """Moves a user to another Sub ID of the group; raises UserRefusedError.

        Patent: Figs. 11, 12-2; claim 2.
        """
        by = by or operator()
        check_id("Sub ID", sub_id)
        with self._store.change() as connection:
            found = _user(connection, by, user, vpn_id)
            if found.sub_id == sub_id:
                raise UserRefusedError(f"user {user}: is in Sub ID {sub_id} already")
            connection.execute("UPDATE users SET sub_id = ? WHERE user = ?", (sub_id, user))
            old, new = f"Sub ID {found.sub_id}", f"Sub ID {sub_id}"
            return record(connection, by, "move user", user, found.vpn_id, old, new)


def _user(connection: sqlite3.Connection, by: Actor, user: str, vpn_id: int | None) -> UserRecord:
    """Returns the row that a change is about, once it is sure that ``by`` may change it."""
    if vpn_id is not None:
        by.permit(connection, vpn_id)
    query = "SELECT vpn_id, sub_id FROM users WHERE user = ?"
    row = connection.execute(query, (user,)).fetchone()
    if row is None or vpn_id not in (None, row[0]):
        group = "" if vpn_id is None else f" in group {vpn_id}"
        raise UserRefusedError(f"user {user}: does not exist{group}")
    by.permit(connection, row[0])
    return UserRecord(user, VpnId(row[0]), SubId(row[1]))


def _has_group(connection: sqlite3.Connection, vpn_id: int) -> bool:
    query = "SELECT 1 FROM groups WHERE vpn_id = ?"
    return connection.execute(query, (vpn_id,)).fetchone() is not None
