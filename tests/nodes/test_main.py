"""The command lines of server and client, as far as they need no network: what is wrong is named."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nodes import client, server

MAIN: dict[str, Callable[[list[str]], int]] = {"server": server.main, "c1": client.main}


@pytest.fixture
def folder(files: Path, tmp_path: Path) -> Path:
    """Gives a copy of what server and clients read."""
    return Path(shutil.copytree(files, tmp_path / "f"))


@pytest.mark.parametrize(
    ("node", "old", "new", "expected"),
    [
        ("c1", 'user = "A"', 'user = ""', ":4: client.user: expected"),
        ("c1", "vpn_id = 1001", 'vpn_id = "x"', ":6: client.vpn_id: expected"),
        ("c1", "[lan]", "[lann]", ":13: lann: expected"),
        ("c1", 'server = "3ffe::1000"', 'server = "vpn.test"', ":2: client.server: expected"),
        ("server", "data_port = 4790", "data_port = 0", ":3: server.data_port: expected"),
        ("server", "[server]", "[server", ":1: "),
    ],
)
def test_a_mistake_in_a_file_is_one_line_with_file_line_and_key(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    node: str,
    old: str,
    new: str,
    expected: str,
) -> None:
    path = folder / f"{node}.toml"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    for arguments in ([], ["--status"]):
        assert MAIN[node](["--config", str(path), *arguments]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{path}{expected}" in line


@pytest.mark.parametrize("node", ["server", "c1"])
def test_a_file_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], node: str
) -> None:
    assert MAIN[node](["--config", str(tmp_path / "none.toml")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "none.toml") in line


@pytest.mark.parametrize("node", ["server", "c1"])
def test_status_of_a_process_that_does_not_run_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], node: str
) -> None:
    for arguments in (["--status"], ["--status", "--json"]):
        assert MAIN[node](["--config", str(folder / f"{node}.toml"), *arguments]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{node}.status: expected a process that answers" in line


def test_a_password_file_that_others_can_read_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "c1.password").chmod(0o644)
    assert client.main(["--config", str(folder / "c1.toml")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "c1.toml:5: client.password_file: expected" in line
    assert "0644" in line


@pytest.mark.parametrize(
    ("module", "arguments", "said"),
    [
        ("client", [], "the following arguments are required: --config"),
        (
            "server",
            ["--config", "x", "--forwarding", "all"],
            "argument --forwarding: invalid choice",
        ),
        ("relay", ["--config"], "argument --config: expected one argument"),
        ("portal", ["--nothing"], "the following arguments are required: --config"),
        ("status", [], "the following arguments are required"),
        ("admin", ["--config", "x", "fly"], "invalid choice: 'fly'"),
        ("admin", ["--config", "x", "move", "A", "two"], "invalid int value: 'two'"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], module: str, arguments: list[str], said: str
) -> None:
    name = f"nodes.{module}"
    program = importlib.import_module(f"{name}.__main__" if module == "portal" else name)
    with pytest.raises(SystemExit) as ended:
        program.main(arguments)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"python -m {name}")
    assert said in line
