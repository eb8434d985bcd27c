"""Who works the cases out: processes of this machine, or workers of a Dask cluster.

An engine takes cases and yields (position, result) in the order in which they are ready. What a worker that
dies was about goes to another one. Results come back as octets, so workers share no files with the sweep.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol

from experiments.sweep.cases import Case, CaseError, Done, code_version, work

Results = Iterator[tuple[int, Done]]
DEATHS = 3
"""A case at which so many workers died one after the other is what kills them."""
CONNECT_SECONDS = 10.0
_ADDRESS = re.compile(r"(tcp|tls)://(\[[0-9a-fA-F:]+\]|[^\s:/\[\]]+):[0-9]{1,5}")


class EngineError(RuntimeError):
    """Says why an engine cannot work."""


class Engine(Protocol):
    """Works cases out."""

    def run(self, cases: Sequence[Case], version: str) -> Results:
        """Yields each case's position and result."""


class Serial:
    """One case after the other, in this process."""

    def run(self, cases: Sequence[Case], version: str) -> Results:
        """Yields results in the order of the cases."""
        for position, case in enumerate(cases):
            yield position, work(case, version)


class Processes:
    """As many processes as there are cores, unless told otherwise."""

    def __init__(self, workers: int | None = None) -> None:
        self._workers = workers or len(os.sched_getaffinity(0))

    def run(self, cases: Sequence[Case], version: str) -> Results:
        """Yields results as they come; EngineError when workers die again and again."""
        left = dict(enumerate(cases))
        deaths = 0
        while left:
            before = len(left)
            try:
                for position, done in self._pool(left, version):
                    del left[position]
                    yield position, done
            except BrokenProcessPool as error:
                deaths = deaths + 1 if len(left) == before else 1
                if deaths >= DEATHS:
                    raise EngineError(
                        f"{deaths} times a worker died, and nothing was done"
                    ) from error

    def _pool(self, left: dict[int, Case], version: str) -> Results:
        # Forked from a process that has loaded all and has no threads: quick, and safe beside a progress bar.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([work.__module__])
        pool = ProcessPoolExecutor(self._workers, context, _follow)
        try:
            positions = {pool.submit(work, case, version): at for at, case in left.items()}
            for future in as_completed(positions):
                yield positions[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)


class Dask:
    """The workers of a Dask scheduler, such as ``tcp://10.0.0.1:8786``, wherever they are."""

    def __init__(self, scheduler: str) -> None:
        """Raises CaseError for what is no address."""
        if not _ADDRESS.fullmatch(scheduler):
            raise CaseError(f"SCHEDULER={scheduler}: expected tcp://host:port or tls://host:port")
        self._scheduler = scheduler

    def run(self, cases: Sequence[Case], version: str) -> Results:
        """Yields results as they come; EngineError without scheduler, workers or the same code there."""
        import distributed

        connect: Callable[..., Any] = distributed.Client
        as_ready: Callable[..., Any] = distributed.as_completed
        try:
            client = connect(self._scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise EngineError(
                f"SCHEDULER={self._scheduler}: no Dask scheduler answers within {CONNECT_SECONDS:.0f} s"
            ) from error
        with client:
            _expect_same_code(client, version)
            keys = [f"blindrelay-{case.name(version)}" for case in cases]
            futures = client.map(work, cases, version=version, key=keys, pure=False)
            positions = {future.key: position for position, future in enumerate(futures)}
            try:
                for future, done in as_ready(futures, loop=client.loop, with_results=True):
                    yield positions[future.key], done
            except distributed.KilledWorker as error:
                raise EngineError(f"workers died again and again at one case: {error}") from error


def _expect_same_code(client: Any, version: str) -> None:
    """Raises EngineError unless there are workers, and all of them have this checkout's code."""
    if not client.scheduler_info()["workers"]:
        raise EngineError(f"the scheduler {client.scheduler.address} has no workers: start some")
    versions: dict[str, str | Exception] = client.run(code_version, on_error="return")
    for worker, found in versions.items():
        if isinstance(found, Exception):
            raise EngineError(f"worker {worker}: {found}: expected one started in the checkout")
        if found != version:
            raise EngineError(
                f"worker {worker}: code {found}, this sweep {version}: expected the same checkout"
            )


def _follow() -> None:
    """Makes a worker leave interrupts to the sweep, and end with it, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_sweep, daemon=True).start()


def _end_with_sweep() -> None:
    sweep = multiprocessing.parent_process()
    assert sweep is not None
    sweep.join()
    os._exit(1)
