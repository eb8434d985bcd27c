"""A representative's epoch grows with every start, whatever else happens to the database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from nodes.epoch import next_epoch
from nodes.users import UserDatabase, UserDatabaseError


def test_each_start_has_an_epoch_of_its_own_and_users_stay(tmp_path: Path) -> None:
    path = tmp_path / "users.sqlite"
    users = UserDatabase(path)
    users.add_group(1001)
    assert [next_epoch(path) for _ in range(3)] == [1, 2, 3]
    assert list(UserDatabase(path).groups()) == [1001]
    assert next_epoch(path) == 4


def test_a_database_that_somebody_else_changes_is_named_and_counts_no_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "users.sqlite"
    UserDatabase(path)
    assert next_epoch(path) == 1
    monkeypatch.setattr("nodes.epoch.BUSY_SECONDS", 0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UserDatabaseError, match="users.sqlite: expected a usable SQLite file"):
            next_epoch(path)
    assert next_epoch(path) == 2


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "users.sqlite"
    path.write_bytes(b"no database at all, " * 100)
    with pytest.raises(UserDatabaseError, match="users.sqlite: expected a usable SQLite file"):
        next_epoch(path)
