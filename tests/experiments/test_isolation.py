"""Isolated networks live side by side and leave nothing behind, however they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from typing import Any

import psutil
import pytest

from experiments.isolation import MachineError, check_machine, is_isolated
from tests.nodes.running import eventually
from tests.programs import CHECKOUT, started
from tests.topologies.leftovers import links_here, watched
from topologies.catalog import single

pytestmark = pytest.mark.emulated

NAMESPACES = 1 + len(single().nodes)
PROGRAM = "tests.experiments.isolated_network"


def _started(*arguments: str) -> AbstractContextManager[subprocess.Popen[str]]:
    return started(PROGRAM, *arguments, stdin=subprocess.PIPE, stderr=None)


def _said(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    said: dict[str, Any] = json.loads(process.stdout.readline())
    return said


def _everything(process: subprocess.Popen[str]) -> list[psutil.Process]:
    found: list[psutil.Process] = psutil.Process(process.pid).children(recursive=True)
    return found


def test_two_networks_with_the_same_names_live_side_by_side() -> None:
    links = links_here()
    with _started() as first, _started() as second:
        assert _said(first)["names"] == ["lo"]
        assert _said(second)["names"] == ["lo"]
        with watched(_everything(first)) as here, watched(_everything(second)) as there:
            assert len(here.namespaces) == NAMESPACES
            assert here.namespaces.isdisjoint(there.namespaces)
            assert links_here() == links
            for process in (first, second):
                assert process.communicate("\n", timeout=60)[0] == "down\n"
                assert process.returncode == 7
            assert here.left() + there.left() == []


@pytest.mark.parametrize("victim", ["caller", "unshare", "first inside", "command"])
def test_kill_9_of_any_process_leaves_nothing(victim: str) -> None:
    links = links_here()
    with _started() as process:
        _said(process)
        with watched(_everything(process)) as inside:
            assert len(inside.namespaces) == NAMESPACES
            chain = [psutil.Process(process.pid)]
            while len(chain) < 4:
                chain.append(chain[-1].children()[0])
            chain[["caller", "unshare", "first inside", "command"].index(victim)].kill()
            code = process.wait(timeout=60)
            assert eventually(lambda: inside.left() == []), inside.left()
    assert code == (-signal.SIGKILL if victim == "caller" else 128 + signal.SIGKILL)
    assert links_here() == links


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("to_group", [False, True])
def test_a_signal_takes_the_network_down_in_order(number: signal.Signals, to_group: bool) -> None:
    with _started() as process:
        _said(process)
        with watched(_everything(process)) as inside:
            (os.killpg if to_group else os.kill)(process.pid, number)
            assert process.communicate(timeout=60)[0] == "down\n"
            assert process.returncode == 128 + number
            assert inside.left() == []


def test_an_exception_inside_leaves_nothing_and_its_exit_code_passes() -> None:
    with _started("fail") as process:
        assert process.communicate(timeout=120)[0] == "down\n"
        assert process.returncode == 9


def test_an_isolated_command_knows_it() -> None:
    assert not is_isolated()
    program = (
        "import experiments.isolation as i, sys; sys.exit(0 if i.is_isolated() else i.isolate(\
[sys.executable, '-c', 'import experiments.isolation as i; raise SystemExit(40 + i.is_isolated())'\
]))"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, timeout=120, check=False)
    assert ended.returncode == 41


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None if name == "mnexec" else f"/bin/{name}")
    with pytest.raises(MachineError, match="mnexec: not found, install the package mininet"):
        check_machine()


def test_a_user_without_rights_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(MachineError, match="not root"):
        check_machine()
