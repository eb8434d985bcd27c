"""The database's tables. Each version adds to the one before; ``PRAGMA user_version`` tells which it is.

Patent: tables 506, 12-2.
"""

from __future__ import annotations

USERS = (
    """
    CREATE TABLE groups (
        vpn_id INTEGER PRIMARY KEY,
        name TEXT NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE users (
        user TEXT PRIMARY KEY,
        password_hash TEXT NOT NULL,
        vpn_id INTEGER NOT NULL REFERENCES groups (vpn_id),
        sub_id INTEGER NOT NULL DEFAULT 1
    ) STRICT, WITHOUT ROWID
    """,
)

ADMINISTRATION = (
    """
    CREATE TABLE administrators (
        name TEXT PRIMARY KEY,
        password_hash TEXT NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE administered_groups (
        name TEXT NOT NULL REFERENCES administrators (name) ON DELETE CASCADE,
        vpn_id INTEGER NOT NULL REFERENCES groups (vpn_id),
        PRIMARY KEY (name, vpn_id)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE audit (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        time TEXT NOT NULL,
        who TEXT NOT NULL,
        source TEXT NOT NULL CHECK (source IN ('page', 'command', 'program')),
        address TEXT NOT NULL,
        vpn_id INTEGER,
        subject TEXT NOT NULL,
        operation TEXT NOT NULL,
        old TEXT NOT NULL,
        new TEXT NOT NULL
    ) STRICT
    """,
    """
    CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END
    """,
    """
    CREATE TRIGGER audit_is_not_shortened BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END
    """,
    # INSERT OR REPLACE deletes without asking the trigger above
    """
    CREATE TRIGGER audit_is_not_replaced BEFORE INSERT ON audit
    WHEN EXISTS (SELECT 1 FROM audit WHERE number = NEW.number)
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END
    """,
)

VERSIONS = (USERS, ADMINISTRATION)
"""The statements that lead to version 1, from there to version 2, and so on."""
