"""A table that learns where stations are: newest wins, but not too often; what is silent is forgotten.

Tables 509 (server) and 311 (client) are both of this kind.

Patent: Fig. 4-2 table 311; Fig. 6-4 table 509.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Place = TypeVar("Place", bound=Hashable)


class Learnt(Enum):
    """What a sighting did to the table."""

    NEW = "new"
    REFRESHED = "refreshed"
    MOVED = "moved"
    HELD_DOWN = "held_down"
    """The station was elsewhere a moment ago: the table stays as it is."""
    FULL = "full"
    """The place has as many stations as it may have: the table stays as it is."""


@dataclass(slots=True)
class Entry(Generic[Place]):
    """Where a station is, and the times (ns) it was seen there first and last."""

    place: Place
    since: int
    last_seen: int


class LearningTable(Generic[Key, Place]):
    """Maps stations to places, with a lifetime, a hold-down for moves and a cap for each place."""

    def __init__(self, lifetime: int, hold_down: int, capacity: int) -> None:
        """Takes lifetime and hold-down in ns, and how many stations one place may have."""
        self.lifetime = lifetime
        self.hold_down = hold_down
        self.capacity = capacity
        self._entries: dict[Key, Entry[Place]] = {}
        self._stations_at: Counter[Place] = Counter()

    def __len__(self) -> int:
        return len(self._entries)

    def lookup(self, key: Key, now: int) -> Place | None:
        """Returns the station's place, or None when it is not known or its lifetime is over."""
        entry = self.entry(key, now)
        return entry.place if entry else None

    def entry(self, key: Key, now: int) -> Entry[Place] | None:
        """Returns the station's entry, or None; one whose lifetime is over stays until ``expire``."""
        entry = self._entries.get(key)
        if entry is not None and now - entry.last_seen >= self.lifetime:
            return None
        return entry

    def learn(self, key: Key, place: Place, now: int, capacity: int | None = None) -> Learnt:
        """Notes that the station was seen at ``place`` and tells what that changed.

        ``capacity`` is the place's own, where it is not everyone's.
        """
        entry = self.entry(key, now)
        if entry is not None and entry.place == place:
            if now > entry.last_seen:
                entry.last_seen = now
            return Learnt.REFRESHED
        if entry is not None and now - entry.since < self.hold_down:
            return Learnt.HELD_DOWN
        expired = self._entries.get(key)
        leaving = expired is not None and expired.place == place
        room = self.capacity if capacity is None else capacity
        if self._stations_at[place] - leaving >= room:
            return Learnt.FULL
        if key in self._entries:
            self._remove(key)
        self._entries[key] = Entry(place, since=now, last_seen=now)
        self._stations_at[place] += 1
        return Learnt.NEW if entry is None else Learnt.MOVED

    def renew(self, place: Place, now: int) -> None:
        """Notes that every station at ``place`` was seen there now."""
        for entry in self._entries.values():
            if entry.place == place:
                entry.last_seen = now

    def forget(self, key: Key) -> bool:
        """Forgets one station; False when it was not known."""
        if key not in self._entries:
            return False
        self._remove(key)
        return True

    def purge(self, place: Place) -> int:
        """Forgets every station at ``place`` and returns how many there were."""
        keys = [key for key, entry in self._entries.items() if entry.place == place]
        for key in keys:
            self._remove(key)
        return len(keys)

    def replace(self, place: Place, other: Place) -> None:
        """Has what stands for a place be another, which has no stations; each keeps its times."""
        for entry in self._entries.values():
            if entry.place == place:
                entry.place = other
        if place in self._stations_at:
            self._stations_at[other] = self._stations_at.pop(place)

    def expire(self, now: int) -> list[Key]:
        """Forgets every station whose lifetime is over and returns them."""
        keys = [
            key for key, entry in self._entries.items() if now - entry.last_seen >= self.lifetime
        ]
        for key in keys:
            self._remove(key)
        return keys

    def rows(self, now: int) -> Iterator[tuple[Key, Place, int]]:
        """Yields (station, place, remaining lifetime in ns), oldest station first."""
        for key, entry in self._entries.items():
            yield key, entry.place, max(0, entry.last_seen + self.lifetime - now)

    def _remove(self, key: Key) -> None:
        place = self._entries.pop(key).place
        self._stations_at[place] -= 1
        if not self._stations_at[place]:
            del self._stations_at[place]
