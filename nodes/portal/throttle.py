"""Slows down who guesses passwords: so many tries in a while, for a place, a name, and both together."""

from __future__ import annotations

from collections import deque
from ipaddress import ip_address, ip_network

from protocol.types import SECOND

WINDOW = 300 * SECOND
TRIES_OF_PAIR = 5
TRIES_OF_PLACE = 30
TRIES_OF_NAME = 60
"""More for a name alone: whoever knows an administrator's name must not lock them out easily."""
KEYS = 8192
"""So many places and names are remembered; the ones that were first seen longest ago make room."""


class Throttle:
    """Counts tries, before they are checked, so that many at once count too; times in ns."""

    def __init__(self) -> None:
        self._tries: dict[tuple[str, str], deque[int]] = {}

    def attempt(self, name: str, peer: str, now: int) -> int:
        """Counts one try; returns 0 if it may go on, else how long to wait, and counts nothing."""
        limits = self._limits(name, peer)
        waits = [self._wait(key, limit, now) for key, limit in limits.items()]
        if max(waits) == 0:
            for key in limits:
                self._tries.setdefault(key, deque()).append(now)
            while len(self._tries) > KEYS:
                del self._tries[next(iter(self._tries))]
        return max(waits)

    def succeeded(self, name: str, peer: str) -> None:
        """Takes a try back that was none: its password was right."""
        pair, *others = self._limits(name, peer)
        self._tries.pop(pair, None)
        for key in others:
            tries = self._tries.get(key)
            if tries:
                tries.pop()

    def _wait(self, key: tuple[str, str], limit: int, now: int) -> int:
        tries = self._tries.get(key)
        if tries is None:
            return 0
        while tries and now - tries[0] >= WINDOW:
            tries.popleft()
        if not tries:
            del self._tries[key]
        return WINDOW - (now - tries[0]) if len(tries) >= limit else 0

    @staticmethod
    def _limits(name: str, peer: str) -> dict[tuple[str, str], int]:
        place = _place(peer)
        return {
            (name, place): TRIES_OF_PAIR,
            ("", place): TRIES_OF_PLACE,
            (name, ""): TRIES_OF_NAME,
        }


def _place(peer: str) -> str:
    """Returns what one person can be assumed to have: an IPv4 address, or an IPv6 network of 64 bits."""
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    if address.version == 4:
        return str(address)
    return str(ip_network((int(address) >> 64 << 64, 64)))
