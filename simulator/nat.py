"""A router that translates addresses: one outside for all behind it, and a port for each of their ports.

After RFC 4787: the mapping of an inner address and port is the same whatever the destination; whether it
keeps the port, who may answer, and how long it lasts without a datagram from inside, can be chosen.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from protocol.types import SECOND, IpAddress
from simulator.packets import UDP, Packet

Inner = tuple[IpAddress, int]
Ports = Literal["preserve", "change"]
FIRST_PORT, LAST_PORT = 1_024, 65_535
LIFETIME = 120 * SECOND
"""What RFC 4787 asks for at least."""


@dataclass
class _Mapping:
    inner: Inner
    port: int
    last_sent: int
    correspondents: set[tuple[IpAddress, int]] = field(default_factory=set)


class Nat:
    """Translates what leaves by one interface, and what comes back."""

    def __init__(
        self,
        outside: str,
        address: IpAddress,
        ports: Ports = "preserve",
        lifetime: int = LIFETIME,
        filters: bool = True,
    ) -> None:
        """Takes the interface and its address, and how long (ns) a mapping lasts that sends nothing.

        ``preserve`` keeps a port unless another has it, ``change`` never does. One that ``filters``
        lets in only what comes from an address and port that was sent to.
        """
        self.outside = outside
        self.address = address
        self.counts: Counter[str] = Counter()
        """``out`` and ``back``, and what was dropped: ``protocol``, ``unknown_port``, ``filtered``."""
        self.keeps_ports = ports == "preserve"
        self._lifetime = lifetime
        self._filters = filters
        self._by_inner: dict[Inner, _Mapping] = {}
        self._by_port: dict[int, _Mapping] = {}
        self._next_port = FIRST_PORT

    def restart(self) -> None:
        """Forgets every mapping."""
        self._by_inner.clear()
        self._by_port.clear()

    def out(self, packet: Packet, now: int) -> Packet | None:
        """Returns a packet from inside as it leaves; None when it is no datagram."""
        if packet.protocol != UDP:
            self.counts["protocol"] += 1
            return None
        mapping = self._mapping((packet.source, packet.ports[0]), now)
        mapping.last_sent = now
        mapping.correspondents.add((packet.destination, packet.ports[1]))
        self.counts["out"] += 1
        return packet._replace(source=self.address, ports=(mapping.port, packet.ports[1]))

    def back(self, packet: Packet, now: int) -> Packet | None:
        """Returns a packet to the outside address as it goes on inside; None when nobody awaits it."""
        mapping = self._by_port.get(packet.ports[1]) if packet.protocol == UDP else None
        if mapping is None or now - mapping.last_sent >= self._lifetime:
            self.counts["unknown_port"] += 1
            return None
        if self._filters and (packet.source, packet.ports[0]) not in mapping.correspondents:
            self.counts["filtered"] += 1
            return None
        self.counts["back"] += 1
        address, port = mapping.inner
        return packet._replace(destination=address, ports=(packet.ports[0], port))

    def _mapping(self, inner: Inner, now: int) -> _Mapping:
        found = self._by_inner.get(inner)
        if found is not None and now - found.last_sent < self._lifetime:
            return found
        if found is not None:
            del self._by_port[found.port]
        mapping = _Mapping(inner, self._port(inner[1], now), now)
        self._by_inner[inner] = self._by_port[mapping.port] = mapping
        return mapping

    def _port(self, wanted: int, now: int) -> int:
        """Finds a port that nobody has; with every one taken the mapping that was silent longest goes."""
        if self.keeps_ports and self._is_free(wanted, now):
            return wanted
        for _ in range(FIRST_PORT, LAST_PORT + 1):
            port = self._next_port
            self._next_port = FIRST_PORT if port == LAST_PORT else port + 1
            if port != wanted and self._is_free(port, now):
                return port
        oldest = min(self._by_port.values(), key=lambda one: one.last_sent)
        self._forget(oldest)
        return oldest.port

    def _is_free(self, port: int, now: int) -> bool:
        taken = self._by_port.get(port)
        if taken is not None and now - taken.last_sent >= self._lifetime:
            self._forget(taken)
            return True
        return taken is None

    def _forget(self, mapping: _Mapping) -> None:
        del self._by_port[mapping.port]
        del self._by_inner[mapping.inner]
