"""Counters of an SA that outlives a process: reserved on disk before they are used, so none repeats.

A key set by hand stays the same when the process starts again; RFC 4106 section 3.1 forbids AES-GCM
a nonce that was used. Each process starts behind all that any process before it may have used.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from protocol.security_association import LAST_COUNTER, SecurityAssociation

RESERVATION = 65_536
"""Packets that one write to the disk allows."""


class CounterFileError(Exception):
    """A counter file that cannot be used: names it and what was expected."""


class CounterFile:
    """Holds the highest counter that may have been used with one SA, and the lock on it."""

    def __init__(self, path: Path) -> None:
        """Opens and locks ``path``; raises CounterFileError when another process has it."""
        self._path = path
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CounterFileError(f"{path}: {error.strerror}") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._used = self._read()
        except BlockingIOError:
            os.close(self._descriptor)
            raise CounterFileError(f"{path}: another process uses this counter") from None
        except CounterFileError:
            os.close(self._descriptor)
            raise

    def reserve(self) -> tuple[int, int]:
        """Reserves the next counters and returns the first and the last of them (none at the end)."""
        first = self._used + 1
        last = min(self._used + RESERVATION, LAST_COUNTER)
        os.pwrite(self._descriptor, f"{last:020d}\n".encode(), 0)
        os.fsync(self._descriptor)
        self._used = last
        return first, last

    def extend(self, association: SecurityAssociation) -> None:
        """Reserves more when half of what the SA may use is used."""
        if association.last_counter - association.next_counter < RESERVATION // 2:
            association.last_counter = self.reserve()[1]

    def close(self) -> None:
        """Closes the file and gives up the lock."""
        os.close(self._descriptor)

    def _read(self) -> int:
        text = os.pread(self._descriptor, 64, 0).decode("ascii", "replace").strip()
        if not text:
            return 0
        if not text.isdecimal() or int(text) > LAST_COUNTER:
            raise CounterFileError(f"{self._path}: expected a counter, got {text[:32]!r}")
        return int(text)
