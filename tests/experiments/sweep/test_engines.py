"""All engines give the same octets, also when a worker is killed in the middle."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any

import psutil
import pytest

from experiments.environment import CHECKOUT
from experiments.sweep.cases import Case, CaseError, Done, code_version, grid
from experiments.sweep.engines import Dask, Engine, EngineError, Processes, Serial
from tests.nodes.running import eventually
from tests.programs import started

ON_LOOPBACK = ("--host", "127.0.0.1", "--no-dashboard")


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    """Thirteen of both models, each of some hundredths of a second or more."""
    large = {"topology": ["topozoo/Abilene"], "clients": ["1000"], "seed": ["1"]}
    return [*grid("world", {"clients": ["6"], "loss": ["0.01"]}), *grid("scale", large)]


@pytest.fixture(scope="module")
def serial(cases: list[Case]) -> list[Done]:
    return [done for _, done in Serial().run(cases, code_version())]


def in_order(engine: Engine, cases: list[Case]) -> list[Done]:
    found = dict(engine.run(cases, code_version()))
    return [found[position] for position in range(len(cases))]


def our_children() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def test_processes_give_what_one_process_gives(cases: list[Case], serial: list[Done]) -> None:
    assert all(done.octets for done in serial)
    before = our_children()
    found: dict[int, Done] = {}
    killed = None
    for position, done in Processes(2).run(cases, code_version()):
        found[position] = done
        workers = [one for one in our_children() - before if one.parent() != psutil.Process()]
        if len(found) == 2 and workers:
            killed = workers[0]
            killed.send_signal(signal.SIGKILL)
    assert killed is not None
    assert [found[position] for position in range(len(cases))] == serial


def dask(name: str, *arguments: str) -> AbstractContextManager[Popen[str]]:
    return started(
        f"distributed.cli.dask_{name}", *arguments, *ON_LOOPBACK, stderr=subprocess.DEVNULL
    )


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """A scheduler on a free port of loopback; gives its address."""
    file = tmp_path / "scheduler.json"
    with dask("scheduler", "--port", "0", "--no-jupyter", "--scheduler-file", str(file)):
        assert eventually(lambda: file.exists() and file.read_text().endswith("}"), 20)
        yield file.read_text().split('"address": "')[1].split('"')[0]


@contextmanager
def worker(scheduler: str, scratch: Path, checkout: Path = CHECKOUT) -> Iterator[Popen[str]]:
    """A worker with one thread, whose code is that of ``checkout``."""
    with started(
        "distributed.cli.dask_worker",
        *(scheduler, "--nthreads", "1", "--no-nanny", "--local-directory", str(scratch)),
        *ON_LOOPBACK,
        stderr=subprocess.DEVNULL,
        folder=checkout,
        path=checkout,
    ) as process:
        yield process


def count_workers(scheduler: str) -> int:
    import distributed

    connect: Callable[..., Any] = distributed.Client
    with connect(scheduler, timeout=10, set_as_default=False) as client:
        return len(client.scheduler_info(n_workers=-1)["workers"])


def test_dask_gives_the_same_though_a_worker_is_killed(
    cases: list[Case], serial: list[Done], scheduler: str, tmp_path: Path
) -> None:
    with worker(scheduler, tmp_path) as one, worker(scheduler, tmp_path) as other:
        assert eventually(lambda: count_workers(scheduler) == 2, 30)
        found: dict[int, Done] = {}
        for position, done in Dask(scheduler).run(cases, code_version()):
            found[position] = done
            if len(found) == 3:
                os.kill(one.pid, signal.SIGKILL)
        assert one.wait(10) == -signal.SIGKILL
        assert other.poll() is None
        assert count_workers(scheduler) == 1
    assert [found[position] for position in range(len(cases))] == serial


def test_a_worker_with_other_code_is_named(
    cases: list[Case], scheduler: str, tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match=f"the scheduler {scheduler} has no workers"):
        in_order(Dask(scheduler), cases)
    for package in ("protocol", "nodes", "simulator", "topologies", "experiments"):
        shutil.copytree(
            CHECKOUT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    with (tmp_path / "simulator" / "links.py").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    with worker(scheduler, tmp_path / "scratch", tmp_path):
        assert eventually(lambda: count_workers(scheduler) == 1, 30)
        with pytest.raises(EngineError, match=r"worker tcp://.*: expected the same checkout"):
            in_order(Dask(scheduler), cases)


def test_a_scheduler_that_is_not_there_is_named(
    cases: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.sweep.engines.CONNECT_SECONDS", 0.5)
    with pytest.raises(EngineError, match="SCHEDULER=tcp://127.0.0.1:1: no Dask scheduler answers"):
        in_order(Dask("tcp://127.0.0.1:1"), cases)


@pytest.mark.parametrize(
    "address", ["", "nonsense", "http://here:8786", "tcp://here", "tcp://a b:1"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(CaseError, match=r"expected tcp://host:port or tls://host:port"):
        Dask(address)
