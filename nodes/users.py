"""The users, groups and Sub IDs of a server, in SQLite; passwords only as argon2id hashes.

Every call opens a connection of its own, so that any thread may call; all of them block, a password
check for tens of milliseconds: an event loop hands them to an executor.

Patent: Fig. 7-1 steps 701-703; tables 506, 12-2.
"""

from __future__ import annotations

import ctypes
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from protocol.management import UserRecord
from protocol.types import SubId, VpnId

MEMORY_KIB = 19_456
PASSES = 2
LANES = 1
"""argon2id's parameters: OWASP's smaller set, so that a check costs 19 MiB and not 64."""

CHECKS_AT_ONCE = min(2, len(os.sched_getaffinity(0)))
"""More would take memory for what the cores cannot do at once anyway, and leave no core to the rest."""

LARGE_BLOCK = 4 * 1024 * 1024
"""Octets from which memory is mapped for itself alone."""
_M_MMAP_THRESHOLD = -3  # malloc.h

USER_LENGTH = 64
LARGEST_ID = 2**32 - 1
SCHEMA_VERSION = 1
BUSY_SECONDS = 5.0
"""How long a call waits for another process's transaction."""

_SCHEMA = """
CREATE TABLE groups (
    vpn_id INTEGER PRIMARY KEY,
    name TEXT NOT NULL
) STRICT;
CREATE TABLE users (
    user TEXT PRIMARY KEY,
    password_hash TEXT NOT NULL,
    vpn_id INTEGER NOT NULL REFERENCES groups (vpn_id),
    sub_id INTEGER NOT NULL DEFAULT 1
) STRICT, WITHOUT ROWID;
"""
# Well-formed, of our parameters, and no password's: an unknown user costs what a known one does.
_NOBODY = f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}$" + "A" * 22 + "$" + "A" * 43


class UserDatabaseError(Exception):
    """A database that cannot be used: names the file and what was expected."""


class UserRefusedError(Exception):
    """A change that makes no sense: the user or group exists already, or does not exist."""


class UserDatabase:
    """The users of one server; makes the file, readable by its owner alone, when there is none."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)
        self._hashing = threading.BoundedSemaphore(CHECKS_AT_ONCE)
        _give_back_large_blocks()
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.fchmod(descriptor, 0o600)
            finally:
                os.close(descriptor)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UserDatabaseError(
                f"user database {self.path}: expected a file to read and write, got {reason}"
            ) from None
        with self._connection() as connection:
            self._prepare(connection)

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        with _transaction(connection):
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version == SCHEMA_VERSION:
                return
            if version != 0 or connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                raise UserDatabaseError(
                    f"user database {self.path}: expected version {SCHEMA_VERSION}, got {version}"
                )
            for statement in filter(str.strip, _SCHEMA.split(";")):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(
                sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
            ) as connection:
                connection.execute("PRAGMA foreign_keys = ON")
                yield connection
        except sqlite3.Error as error:
            message = f"user database {self.path}: expected a usable SQLite file, got: {error}"
            raise UserDatabaseError(message) from None

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        with self._connection() as connection, _transaction(connection):
            yield connection

    def verify(self, user: str, password: bytes) -> bool:
        """Tells whether the password is the user's; an unknown user takes as long as a wrong one.

        Few checks at a time, so that a crowd costs time and not memory. A hash of other parameters
        is renewed when its password was right.
        """
        with self._connection() as connection:
            row = connection.execute(
                "SELECT password_hash FROM users WHERE user = ?", (user,)
            ).fetchone()
        stored = _NOBODY if row is None else str(row[0])
        try:
            with self._hashing:
                self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False
        if row is None:
            return False
        if self._hasher.check_needs_rehash(stored):
            self._renew(user, stored, password)
        return True

    def _renew(self, user: str, stored: str, password: bytes) -> None:
        fresh = self._hash(password)
        with self._change() as connection:  # unless somebody has set another password meanwhile
            connection.execute(
                "UPDATE users SET password_hash = ? WHERE user = ? AND password_hash = ?",
                (fresh, user, stored),
            )

    def _hash(self, password: bytes) -> str:
        if not password:
            raise UserRefusedError("password: expected at least one octet")
        with self._hashing:
            return self._hasher.hash(password)

    def records(self) -> list[UserRecord]:
        """Returns table 506 with the Sub IDs, in the order of the users' names."""
        with self._connection() as connection:
            rows = connection.execute("SELECT user, vpn_id, sub_id FROM users ORDER BY user")
            return [UserRecord(user, VpnId(vpn), SubId(sub)) for user, vpn, sub in rows]

    def groups(self) -> dict[VpnId, str]:
        """Returns each group's name by its VPN ID."""
        with self._connection() as connection:
            rows = connection.execute("SELECT vpn_id, name FROM groups ORDER BY vpn_id")
            return {VpnId(vpn_id): name for vpn_id, name in rows}

    def add_group(self, vpn_id: int, name: str = "") -> None:
        """Adds a group; raises UserRefusedError when it exists."""
        _check_id("VPN ID", vpn_id)
        with self._change() as connection:
            if connection.execute("SELECT 1 FROM groups WHERE vpn_id = ?", (vpn_id,)).fetchone():
                raise UserRefusedError(f"group {vpn_id}: exists already")
            connection.execute("INSERT INTO groups VALUES (?, ?)", (vpn_id, name))

    def add(self, user: str, password: bytes, vpn_id: int, sub_id: int = 1) -> None:
        """Adds a user to a group that exists; raises UserRefusedError."""
        _check_user(user)
        _check_id("Sub ID", sub_id)
        password_hash = self._hash(password)
        with self._change() as connection:
            if connection.execute("SELECT 1 FROM users WHERE user = ?", (user,)).fetchone():
                raise UserRefusedError(f"user {user}: exists already")
            known = connection.execute("SELECT 1 FROM groups WHERE vpn_id = ?", (vpn_id,))
            if known.fetchone() is None:
                raise UserRefusedError(f"group {vpn_id}: does not exist: add it first")
            connection.execute(
                "INSERT INTO users VALUES (?, ?, ?, ?)", (user, password_hash, vpn_id, sub_id)
            )

    def remove(self, user: str) -> None:
        """Removes a user; raises UserRefusedError when there is none of this name."""
        self._alter(user, "DELETE FROM users WHERE user = ?", ())

    def set_password(self, user: str, password: bytes) -> None:
        """Gives a user another password; raises UserRefusedError when there is no such user."""
        password_hash = self._hash(password)
        self._alter(user, "UPDATE users SET password_hash = ? WHERE user = ?", (password_hash,))

    def set_sub_id(self, user: str, sub_id: int) -> None:
        """Moves a user to another Sub ID of the group; raises UserRefusedError.

        Patent: Figs. 11, 12-2; claim 2.
        """
        _check_id("Sub ID", sub_id)
        self._alter(user, "UPDATE users SET sub_id = ? WHERE user = ?", (sub_id,))

    def _alter(self, user: str, statement: str, values: tuple[str | int, ...]) -> None:
        with self._change() as connection:
            if connection.execute(statement, (*values, user)).rowcount == 0:
                raise UserRefusedError(f"user {user}: does not exist")


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _give_back_large_blocks() -> None:
    """Makes the C library return a hash's 19 MiB to the system at once.

    glibc would learn from the first such block to keep them, one in every thread's arena.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:  # only glibc has it, and the problem
        set_option(_M_MMAP_THRESHOLD, LARGE_BLOCK)


def _check_user(user: str) -> None:
    if not 1 <= len(user) <= USER_LENGTH or not user.isprintable() or " " in user:
        message = f"expected 1 to {USER_LENGTH} printable characters without space"
        raise UserRefusedError(f"user {user!r}: {message}")


def _check_id(name: str, value: int) -> None:
    if not 1 <= value <= LARGEST_ID:
        raise UserRefusedError(f"{name} {value}: expected 1 to {LARGEST_ID}")
