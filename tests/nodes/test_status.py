"""The status socket: who may ask, what comes, and what is said when nobody answers."""

from __future__ import annotations

import asyncio
import json
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from nodes.status import StatusError, close_status, fetch_status, print_status, serve_status

SNAPSHOT: dict[str, Any] = {
    "tables": {
        "507 unicast group": {
            "columns": ["VPN ID", "address"],
            "rows": [[1001, ip_address("3ffe:aaaa::1")], [1001, "[3ffe:bbbb::1]:4790"]],
        },
        "509 MAC-IP correspondence": {"columns": ["MAC", "client"], "rows": []},
    },
    "counters": {"forwarded": 7, "drops": {"replayed": 2}},
    "process": {"pid": 42},
}


def while_served(path: Path, work: Callable[[], Any], snapshot: dict[str, Any] = SNAPSHOT) -> Any:
    """Serves the snapshot while ``work`` runs in a thread; returns what that returns."""

    async def serve() -> Any:
        server = await serve_status(path, lambda: snapshot)
        try:
            return await asyncio.to_thread(work)
        finally:
            await close_status(server)

    return asyncio.run(serve())


def test_the_snapshot_comes_whole_with_addresses_as_text(tmp_path: Path) -> None:
    path = tmp_path / "status"
    received = while_served(path, lambda: fetch_status(path))
    assert received["tables"]["507 unicast group"]["rows"][0] == [1001, "3ffe:aaaa::1"]
    assert received["counters"] == SNAPSHOT["counters"]


def test_a_snapshot_larger_than_any_buffer_comes_whole(tmp_path: Path) -> None:
    path = tmp_path / "status"
    rows = [[f"02:00:00:00:00:{number:02x}", "x" * 100] for number in range(20_000)]
    large = {"tables": {"509": {"columns": ["MAC", "client"], "rows": rows}}}
    assert while_served(path, lambda: fetch_status(path), large) == large


def test_every_call_sees_the_present_state(tmp_path: Path) -> None:
    path = tmp_path / "status"
    state = {"counters": {"forwarded": 0}}

    def ask_twice() -> list[int]:
        seen = [fetch_status(path)["counters"]["forwarded"]]
        state["counters"]["forwarded"] = 1
        return [*seen, fetch_status(path)["counters"]["forwarded"]]

    assert while_served(path, ask_twice, state) == [0, 1]


def test_the_socket_is_its_owners_alone_and_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "status"
    assert stat.S_IMODE(while_served(path, lambda: path.stat().st_mode)) == 0o600
    assert not path.exists()


def test_the_socket_of_a_dead_process_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "status"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    assert path.is_socket()
    assert while_served(path, lambda: fetch_status(path))["process"] == {"pid": 42}


def test_the_socket_of_a_living_process_is_refused_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "status"

    def try_to_take_it() -> dict[str, Any]:
        with pytest.raises(StatusError, match="got a process that answers"):
            while_served(path, lambda: None)
        return fetch_status(path)

    assert while_served(path, try_to_take_it)["process"] == {"pid": 42}


def test_a_file_that_is_no_socket_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "status"
    path.write_text("precious")
    with pytest.raises(StatusError, match="expected a free path, got another file"):
        while_served(path, lambda: None)
    assert path.read_text() == "precious"


def test_a_path_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StatusError, match="expected a path for a socket, got"):
        while_served(tmp_path / ("x" * 120), lambda: None)


def test_a_caller_that_hangs_up_does_not_disturb_the_next(tmp_path: Path) -> None:
    path = tmp_path / "status"

    def hang_up_then_ask() -> dict[str, Any]:
        for _ in range(3):
            with socket.socket(socket.AF_UNIX) as caller:
                caller.connect(str(path))
        return fetch_status(path)

    assert while_served(path, hang_up_then_ask)["process"] == {"pid": 42}


def test_tables_are_printed_with_the_patents_numbers_and_every_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "status"
    assert while_served(path, lambda: print_status(path)) == 0
    shown = capsys.readouterr().out
    for expected in (
        "507 unicast group",
        "509 MAC-IP correspondence",
        "3ffe:aaaa::1",
        "[3ffe:bbbb::1]:4790",
        "drops.replayed",
        "counters",
        "process",
    ):
        assert expected in shown


def test_json_is_printed_plain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "status"
    assert while_served(path, lambda: print_status(path, as_json=True)) == 0
    assert json.loads(capsys.readouterr().out)["counters"] == SNAPSHOT["counters"]


def test_a_reader_that_ends_early_is_no_mistake(tmp_path: Path) -> None:
    path, long = tmp_path / "status", "x" * 1_000_000

    def ask() -> tuple[int, str]:
        command = [sys.executable, "-m", "nodes.status", "--json", str(path)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as asked:
            assert asked.stdout is not None
            assert asked.stderr is not None
            asked.stdout.close()
            return asked.wait(20), asked.stderr.read()

    assert while_served(path, ask, {"process": {"name": long}}) == (0, "")


def test_nobody_at_the_socket_exits_1_with_one_line(tmp_path: Path) -> None:
    path = tmp_path / "status"
    command = [sys.executable, "-m", "nodes.status", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        f"status socket {path}: expected a process that answers, got no such file or directory\n"
    )


def test_an_answer_that_is_no_object_is_told(tmp_path: Path) -> None:
    path = tmp_path / "status"
    with pytest.raises(StatusError, match="expected one JSON object, got none"):
        while_served(path, lambda: fetch_status(path), [])  # type: ignore[arg-type]


def test_the_serving_side_does_not_load_what_only_printing_needs() -> None:
    probe = "import sys, nodes.status, nodes.users, nodes.lan; print('rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
