"""The administrator's command line: what it does, says and returns."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nodes.admin import main
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
