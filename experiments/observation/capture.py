"""Captures what passes on the wire: pcapng files written by dumpcap inside a node's network namespace."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from experiments.traffic.terminals import settle
from topologies.processes import is_asleep

_READY_SECONDS = 30.0
_QUIET_SECONDS = 0.3
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.02
_MERGE_SECONDS = 120.0
_BUFFER_MEBIBYTES = "32"
_DROPPED = re.compile(r"on interface '(?:[^']*: )?([^':]+)': (\d+)/(\d+)")


class CaptureError(RuntimeError):
    """Says why a capture could not be made or read."""


class Popen(Protocol):
    """Starts a process in a node's namespace: ``popen(node, argv, **popen_arguments)``."""

    def __call__(
        self, node: str, argv: Sequence[str], **arguments: object
    ) -> subprocess.Popen[Any]:
        """Starts the process."""


@dataclass(frozen=True)
class CaptureCount:
    """Counts the packets of one interface that were captured, and those lost for want of buffer."""

    captured: int
    lost: int


class Capture:
    """Captures on a node's interfaces while its ``with`` block runs.

    It is ready when the block begins. At its end it waits until the file grows no more (or for half a
    minute), so that packets still on their way through the kernel are in it, and then ends the
    capture in order, so that the file is whole. ``counts`` is filled then.
    """

    def __init__(
        self,
        popen: Popen,
        node: str,
        interfaces: Sequence[str],
        path: Path,
        capture_filter: str = "",
    ) -> None:
        if not interfaces:
            raise CaptureError(f"capture at {node}: expected at least one interface")
        self.path = path
        self.counts: dict[str, CaptureCount] = {}
        self._popen = popen
        self._node = node
        self._interfaces = tuple(interfaces)
        self._filter = capture_filter
        self._log = path.with_name(path.name + ".log")
        self._process: subprocess.Popen[Any] | None = None

    def __enter__(self) -> Capture:
        """Starts the capture and waits until it runs; raises CaptureError when it does not."""
        argv = ["dumpcap", "-q", "-B", _BUFFER_MEBIBYTES, "-w", str(self.path)]
        for interface in self._interfaces:
            argv += ["-i", interface] + (["-f", self._filter] if self._filter else [])
        with self._log.open("wb") as log:
            self._process = self._popen(
                self._node, argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self._end(self._process)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends the capture and reads how much was captured and lost."""
        if self._process is None:
            return
        if kind is None:
            self._wait_until_quiet(self._process.pid)
        self._end(self._process)
        self.counts = {
            name: CaptureCount(int(captured), int(lost))
            for name, captured, lost in _DROPPED.findall(self._log_text())
        }

    def _log_text(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def _wait_until_ready(self, process: subprocess.Popen[Any]) -> None:
        """Waits for the line that dumpcap prints once interfaces and file are open."""
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                break
            if "File: " in self._log_text() and self.path.exists() and self.path.stat().st_size:
                return
            time.sleep(_POLL_SECONDS)
        names = ", ".join(self._interfaces)
        raise CaptureError(f"capture at {self._node} on {names}: {self._log_text().strip()}")

    def _wait_until_quiet(self, process: int) -> None:
        """Waits until the file has not grown for a while, though dumpcap had a processor."""
        settle(
            lambda: self.path.stat().st_size,
            _QUIET_SECONDS,
            _STOP_SECONDS,
            asleep=lambda: is_asleep(process),
        )

    @staticmethod
    def _end(process: subprocess.Popen[Any]) -> None:
        """Ends dumpcap in order, and by force only if it does not obey."""
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def merge(paths: Sequence[Path], merged: Path, begin: float, end: float) -> Path:
    """Makes one capture of several, by time, with their interfaces' names; returns its path.

    Of several, only packets from ``begin`` to ``end`` (Unix time, s) are taken: captures start and end
    one after the other, so that others are seen at one place and not at the next. One alone is kept
    as it is.
    """
    if len(paths) == 1:
        return paths[0].replace(merged)
    whole = merged.with_name(f"whole-{merged.name}")
    _run_wireshark(["mergecap", "-w", str(whole), *map(str, paths)])
    first, last = (
        datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")
        for at in (begin, end)
    )
    _run_wireshark(["editcap", "-A", first, "-B", last, str(whole), str(merged)])
    whole.unlink()
    return merged


def _run_wireshark(argv: list[str]) -> None:
    """Runs a program of Wireshark's, for which times without a zone are UTC."""
    try:
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "TZ": "UTC"},
            timeout=_MERGE_SECONDS,
        )
    except FileNotFoundError as error:
        raise CaptureError(f"{argv[0]} is missing") from error
    if done.returncode:
        raise CaptureError(f"{argv[0]}: {done.stderr.strip()}")
