"""One direction of a link: rate, queue, delay, and what may go wrong on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from numpy.random import Generator

from simulator.engine import Engine
from simulator.packets import Packet

SECOND = 1_000_000_000
QUEUE_OCTETS = 256 * 1024
FRAMING = 14
"""Octets that Ethernet adds to a packet on the wire, as captures count them."""


@dataclass(frozen=True)
class Impairment:
    """What may befall a packet: shares of 1, and by how much (ns) a reordered one is late."""

    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    corruption: float = 0.0
    lateness_ns: int = 2_000_000
    extra_delay_ns: int = 0
    down: bool = False


SOUND = Impairment()


class Direction:
    """Carries packets from one node to another, in order unless impaired."""

    def __init__(
        self,
        engine: Engine,
        chance: Generator,
        deliver: Callable[[Packet], None],
        delay_ns: int,
        rate_bits: int | None,
        queue_octets: int = QUEUE_OCTETS,
    ) -> None:
        """Takes whom to give packets; a link without ``rate_bits`` has no queue."""
        self.impairment = SOUND
        self.counts: Counter[str] = Counter()
        """``sent`` and ``arrived`` packets, and those that were ``lost`` and so on."""
        self.delay_ns = delay_ns
        self._engine = engine
        self._chance = chance
        self._deliver = deliver
        self._rate_bits = rate_bits
        self._queue_octets = queue_octets
        self._free_at = 0

    def send(self, packet: Packet) -> None:
        """Puts a packet on the link."""
        self.counts["sent"] += 1
        leaves = self._leaves(packet)
        if leaves is None:
            self.counts["queue_full"] += 1
            return
        arrives = leaves + self.delay_ns
        if self.impairment is SOUND:
            self._engine.at(arrives, self._arrive, packet)
        else:
            self._send_impaired(packet, arrives)

    def _leaves(self, packet: Packet) -> int | None:
        """Returns when the last bit is on the wire; None when the queue has no room."""
        now = self._engine.now
        if self._rate_bits is None:
            return now
        waiting = max(0, self._free_at - now) * self._rate_bits // (8 * SECOND)
        if waiting + packet.length > self._queue_octets:
            return None
        octets = packet.length + FRAMING
        self._free_at = max(now, self._free_at) + octets * 8 * SECOND // self._rate_bits
        return self._free_at

    def _send_impaired(self, packet: Packet, arrives: int) -> None:
        """Draws the same number of times for each packet, so that one fault shifts no other."""
        impairment = self.impairment
        lost, doubled, late, spoilt = self._chance.random(4)
        place = int(self._chance.integers(1 << 16))
        if impairment.down or lost < impairment.loss:
            self.counts["lost"] += 1
            return
        if spoilt < impairment.corruption:
            self.counts["corrupted"] += 1
            packet = packet.corrupted(place)
        arrives += impairment.extra_delay_ns
        if late < impairment.reordering:
            self.counts["late"] += 1
            arrives += impairment.lateness_ns
        self._engine.at(arrives, self._arrive, packet)
        if doubled < impairment.duplication:
            self.counts["duplicated"] += 1
            self._engine.at(arrives, self._arrive, packet)

    def _arrive(self, packet: Packet) -> None:
        self.counts["arrived"] += 1
        self._deliver(packet)
