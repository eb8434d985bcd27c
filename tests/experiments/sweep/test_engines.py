"""All engines give the same octets, also when a worker is killed in the middle."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

import psutil
import pytest

from experiments.records.environment import CHECKOUT
from experiments.sweep.cases import Case, CaseError, Done, code_version, grid
from experiments.sweep.engines import Dask, Engine, EngineError, Processes, Serial
from tests.nodes.running import eventually
from tests.programs import started

ON_LOOPBACK = ("--host", "127.0.0.1", "--no-dashboard")


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    """Two of a quarter of a second or more, which whoever dies early leaves undone, and eight short ones."""
    large = {"topology": ["sndlib/germany50"], "way": ["cascade"], "clients": ["500000"]}
    short = {"clients": ["3"], "loss": ["0.01"], "frames": ["1"]}
    return [*grid("scale", large | {"seed": ["1", "2"]}), *grid("world", short)]


@pytest.fixture(scope="module")
def serial(cases: list[Case]) -> list[Done]:
    return [done for _, done in Serial().run(cases, code_version())]


def in_order(engine: Engine, cases: list[Case]) -> list[Done]:
    found = dict(engine.run(cases, code_version()))
    return [found[position] for position in range(len(cases))]


def pool_workers() -> set[psutil.Process]:
    """Returns the children of our children: a pool's workers have the fork server between."""
    ours = psutil.Process()
    return set(ours.children(recursive=True)) - set(ours.children())


def test_processes_give_what_one_process_gives(cases: list[Case], serial: list[Done]) -> None:
    assert all(done.octets for done in serial)
    before = pool_workers()
    found: dict[int, Done] = {}
    first: set[psutil.Process] = set()
    later: set[psutil.Process] = set()
    for position, done in Processes(2).run(cases, code_version()):
        found[position] = done
        if first:
            later |= pool_workers() - before - first
        else:
            first = pool_workers() - before
            next(iter(first)).kill()
    assert later, "others went on with what was left"
    assert [found[position] for position in range(len(cases))] == serial


def dask(name: str, *arguments: str) -> AbstractContextManager[Popen[str]]:
    return started(
        f"distributed.cli.dask_{name}", *arguments, *ON_LOOPBACK, stderr=subprocess.DEVNULL
    )


@dataclass
class Scheduler:
    """Where a scheduler is, and a connection that asks it."""

    address: str
    client: Any

    def workers(self) -> int:
        """Counts the workers that it has."""
        return len(self.client.scheduler_info(n_workers=-1)["workers"])

    def has(self, workers: int) -> bool:
        """Tells whether it soon has so many workers."""
        return eventually(lambda: self.workers() == workers, 120)


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scheduler]:
    """A scheduler on a free port of loopback, for all tests here."""
    import distributed

    connect: Callable[..., Any] = distributed.Client
    file = tmp_path_factory.mktemp("scheduler") / "scheduler.json"
    with dask("scheduler", "--port", "0", "--no-jupyter", "--scheduler-file", str(file)):
        assert eventually(lambda: file.exists() and file.read_text().endswith("}"), 120)
        address = file.read_text().split('"address": "')[1].split('"')[0]
        with connect(address, timeout=120, set_as_default=False) as client:
            yield Scheduler(address, client)


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


def test_dask_gives_the_same_though_a_worker_is_killed(
    cases: list[Case], serial: list[Done], scheduler: Scheduler, tmp_path: Path
) -> None:
    address = scheduler.address
    with worker(address, tmp_path) as one, worker(address, tmp_path) as other:
        assert scheduler.has(workers=2)
        found: dict[int, Done] = {}
        for position, done in Dask(address).run(cases, code_version()):
            if not found:
                os.kill(one.pid, signal.SIGKILL)
            found[position] = done
        assert one.wait(10) == -signal.SIGKILL
        assert other.poll() is None
        assert scheduler.has(workers=1)
    assert [found[position] for position in range(len(cases))] == serial


def test_a_worker_with_other_code_is_named(
    cases: list[Case], scheduler: Scheduler, tmp_path: Path
) -> None:
    address = scheduler.address
    assert scheduler.has(workers=0)
    with pytest.raises(EngineError, match=f"the scheduler {address} has no workers"):
        in_order(Dask(address), cases)
    for package in ("protocol", "nodes", "simulator", "topologies", "experiments"):
        shutil.copytree(
            CHECKOUT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    with (tmp_path / "simulator" / "links.py").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    with worker(address, tmp_path / "scratch", tmp_path):
        assert scheduler.has(workers=1)
        with pytest.raises(EngineError, match=r"worker tcp://.*: expected the same checkout"):
            in_order(Dask(address), cases)


def test_a_scheduler_that_is_not_there_is_named(
    cases: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.sweep.engines.CONNECT_SECONDS", 0.1)
    with pytest.raises(EngineError, match="SCHEDULER=tcp://127.0.0.1:1: no Dask scheduler answers"):
        in_order(Dask("tcp://127.0.0.1:1"), cases)


@pytest.mark.parametrize(
    "address", ["", "nonsense", "http://here:8786", "tcp://here", "tcp://a b:1"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(CaseError, match=r"expected tcp://host:port or tls://host:port"):
        Dask(address)
