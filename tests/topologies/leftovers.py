"""Finds what a network has left behind."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Watched:
    """Processes, and the network namespaces they were in, by inode; without our own."""

    processes: tuple[psutil.Process, ...]
    namespaces: frozenset[int]

    def left(self) -> list[str]:
        """Names the watched processes that still run and any process in a watched namespace."""
        running = [str(process) for process in self.processes if process.is_running()]
        return running + [str(pid) for pid, inode in _everybody() if inode in self.namespaces]


@contextlib.contextmanager
def watched(processes: Iterable[psutil.Process]) -> Iterator[Watched]:
    """Watches processes and their namespaces for a while.

    The namespaces are held open meanwhile: the kernel gives their numbers to new ones otherwise.
    Processes that have ended already are left out.
    """
    known = tuple(processes)
    held: list[int] = []
    try:
        for process in known:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                held.append(os.open(f"/proc/{process.pid}/ns/net", os.O_RDONLY))
        inodes = {os.fstat(descriptor).st_ino for descriptor in held}
        yield Watched(known, frozenset(inodes - {os.stat("/proc/self/ns/net").st_ino}))
    finally:
        for descriptor in held:
            os.close(descriptor)


def links_here() -> set[str]:
    """Names the links of our own namespace."""
    return {entry.name for entry in Path("/sys/class/net").iterdir()}


def _everybody() -> Iterator[tuple[int, int]]:
    for process in psutil.process_iter():
        try:
            yield process.pid, os.stat(f"/proc/{process.pid}/ns/net").st_ino
        except OSError:
            continue
