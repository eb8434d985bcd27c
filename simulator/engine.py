"""The engine: events in the order of their time, and at equal times in the order they were planned."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

Act = Callable[..., None]


class Engine:
    """Holds the time in ns and what is to happen; the time is where the last event was."""

    def __init__(self, now: int = 0) -> None:
        self.now = now
        self.events = 0
        """How many events have happened."""
        self._serial = 0
        self._heap: list[tuple[int, int, Act, tuple[Any, ...]]] = []

    def __len__(self) -> int:
        """Returns how many events are planned."""
        return len(self._heap)

    def at(self, time: int, act: Act, *arguments: Any) -> None:
        """Plans ``act(*arguments)`` for ``time``; what is past happens next."""
        self._serial += 1
        heapq.heappush(self._heap, (max(time, self.now), self._serial, act, arguments))

    def after(self, delay: int, act: Act, *arguments: Any) -> None:
        """Plans ``act(*arguments)`` for ``delay`` ns from now."""
        self.at(self.now + delay, act, *arguments)

    def run_until(self, end: int) -> None:
        """Lets everything happen that is due up to ``end``, which is then the time."""
        heap = self._heap
        while heap and heap[0][0] <= end:
            self._next()
        self.now = max(self.now, end)

    def run_while(self, condition: Callable[[], bool], deadline: int) -> bool:
        """Lets events happen while ``condition`` holds; False when it still did at ``deadline``."""
        while condition():
            if not self._heap or self._heap[0][0] > deadline:
                self.now = max(self.now, deadline)
                return False
            self._next()
        return True

    def _next(self) -> None:
        self.now, _, act, arguments = heapq.heappop(self._heap)
        self.events += 1
        act(*arguments)
