"""The user database: who may, who may not, and what is on the disk."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from nodes.database.passwords import NOBODY
from nodes.users import UserDatabase, UserDatabaseError, UserRefusedError
from protocol.management import UserRecord
from protocol.types import SubId, VpnId


@pytest.fixture
def database(tmp_path: Path) -> UserDatabase:
    database = UserDatabase(tmp_path / "users.sqlite")
    database.add_group(1001, "first")
    database.add_group(1002)
    database.add("A", b"secret of A", 1001)
    return database


def stored_hash(database: UserDatabase, user: str) -> str:
    with closing(sqlite3.connect(database.path)) as connection:
        query = "SELECT password_hash FROM users WHERE user = ?"
        return str(connection.execute(query, (user,)).fetchone()[0])


def test_only_the_users_own_password_is_right(database: UserDatabase) -> None:
    database.add("B", b"secret of B", 1001)
    assert database.verify("A", b"secret of A")
    assert not database.verify("A", b"secret of B")
    assert not database.verify("A", b"")
    assert not database.verify("C", b"secret of A")


def test_nobody_has_a_password_that_opens_the_stand_in_for_unknown_users(
    database: UserDatabase,
) -> None:
    assert not database.verify("C", b"")
    with pytest.raises(VerifyMismatchError):
        PasswordHasher().verify(NOBODY, b"secret")


def test_an_unknown_user_costs_a_check_of_the_same_parameters(
    database: UserDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    verify = PasswordHasher.verify

    def record(hasher: PasswordHasher, stored: str, password: bytes) -> bool:
        seen.append(stored)
        return verify(hasher, stored, password)

    monkeypatch.setattr(PasswordHasher, "verify", record)
    database.verify("A", b"wrong")
    database.verify("C", b"wrong")
    known, unknown = (stored.split("$")[:4] for stored in seen)
    assert known == unknown == ["", "argon2id", "v=19", "m=19456,t=2,p=1"]
    assert len(seen[0]) == len(seen[1])


def test_passwords_are_not_in_the_file(database: UserDatabase) -> None:
    octets = b"".join(path.read_bytes() for path in database.path.parent.iterdir())
    assert b"argon2id" in octets
    assert b"secret of A" not in octets


def test_the_files_are_their_owners_alone(database: UserDatabase) -> None:
    with closing(sqlite3.connect(database.path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE users SET sub_id = 2")
        connection.execute("COMMIT")
        files = list(database.path.parent.iterdir())
        assert len(files) == 3  # the database, its write-ahead log and that log's index
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_a_database_that_others_could_read_is_closed_to_them(database: UserDatabase) -> None:
    database.path.chmod(0o644)
    UserDatabase(database.path)
    assert stat.S_IMODE(database.path.stat().st_mode) == 0o600


def test_records_are_table_506_and_survive_the_process(database: UserDatabase) -> None:
    database.add("D", b"secret of D", 1002, sub_id=2)
    expected = [
        UserRecord("A", VpnId(1001), SubId(1)),
        UserRecord("D", VpnId(1002), SubId(2)),
    ]
    assert database.records() == expected
    again = UserDatabase(database.path)
    assert again.records() == expected
    assert again.groups() == {1001: "first", 1002: ""}
    assert again.verify("D", b"secret of D")


def test_a_sub_id_can_be_changed(database: UserDatabase) -> None:
    database.set_sub_id("A", 7)
    assert [record.sub_id for record in database.records()] == [7]


def test_a_new_password_replaces_the_old_one(database: UserDatabase) -> None:
    database.set_password("A", b"another")
    assert database.verify("A", b"another")
    assert not database.verify("A", b"secret of A")


def test_a_removed_user_is_unknown(database: UserDatabase) -> None:
    database.remove("A")
    assert database.records() == []
    assert not database.verify("A", b"secret of A")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d.add("A", b"x", 1001), "user A: exists already"),
        (lambda d: d.add("B", b"x", 1003), "group 1003: does not exist"),
        (lambda d: d.add("B", b"", 1001), "password: expected at least one octet"),
        (lambda d: d.add("B", b"x", 1001, 0), "Sub ID 0: expected 1 to"),
        (lambda d: d.add("B" * 65, b"x", 1001), "expected 1 to 64 printable characters"),
        (lambda d: d.add("a\nb", b"x", 1001), "expected 1 to 64 printable characters"),
        (lambda d: d.add_group(1001), "group 1001: exists already"),
        (lambda d: d.add_group(2**32), "VPN ID 4294967296: expected 1 to 4294967295"),
        (lambda d: d.remove("B"), "user B: does not exist"),
        (lambda d: d.set_password("B", b"x"), "user B: does not exist"),
        (lambda d: d.set_sub_id("B", 2), "user B: does not exist"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused_and_changes_nothing(
    database: UserDatabase, change: Callable[[UserDatabase], None], reason: str
) -> None:
    before = database.records(), database.groups(), stored_hash(database, "A")
    with pytest.raises(UserRefusedError, match=reason):
        change(database)
    assert (database.records(), database.groups(), stored_hash(database, "A")) == before


def test_a_hash_of_other_parameters_is_renewed_by_the_right_password_only(
    database: UserDatabase,
) -> None:
    weak = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(b"secret of A")
    with closing(sqlite3.connect(database.path)) as connection, connection:
        connection.execute("UPDATE users SET password_hash = ?", (weak,))
    assert not database.verify("A", b"wrong")
    assert stored_hash(database, "A") == weak
    assert database.verify("A", b"secret of A")
    assert "m=19456,t=2,p=1" in stored_hash(database, "A")
    assert database.verify("A", b"secret of A")


def test_a_renewal_does_not_undo_a_password_set_meanwhile(database: UserDatabase) -> None:
    before = stored_hash(database, "A")
    database.set_password("A", b"another")
    database._renew("A", before, b"secret of A")
    assert database.verify("A", b"another")


def test_a_damaged_hash_opens_to_nobody(database: UserDatabase) -> None:
    with closing(sqlite3.connect(database.path)) as connection, connection:
        connection.execute("UPDATE users SET password_hash = 'broken'")
    assert not database.verify("A", b"secret of A")


def test_threads_may_check_and_change_at_once(database: UserDatabase) -> None:
    def work(number: int) -> bool:
        database.add(f"user-{number}", b"x", 1002)
        return database.verify("A", b"secret of A")

    with ThreadPoolExecutor(4) as executor:
        assert all(executor.map(work, range(8)))
    assert len(database.records()) == 9


def test_a_crowd_is_checked_a_few_at_a_time_and_leaves_no_memory_taken(tmp_path: Path) -> None:
    probe = f"""
from concurrent.futures import ThreadPoolExecutor
from nodes.users import UserDatabase
database = UserDatabase({str(tmp_path / "users.sqlite")!r})
with ThreadPoolExecutor(4) as executor:
    list(executor.map(lambda _: database.verify("A", b"x"), range(8)))
status = open("/proc/self/status").read()
print(*(int(status.split(name)[1].split()[0]) // 1024 for name in ("VmRSS:", "VmHWM:")))
"""
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    resident, peak = map(int, done.stdout.split())
    assert resident < 40
    assert peak < resident + 3 * 19


def test_a_file_that_is_no_user_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "users.sqlite"
    path.write_text("this is a text and certainly no database of any kind" * 10)
    with pytest.raises(UserDatabaseError, match=f"{path}: expected a usable SQLite file"):
        UserDatabase(path)


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE other (x)")
    with pytest.raises(UserDatabaseError, match="expected version 2, got 0"):
        UserDatabase(path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserDatabaseError, match="expected a file to read and write, got no such"):
        UserDatabase(tmp_path / "none" / "users.sqlite")
