"""One timer for one sans-IO object: armed for what ``next_timeout`` says, after everything that happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

NANOSECONDS = 1e-9

now = time.monotonic_ns
"""The time that the protocol is given, in ns."""


class Timer:
    """Calls back at a time in ns; set again, it forgets the time before."""

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._handle: asyncio.TimerHandle | None = None
        self._due: int | None = None

    def set(self, due: int | None) -> None:
        """Arms the timer for ``due``, or disarms it."""
        if due == self._due:
            return
        if self._handle is not None:
            self._handle.cancel()
        self._due, self._handle = due, None
        if due is not None:
            delay = max(0.0, (due - now()) * NANOSECONDS)
            self._handle = self._loop.call_later(delay, self._fire)

    def _fire(self) -> None:
        self._due = self._handle = None
        self._callback()
