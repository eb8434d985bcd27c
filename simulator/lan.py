"""A client's LAN: a learning bridge with terminals and clients on it, and what may go wrong with it.

A frame that is spoilt on its way is lost, as Ethernet's check has it, and no bridge doubles one. A claim's
own octets may be altered or doubled all the same: who is on the LAN can send what he likes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection

from numpy.random import Generator

from protocol.wire.claim import is_claim
from protocol.wire.ethernet import HEADER_LENGTH, is_station
from simulator.engine import Engine
from simulator.links import SOUND, Impairment

Receive = Callable[[bytes], None]
DELAY = 1_000
"""ns from one port to another."""
MINIMUM = 14


class Lan:
    """Hands frames from one port to another, or to all others while it does not know better."""

    def __init__(self, engine: Engine, chance: Generator) -> None:
        self.counts: Counter[str] = Counter()
        """Frames that left by each port."""
        self.taps: dict[str, Receive] = {}
        """Who wants to see what passes a port, either way; by the port's name."""
        self.mended_at = -(1 << 62)
        """When the last thing that went wrong here was over."""
        self._engine = engine
        self._chance = chance
        self._ports: dict[str, Receive] = {}
        self._places: dict[bool, dict[bytes, str]] = {False: {}, True: {}}
        """Stations' ports as the bridge has learned them, and those of the part that is cut off."""
        self._impaired: dict[str, Impairment] = {}
        self._apart: frozenset[str] = frozenset()

    @property
    def is_sound(self) -> bool:
        """Whether nothing goes wrong here now."""
        return not self._impaired and not self._apart

    def connect(self, name: str, receive: Receive) -> None:
        """Adds a port, by the name of the node there."""
        self._ports[name] = receive

    def disconnect(self, name: str) -> None:
        """Has nobody listen at a port."""
        self._ports[name] = _nobody

    def impair(self, name: str, impairment: Impairment) -> None:
        """Impairs what passes a port, either way."""
        if impairment is not SOUND:
            self._impaired[name] = impairment
        elif self._impaired.pop(name, None) is not None:
            self.mended_at = self._engine.now

    def split(self, apart: Collection[str]) -> None:
        """Cuts the LAN in two, these ports on one side; joins it again when there are none."""
        if self._apart and not apart:
            self.mended_at = self._engine.now
        self._apart = frozenset(apart)
        known = self._places[True] | self._places[False]
        for part in (False, True):
            self._places[part] = {
                mac: port for mac, port in known.items() if (port in self._apart) is part
            }

    def send(self, name: str, frame: bytes) -> None:
        """Takes a frame of the node at a port."""
        if len(frame) < MINIMUM:
            return
        if name in self.taps:
            self.taps[name](frame)
        self._pass(name, frame, 0, self._switch, name)

    def _switch(self, name: str, frame: bytes) -> None:
        destination, source = frame[:6], frame[6:12]
        part = name in self._apart
        places = self._places[part]
        if is_station(source):
            places[source] = name
        place = places.get(destination)
        for port in self._ports if place is None else (place,):
            if port != name and (port in self._apart) is part:
                self._give(port, frame)

    def _give(self, port: str, frame: bytes) -> None:
        self.counts[port] += 1
        if port in self.taps:
            self.taps[port](frame)
        self._pass(port, frame, DELAY, self._arrive, port)

    def _pass(
        self, port: str, frame: bytes, delay: int, act: Callable[[str, bytes], None], name: str
    ) -> None:
        """Has a frame pass a port, with what befalls it there."""
        impairment = self._impaired.get(port)
        if impairment is not None:
            self._pass_impaired(impairment, frame, delay, act, name)
        elif delay:
            self._engine.after(delay, act, name, frame)
        else:
            act(name, frame)

    def _pass_impaired(
        self,
        impairment: Impairment,
        frame: bytes,
        delay: int,
        act: Callable[[str, bytes], None],
        name: str,
    ) -> None:
        lost, doubled, late, spoilt = self._chance.random(4)
        place = int(self._chance.integers(1 << 16))
        if impairment.down or lost < impairment.loss:
            return
        if spoilt < impairment.corruption:
            if not is_claim(frame):
                return
            frame = _altered(frame, place)
        delay += impairment.extra_delay_ns + (late < impairment.reordering) * impairment.lateness_ns
        for _ in range(1 + (doubled < impairment.duplication and is_claim(frame))):
            self._engine.after(delay, act, name, frame)

    def _arrive(self, port: str, frame: bytes) -> None:
        self._ports[port](frame)


def _altered(frame: bytes, place: int) -> bytes:
    """Returns a claim with one bit behind its Ethernet header turned over."""
    octets = bytearray(frame)
    octets[HEADER_LENGTH + place // 8 % (len(octets) - HEADER_LENGTH)] ^= 1 << place % 8
    return bytes(octets)


def _nobody(frame: bytes) -> None:
    """Takes no notice."""
