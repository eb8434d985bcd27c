"""The database's file: its connections and transactions, and whether anybody has changed something.

Every call opens a connection of its own, so that any thread may call; all of them block.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from nodes.database.errors import UserDatabaseError
from nodes.database.schema import VERSIONS

SCHEMA_VERSION = len(VERSIONS)
BUSY_SECONDS = 5.0
"""How long a call waits for another process's transaction."""


class Store:
    """One SQLite file; makes it, readable by its owner alone, when there is none."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
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
        with self.connection() as connection:
            self._prepare(connection)

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        with _transaction(connection):
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version == SCHEMA_VERSION:
                return
            foreign = version == 0 and connection.execute("SELECT 1 FROM sqlite_master").fetchone()
            if foreign or not 0 <= version < SCHEMA_VERSION:
                raise UserDatabaseError(
                    f"user database {self.path}: expected version {SCHEMA_VERSION}, got {version}"
                )
            for statements in VERSIONS[version:]:
                for statement in statements:
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Opens a connection to read by; SQLite's errors become UserDatabaseError."""
        with self._named_errors(), closing(self._connect()) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            yield connection

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """Opens a connection within a transaction: all that is done by it holds, or none of it."""
        with self.connection() as connection, _transaction(connection):
            yield connection

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            message = f"user database {self.path}: expected a usable SQLite file, got: {error}"
            raise UserDatabaseError(message) from None


class ChangeWatch:
    """Tells whether another connection, of whatever process, has changed the file since last asked."""

    def __init__(self, store: Store) -> None:
        with store._named_errors():
            self._connection = store._connect()
        self._store = store
        self._version = self._read()

    def changed(self) -> bool:
        """Tells whether there was a change; raises UserDatabaseError."""
        version = self._read()
        changed, self._version = version != self._version, version
        return changed

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def _read(self) -> int:
        with self._store._named_errors():
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
