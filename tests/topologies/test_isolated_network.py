"""Isolated networks live side by side and leave nothing behind, however they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from experiments.isolation import MachineError, check_machine, is_isolated

pytestmark = pytest.mark.emulated

CHECKOUT = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-m", "tests.topologies.isolated_network")


@contextmanager
def _started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*PROGRAM, *arguments],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def _said(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    said: dict[str, Any] = json.loads(process.stdout.readline())
    return said


def _everything(process: subprocess.Popen[str]) -> list[psutil.Process]:
    found: list[psutil.Process] = psutil.Process(process.pid).children(recursive=True)
    return found


def _namespaces_of(processes: list[psutil.Process]) -> set[str]:
    here = os.readlink("/proc/self/ns/net")
    return {os.readlink(f"/proc/{process.pid}/ns/net") for process in processes} - {here}


def _namespaces_in_use() -> set[str]:
    used = set()
    for entry in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            used.add(os.readlink(entry))
        except OSError:
            continue
    return used


def _links_here() -> set[str]:
    return {entry.name for entry in Path("/sys/class/net").iterdir()}


def _until(condition: Callable[[], bool], deadline_s: float = 5) -> bool:
    deadline = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _nothing_left(processes: list[psutil.Process], namespaces: set[str]) -> bool:
    return not any(process.is_running() for process in processes) and namespaces.isdisjoint(
        _namespaces_in_use()
    )


def test_two_networks_with_the_same_names_live_side_by_side() -> None:
    links = _links_here()
    with _started() as first, _started() as second:
        assert _said(first)["names"] == ["lo"]
        assert _said(second)["names"] == ["lo"]
        namespaces = [_namespaces_of(_everything(process)) for process in (first, second)]
        assert len(namespaces[0]) == 1 + 22
        assert namespaces[0].isdisjoint(namespaces[1])
        assert _links_here() == links
        for process in (first, second):
            assert process.communicate("\n", timeout=10)[0] == "down\n"
            assert process.returncode == 7


@pytest.mark.parametrize("victim", ["caller", "unshare", "first inside", "command"])
def test_kill_9_of_any_process_leaves_nothing(victim: str) -> None:
    links = _links_here()
    with _started() as process:
        _said(process)
        processes = _everything(process)
        namespaces = _namespaces_of(processes)
        assert len(namespaces) == 1 + 22
        chain = [psutil.Process(process.pid)]
        while len(chain) < 4:
            chain.append(chain[-1].children()[0])
        chain[["caller", "unshare", "first inside", "command"].index(victim)].kill()
        assert _until(lambda: _nothing_left(processes, namespaces))
        assert process.wait(timeout=5) == (
            -signal.SIGKILL if victim == "caller" else 128 + signal.SIGKILL
        )
    assert _links_here() == links


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("to_group", [False, True])
def test_a_signal_takes_the_network_down_in_order(number: signal.Signals, to_group: bool) -> None:
    with _started() as process:
        _said(process)
        processes = _everything(process)
        namespaces = _namespaces_of(processes)
        (os.killpg if to_group else os.kill)(process.pid, number)
        assert process.communicate(timeout=10)[0] == "down\n"
        assert process.returncode == 128 + number
        assert _nothing_left(processes, namespaces)


def test_an_exception_inside_leaves_nothing_and_its_exit_code_passes() -> None:
    with _started("fail") as process:
        assert process.communicate(timeout=20)[0] == "down\n"
        assert process.returncode == 9


def test_an_isolated_command_knows_it() -> None:
    assert not is_isolated()
    program = (
        "import experiments.isolation as i, sys; sys.exit(0 if i.is_isolated() else i.isolate(\
[sys.executable, '-c', 'import experiments.isolation as i; raise SystemExit(40 + i.is_isolated())'\
]))"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, timeout=20, check=False)
    assert ended.returncode == 41


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None if name == "mnexec" else f"/bin/{name}")
    with pytest.raises(MachineError, match="mnexec: not found, install the package mininet"):
        check_machine()


def test_a_user_without_rights_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(MachineError, match="not root"):
        check_machine()
