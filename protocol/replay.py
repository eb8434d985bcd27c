"""The anti-replay window of one sender: check before the ICV, mark after it holds (RFC 4303 3.4.3).

RFC 4303 offers no replay protection where several senders share an SA; a window for each sender ID
of RFC 6054 brings it back.
"""

from __future__ import annotations

WINDOW = 1024
"""Counters behind the newest that may still arrive late."""

_MASK = (1 << WINDOW) - 1


class ReplayWindow:
    """Which of the last ``WINDOW`` counters of a sender were accepted."""

    __slots__ = ("_newest", "_seen")

    def __init__(self) -> None:
        self._newest = 0
        self._seen = 0

    def check(self, counter: int) -> bool:
        """Tells whether ``counter`` may be new: not accepted yet, not behind the window, not 0."""
        behind = self._newest - counter
        if behind < 0:
            return True
        return counter > 0 and behind < WINDOW and not self._seen >> behind & 1

    def is_ahead(self, counter: int) -> bool:
        """Tells whether ``counter`` is above all that were accepted."""
        return counter > self._newest

    def mark_run(self, first: int, count: int) -> None:
        """Notes ``count`` counters from ``first`` on, which is ahead of all others."""
        ahead = first + count - 1 - self._newest
        before = self._seen << ahead if ahead < WINDOW else 0
        self._seen = (before | (1 << count) - 1) & _MASK
        self._newest += ahead

    def mark(self, counter: int) -> None:
        """Notes ``counter`` as accepted; call it only for a packet whose ICV holds."""
        ahead = counter - self._newest
        if ahead > 0:
            self._seen = (self._seen << ahead | 1) & _MASK if ahead < WINDOW else 1
            self._newest = counter
        else:
            self._seen |= 1 << -ahead
