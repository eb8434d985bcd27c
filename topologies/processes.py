"""Processes that are recorded when they start and of which exactly these are ended."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

_AWAKE = ("R", "D")
"""States in proc(5) of a thread that runs, waits for its turn, or for a disk."""
_DEFERRED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ProcessRecord:
    """Starts processes, each in a session of its own, and ends them with all their children."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[Any]] = []

    def start(self, command: Sequence[str], **popen_arguments: Any) -> subprocess.Popen[Any]:
        """Starts a command (no shell) and records it; OSError when it cannot be started."""
        with deferred_signals():
            process = subprocess.Popen(
                list(command), **{**popen_arguments, "shell": False, "start_new_session": True}
            )
            self._started.append(process)
        return process

    def run(
        self, command: Sequence[str], timeout: float | None = None, **popen_arguments: Any
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end and returns its exit code and what it wrote.

        `timeout` is in seconds; after it the command is ended and subprocess.TimeoutExpired
        raised. `input` among the further arguments is its standard input.
        """
        text = popen_arguments.pop("input", None)
        arguments: dict[str, Any] = {
            "stdin": subprocess.DEVNULL if text is None else subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
        }
        process = self.start(command, **{**arguments, **popen_arguments})
        try:
            output, errors = process.communicate(text, timeout)
        except BaseException:
            self._end([process], 0.0)
            raise
        finally:
            self.forget(process)
        return subprocess.CompletedProcess(list(command), process.returncode, output, errors)

    def forget(self, process: subprocess.Popen[Any]) -> None:
        """Drops a process that has ended from the record."""
        self._started.remove(process)

    def asleep(self) -> bool:
        """Tells whether nothing that was started runs at this moment, or waits for a processor to run."""
        return all(is_asleep(process.pid) for process in self._started)

    def stop(self, deadline_s: float) -> None:
        """Ends everything that still runs: SIGTERM, and after `deadline_s` seconds SIGKILL."""
        started, self._started = self._started, []
        self._end(started, deadline_s)

    @staticmethod
    def _end(processes: Sequence[subprocess.Popen[Any]], deadline_s: float) -> None:
        # A leader that nobody has waited for yet keeps its number, and so its group's, taken:
        # until then these signals cannot reach anybody else.
        ours = [process for process in processes if process.returncode is None]
        for process in ours:
            _signal_group(process, signal.SIGTERM)
        _wait_without_reaping(ours, deadline_s)
        for process in ours:
            _signal_group(process, signal.SIGKILL)
            process.wait()
        for process in processes:
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()


@contextlib.contextmanager
def deferred_signals() -> Iterator[None]:
    """Lets a step that must not be cut in two finish before Ctrl-C or SIGTERM takes effect."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []

    def remember(number: int, _frame: FrameType | None) -> None:
        arrived.append(number)

    # Handlers, not a signal mask: children would inherit the mask.
    previous = {number: signal.signal(number, remember) for number in _DEFERRED}
    try:
        yield
    finally:
        for deferred, handler in previous.items():
            signal.signal(deferred, handler)
        for number in dict.fromkeys(arrived):
            signal.raise_signal(number)


def is_asleep(process: int) -> bool:
    """Tells whether none of a process's threads runs or would: what it has read it has dealt with."""
    try:
        for thread in Path(f"/proc/{process}/task").iterdir():
            text = (thread / "stat").read_text(encoding="utf-8", errors="replace")
            if text.rpartition(")")[2].split()[0] in _AWAKE:
                return False
    except (FileNotFoundError, ProcessLookupError):
        pass  # it, or one of its threads, has ended
    return True


def _signal_group(process: subprocess.Popen[Any], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _wait_without_reaping(processes: Sequence[subprocess.Popen[Any]], deadline_s: float) -> None:
    deadline = time.monotonic() + deadline_s
    poller = select.poll()
    watched = [os.pidfd_open(process.pid) for process in processes]
    try:
        for descriptor in watched:
            poller.register(descriptor, select.POLLIN)
        waiting = len(watched)
        while waiting and (left := deadline - time.monotonic()) > 0:
            for descriptor, _ in poller.poll(left * 1000):
                poller.unregister(descriptor)
                waiting -= 1
    finally:
        for descriptor in watched:
            os.close(descriptor)
