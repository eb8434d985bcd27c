"""The epoch of a representative: how often it has been started, kept beside its users in SQLite.

What it hands out bears the epoch, so that nothing of an earlier start is taken for something of this one.

Patent: Fig. 15 part 1501.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from nodes.database.errors import UserDatabaseError
from nodes.database.store import BUSY_SECONDS

_TABLE = "CREATE TABLE IF NOT EXISTS epochs (only_row INTEGER PRIMARY KEY, epoch INTEGER NOT NULL)"
_NEXT = """
INSERT INTO epochs VALUES (1, 1)
ON CONFLICT (only_row) DO UPDATE SET epoch = epoch + 1
RETURNING epoch
"""


def next_epoch(path: Path) -> int:
    """Counts this start, and returns the epoch, from 1; raises UserDatabaseError.

    The database is there already. The new number is on disk before it is returned.
    """
    try:
        with closing(
            sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        ) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_TABLE)
            ((epoch,),) = connection.execute(_NEXT).fetchall()
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        message = f"user database {path}: expected a usable SQLite file, got: {error}"
        raise UserDatabaseError(message) from None
    return int(epoch)
