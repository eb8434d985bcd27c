"""After a client has taken over its LAN: it announces stations, so that nobody sends to where they were.

Relays know the LAN's stations behind the client before, and the LAN's own bridges those outside at its port.
Either learns from sources of frames, and a station that is silent sends none. So the client sends a small
frame in the name of each, to a group address that no station listens to, as bridges do that change over to
another link: a few at a time, each several times, since any may be lost or come while a relay holds a
move down.

Patent: Fig. 7-2 steps 712-714; table 311.
"""

from __future__ import annotations

from collections import deque
from heapq import nlargest

from protocol.client.tables import Side
from protocol.learning import LearningTable
from protocol.types import SECOND

MOST = 1024
"""Stations on each side that are announced, those seen last; a relay learns no more of one client's."""
AT_ONCE, PAUSE = 32, SECOND // 10
"""Announcements together, and ns until the next ones: 320 a second."""
ROUNDS, ROUND = 3, 2 * SECOND
"""How often each station is announced, and ns from the beginning of one round to the next at least."""
SELDOM = 8 * SECOND
"""From one beginning to the next, whatever happens."""

Stations = LearningTable[bytes, Side]


class Announcing:
    """Says which stations are to be announced, and when."""

    def __init__(self, stations: Stations) -> None:
        """Takes table 311."""
        self.announced = 0
        self._stations = stations
        self._waiting: deque[tuple[bytes, Side]] = deque()
        self._rounds = 0
        self._next_round = 0
        self._due: int | None = None
        self._not_before = 0

    def begin(self, now: int) -> None:
        """Announces all stations of either side, unless that goes on already or has been done just now."""
        if self._due is None and now >= self._not_before:
            self._rounds, self._next_round = ROUNDS, now
            self._due, self._not_before = now, now + SELDOM

    def end(self) -> None:
        """Announces no more: another client forwards."""
        self._waiting.clear()
        self._due, self._not_before = None, 0

    def next_timeout(self) -> int | None:
        """Returns when :meth:`take` is due, or None."""
        return self._due

    def take(self, now: int) -> list[tuple[bytes, Side]]:
        """Returns the stations to announce now; of those that have moved meanwhile none."""
        if self._due is None or now < self._due:
            return []
        if not self._waiting:
            self._waiting.extend(latest(self._stations, now, MOST))
            self._rounds -= 1
            self._next_round = now + ROUND
        some = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
        if self._waiting:
            self._due = now + PAUSE
        else:
            self._due = max(self._next_round, now + PAUSE) if self._rounds else None
        due = [(mac, side) for mac, side in some if self._stations.lookup(mac, now) is side]
        self.announced += len(due)
        return due


def latest(stations: Stations, now: int, most: int) -> list[tuple[bytes, Side]]:
    """Returns at most so many stations of each side, those that were seen last, the latest first."""
    rows = [(left, mac, side) for mac, side, left in stations.rows(now) if left]
    found: list[tuple[bytes, Side]] = []
    for side in Side:
        some = nlargest(most, (row for row in rows if row[2] is side), key=lambda row: row[0])
        found += [(mac, side) for _, mac, _ in some]
    return found
