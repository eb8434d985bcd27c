"""A client's LAN: a learning bridge with terminals and the client on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from protocol.wire.ethernet import is_station
from simulator.engine import Engine

Receive = Callable[[bytes], None]
DELAY = 1_000
"""ns from one port to another."""
MINIMUM = 14


class Lan:
    """Hands frames from one port to another, or to all others while it does not know better."""

    def __init__(self, engine: Engine) -> None:
        self.counts: Counter[str] = Counter()
        """Frames that left by each port."""
        self.taps: dict[str, Receive] = {}
        """Who wants to see what passes a port, either way; by the port's name."""
        self._engine = engine
        self._ports: dict[str, Receive] = {}
        self._places: dict[bytes, str] = {}

    def connect(self, name: str, receive: Receive) -> None:
        """Adds a port, by the name of the node there."""
        self._ports[name] = receive

    def disconnect(self, name: str) -> None:
        """Has nobody listen at a port."""
        self._ports[name] = _nobody

    def send(self, name: str, frame: bytes) -> None:
        """Takes a frame of the node at a port."""
        destination, source = frame[:6], frame[6:12]
        if len(frame) < MINIMUM:
            return
        if name in self.taps:
            self.taps[name](frame)
        if is_station(source):
            self._places[source] = name
        place = self._places.get(destination)
        if place is not None:
            if place != name:
                self._give(place, frame)
            return
        for port in self._ports:
            if port != name:
                self._give(port, frame)

    def _give(self, port: str, frame: bytes) -> None:
        self.counts[port] += 1
        if port in self.taps:
            self.taps[port](frame)
        self._engine.after(DELAY, self._arrive, port, frame)

    def _arrive(self, port: str, frame: bytes) -> None:
        self._ports[port](frame)


def _nobody(frame: bytes) -> None:
    """Takes no notice."""
