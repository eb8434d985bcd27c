"""The administrator's command line: what it does, says and returns."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nodes.admin import main
from nodes.status import close_status, serve_status
from nodes.users import UserDatabase

SERVER = """\
[server]
address = "3ffe::1000"
certificate = "server.pem"
private_key = "server.key"
database = "users.sqlite"
status_socket = "server.status"
[groups.1001]
multicast_address = "ff1e::1"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "server.toml").write_text(SERVER)
    password = tmp_path / "a.password"
    password.write_text("secret of A\n")
    password.chmod(0o600)
    assert administer(tmp_path, "add-group", "1001", "--name", "first") == 0
    return tmp_path


def administer(folder: Path, *arguments: str) -> int:
    return main(["--config", str(folder / "server.toml"), *arguments])


def add_user_a(folder: Path) -> int:
    password = str(folder / "a.password")
    return administer(folder, "add-user", "A", "--vpn", "1001", "--password-file", password)


def test_a_user_added_with_a_password_file_can_log_in(folder: Path) -> None:
    assert add_user_a(folder) == 0
    assert UserDatabase(folder / "users.sqlite").verify("A", b"secret of A")


def test_a_password_comes_from_stdin_in_a_process_of_its_own(folder: Path) -> None:
    command = [sys.executable, "-m", "nodes.admin", "--config", str(folder / "server.toml")]
    command += ["add-user", "B", "--vpn", "1001", "--sub-id", "2"]
    done = subprocess.run(command, input=b"secret of B\n", capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    database = UserDatabase(folder / "users.sqlite")
    assert database.verify("B", b"secret of B")
    assert [record.sub_id for record in database.records()] == [2]


def test_users_can_be_changed_and_removed(folder: Path) -> None:
    add_user_a(folder)
    database = UserDatabase(folder / "users.sqlite")
    (folder / "a.password").write_text("another")
    password = str(folder / "a.password")
    assert administer(folder, "set-password", "A", "--password-file", password) == 0
    assert database.verify("A", b"another")
    assert administer(folder, "set-sub-id", "A", "3") == 0
    assert [record.sub_id for record in database.records()] == [3]
    assert administer(folder, "remove-user", "A") == 0
    assert database.records() == []


def test_the_list_is_json_or_tables_and_never_shows_a_hash(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_user_a(folder)
    assert administer(folder, "list", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "groups": [{"vpn_id": 1001, "name": "first"}],
        "users": [{"user": "A", "vpn_id": 1001, "sub_id": 1}],
        "administrators": [],
    }
    assert administer(folder, "list") == 0
    shown = capsys.readouterr().out
    assert "506 user VPN group" in shown
    assert "1001" in shown
    assert "argon2" not in shown


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("add-group", "1001"), "refused: group 1001: exists already"),
        (("remove-user", "B"), "refused: user B: does not exist"),
        (("set-sub-id", "B", "2"), "refused: user B: does not exist"),
    ],
)
def test_what_is_refused_exits_1_with_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], reason: str
) -> None:
    assert administer(folder, *arguments) == 1
    assert capsys.readouterr().err == f"{reason}\n"


def test_adding_a_user_twice_is_refused(folder: Path) -> None:
    assert add_user_a(folder) == 0
    assert add_user_a(folder) == 1


def test_a_group_without_an_address_in_the_file_is_noted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert administer(folder, "add-group", "1002") == 0
    assert "has no table [groups.1002] yet" in capsys.readouterr().err


def test_a_broken_configuration_exits_2_with_its_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "server.toml").write_text(SERVER.replace("ff1e::1", "3ffe::1"))
    assert administer(folder, "list") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"{folder}/server.toml:8: groups.1001.multicast_address: expected a")
    assert error.count("\n") == 1


def test_a_password_file_that_others_can_read_exits_2(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "a.password").chmod(0o644)
    assert add_user_a(folder) == 2
    assert "got mode 0644" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [(), ("add-user",), ("add-user", "A", "--password", "x")])
def test_wrong_usage_exits_2_and_a_password_is_no_argument(
    folder: Path, arguments: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit) as caught:
        administer(folder, *arguments)
    assert caught.value.code == 2


def add_ada(folder: Path, *arguments: str) -> int:
    password = folder / "ada.password"
    password.write_text("ada's password\n")
    password.chmod(0o600)
    given = ("--vpn", "1001", "--password-file", str(password), *arguments)
    return administer(folder, "add-administrator", "ada", *given)


def shown_json(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert administer(folder, *arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_administrators_are_added_listed_and_removed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert administer(folder, "add-group", "1002") == 0
    assert add_ada(folder) == 0
    assert administer(folder, "grant", "ada", "1002") == 0
    listed = shown_json(folder, capsys, "list")["administrators"]
    assert listed == [{"name": "ada", "groups": [1001, 1002]}]
    assert administer(folder, "list") == 0
    assert "1001, 1002" in capsys.readouterr().out
    assert administer(folder, "revoke", "ada", "1001") == 0
    password = str(folder / "ada.password")
    Path(password).write_text("another password")
    given = ("--password-file", password)
    assert administer(folder, "set-administrator-password", "ada", *given) == 0
    database = UserDatabase(folder / "users.sqlite")
    standing = database.administrators.verify("ada", b"another password")
    assert standing is not None
    assert standing.groups == (1002,)
    assert administer(folder, "remove-administrator", "ada") == 0
    assert database.administrators.rows() == []


@pytest.mark.parametrize(
    ("arguments", "change", "old", "new"),
    [
        (("move", "A", "2"), "move user", "Sub ID 1", "Sub ID 2"),
        (("expel", "A"), "expel user", "Sub ID 1", ""),
        (("set-password", "A", "--password-file", "a.password"), "set password", "", ""),
        (("add-group", "1003", "--name", "third"), "add group", "", "third"),
        (("remove-administrator", "ada"), "remove administrator", "", ""),
    ],
)
def test_every_change_prints_its_row_of_the_log_as_json(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    change: str,
    old: str,
    new: str,
) -> None:
    monkeypatch.chdir(folder)
    add_user_a(folder)
    add_ada(folder)
    shown = shown_json(folder, capsys, *arguments)
    assert shown["taken_up_by_server"] is False
    assert [shown["change"][key] for key in ("operation", "old", "new")] == [change, old, new]
    assert (shown["change"]["source"], shown["change"]["address"]) == ("command", "")
    assert shown_json(folder, capsys, "audit", "--limit", "1") == [shown["change"]]


def test_the_log_is_shown_as_a_table_and_for_one_group(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_user_a(folder)
    administer(folder, "add-group", "1002")
    capsys.readouterr()
    assert administer(folder, "audit", "--vpn", "1001") == 0
    shown = capsys.readouterr().out
    assert "add user" in shown
    assert "1002" not in shown


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("move", "A", "0"), "refused: Sub ID 0: expected 1 to 4294967295"),
        (("add-group", "4294967296"), "refused: VPN ID 4294967296: expected 1 to 4294967295"),
    ],
)
def test_a_value_that_can_never_be_right_exits_2_with_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], reason: str
) -> None:
    assert administer(folder, *arguments) == 2
    assert capsys.readouterr().err == f"{reason}\n"


ON_LINE = {
    "columns": ["user", "VPN ID", "datagrams in"],
    "rows": [["A", 1001, 12], ["D", 1002, None]],
}


@contextlib.contextmanager
def answering(path: Path) -> Iterator[None]:
    """Has a server answer at its status socket, in a thread of its own."""
    up, end = threading.Event(), asyncio.Event()

    async def serve() -> None:
        server = await serve_status(path, lambda: {"tables": {"users on line": ON_LINE}})
        up.set()
        await end.wait()
        await close_status(server)

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert up.wait(10)
        yield
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()
        loop.close()


def test_who_is_on_line_is_asked_of_the_running_server(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    with answering(folder / "server.status"):
        shown = shown_json(folder, capsys, "on-line")
        of_one = shown_json(folder, capsys, "on-line", "--vpn", "1002")
    assert shown[0] == {"user": "A", "VPN ID": 1001, "datagrams in": 12}
    assert of_one == [{"user": "D", "VPN ID": 1002, "datagrams in": None}]


def test_without_a_running_server_nobody_can_say_who_is_on_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert administer(folder, "on-line") == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "expected a process that answers" in said
