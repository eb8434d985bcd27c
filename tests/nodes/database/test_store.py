"""The database's file: what a kill leaves behind, who notices a change, and how old files are read."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from nodes.database.schema import USERS
from nodes.database.store import SCHEMA_VERSION
from nodes.users import UserDatabase, UserDatabaseError, UserRefusedError
from tests.nodes.running import CHECKOUT

OPERATIONS = ["move", "expel", "add", "password", "administrator", "dismissal"]
KILLED = """
import json, os, shutil, signal, sqlite3, sys
from nodes.users import UserDatabase

folder, operation = sys.argv[1:]
connect = sqlite3.connect
left = None

def counting(path, **options):
    connection = connect(path, **options)
    def statement(text):
        global left
        if left is None or text.startswith("PRAGMA"):
            return
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
    connection.set_trace_callback(statement)
    return connection

sqlite3.connect = counting
users = UserDatabase(f"{folder}/users.sqlite")
users._passwords.hash = lambda password, least=1: "not hashed"
change = {
    "move": lambda: users.set_sub_id("A", 2),
    "expel": lambda: users.remove("A"),
    "add": lambda: users.add("B", b"long enough", 1001),
    "password": lambda: users.set_password("A", b"another one"),
    "administrator": lambda: users.administrators.add("bob", b"long enough", [1001, 1002]),
    "dismissal": lambda: users.administrators.remove("ada"),
}[operation]

def state():
    with connect(users.path) as connection:
        tables = ("users", "administrators", "administered_groups", "audit")
        return [connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables]

states = [state()]
for number in range(100):
    child = os.fork()
    if child == 0:
        left = number
        change()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    states.append(state())
    if not os.WIFSIGNALED(status):
        break
print(json.dumps(states))
"""


def filled(folder: Path) -> UserDatabase:
    users = UserDatabase(folder / "users.sqlite")
    users.add_group(1001)
    users.add_group(1002)
    users.add("A", b"secret of A", 1001)
    users.administrators.add("ada", b"ada's password", [1001, 1002])
    return users


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_kill_between_any_two_statements_leaves_the_state_before_the_change(
    tmp_path: Path, operation: str
) -> None:
    filled(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), operation],
        cwd=CHECKOUT,
        capture_output=True,
        check=True,
    )
    before, *killed, after = msgspec.json.decode(
        done.stdout, type=list[list[list[list[str | int | None]]]]
    )
    assert len(killed) >= 4  # begin, look, change, log, commit
    assert killed == [before] * len(killed)
    assert after[:3] != before[:3]
    assert len(after[3]) > len(before[3])
    assert after[3][: len(before[3])] == before[3]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET who = 'nobody'",
        "UPDATE audit SET number = 99 WHERE number = 1",
        "DELETE FROM audit",
        "DELETE FROM audit WHERE number = 1",
        "REPLACE INTO audit SELECT 1, time, 'nobody', source, address, vpn_id, subject, operation,"
        " old, new FROM audit WHERE number = 1",
    ],
)
def test_the_log_can_be_neither_changed_nor_shortened(tmp_path: Path, statement: str) -> None:
    users = filled(tmp_path)
    before = users.audit.entries()
    with closing(sqlite3.connect(users.path)) as connection:
        with pytest.raises(sqlite3.IntegrityError, match="the audit log is append-only"):
            connection.execute(statement)
        connection.rollback()
    assert users.audit.entries() == before


def test_a_change_that_is_refused_leaves_no_row_in_the_log(tmp_path: Path) -> None:
    users = filled(tmp_path)
    before = users.audit.entries()
    changes: tuple[Callable[[], object], ...] = (
        lambda: users.set_sub_id("A", 1),
        lambda: users.remove("Z"),
        lambda: users.administrators.grant("ada", 1001),
        lambda: users.administrators.add("bob", b"long enough", [1001, 1003]),
    )
    for change in changes:
        with pytest.raises(UserRefusedError, match="already|does not exist"):
            change()
    assert users.audit.entries() == before
    assert [row.name for row in users.administrators.rows()] == ["ada"]


def test_the_log_of_a_group_is_newest_first_and_has_no_other_groups_rows(tmp_path: Path) -> None:
    users = filled(tmp_path)
    users.add("D", b"secret of D", 1002)
    users.set_sub_id("A", 2)
    found = [(entry.operation, entry.subject) for entry in users.audit.entries(1001)]
    assert found == [
        ("move user", "A"),
        ("grant group", "ada"),
        ("add user", "A"),
        ("add group", "1001"),
    ]
    assert len(users.audit.entries(limit=2)) == 2


def test_a_database_of_version_1_is_brought_up_to_date_with_its_users(tmp_path: Path) -> None:
    path = tmp_path / "users.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in USERS:
            connection.execute(statement)
        connection.execute("INSERT INTO groups VALUES (1001, 'first')")
        connection.execute("INSERT INTO users VALUES ('A', 'hash', 1001, 2)")
        connection.execute("PRAGMA user_version = 1")
    users = UserDatabase(path)
    assert [(record.user, record.sub_id) for record in users.records()] == [("A", 2)]
    users.administrators.add("ada", b"ada's password", [1001])
    assert [entry.operation for entry in users.audit.entries()] == [
        "add administrator",
        "grant group",
    ]


def test_a_database_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    users = filled(tmp_path)
    with closing(sqlite3.connect(users.path)) as connection, connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(UserDatabaseError, match=f"expected version {SCHEMA_VERSION}, got"):
        UserDatabase(users.path)


def test_a_change_by_another_connection_is_noticed_once(tmp_path: Path) -> None:
    users = filled(tmp_path)
    with closing(users.watch()) as watch:
        assert not watch.changed()
        UserDatabase(users.path).set_sub_id("A", 2)
        assert watch.changed()
        assert not watch.changed()
