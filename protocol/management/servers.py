"""Where clients send datagrams: to the key server's own relay, or to the nearest of several VPN servers.

Patent: Fig. 15 parts 1501-1503; Fig. 16; effect E4.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from protocol.types import Address, ServerDelivery
from protocol.wire.codec import Endpoint

EQUALLY_NEAR = 500
"""Round-trip times that differ by no more than this, in us, count as equal: load decides."""


@dataclass(frozen=True)
class VpnServer:
    """A server that relays and holds no key: its name, and where clients send datagrams."""

    name: str
    address: Address


class VpnServers:
    """Which servers there are, which of them are up, and how many clients each has."""

    def __init__(self, servers: Iterable[VpnServer]) -> None:
        self._servers = {server.name: server for server in servers}
        self._up: set[str] = set()
        self._clients = dict.fromkeys(self._servers, 0)

    def __len__(self) -> int:
        return len(self._servers)

    def __iter__(self) -> Iterator[VpnServer]:
        yield from self._servers.values()

    def at(self, name: str) -> VpnServer:
        """Returns the server of that name; KeyError when there is none."""
        return self._servers[name]

    def up(self) -> tuple[VpnServer, ...]:
        """Returns the servers that can take clients."""
        return tuple(server for name, server in self._servers.items() if name in self._up)

    def set_up(self, name: str, up: bool) -> None:
        """Notes whether a server can take clients."""
        if up:
            self._up.add(name)
        else:
            self._up.discard(name)

    def count(self, name: str, change: int) -> None:
        """Counts a client that a server was given, or has lost."""
        self._clients[name] += change

    def clients(self, name: str) -> int:
        """Returns how many clients a server has."""
        return self._clients[name]

    def nearest(self, distances: Mapping[str, int]) -> VpnServer | None:
        """Returns the server to use: the least round-trip time, among equals the fewest clients.

        ``distances`` are round-trip times in us; a server without one comes last. None: none is up.
        """
        up = self.up()
        if not up:
            return None
        known = [distances[server.name] for server in up if server.name in distances]
        if known:
            reach = min(known) + EQUALLY_NEAR
            up = tuple(s for s in up if distances.get(s.name, reach + 1) <= reach)
        return min(up, key=lambda server: (self._clients[server.name], server.name))


class Relays:
    """Where clients send, and whose datagrams they accept."""

    def __init__(self, relay: Address | VpnServers, delivery: ServerDelivery) -> None:
        """Takes the own data address, or the VPN servers and who of them sends to a client."""
        self.servers = relay if isinstance(relay, VpnServers) else None
        self._own = relay if isinstance(relay, Address) else None
        self._delivery = delivery

    def addresses(self) -> frozenset[Address]:
        """Returns the data address of each."""
        if self._own is not None:
            return frozenset((self._own,))
        return frozenset(server.address for server in self.servers or ())

    def of(self, server: str | None) -> tuple[Endpoint, tuple[Endpoint, ...]]:
        """Returns where a client of ``server`` sends, and whose datagrams it accepts."""
        if server is None:
            assert self._own is not None
            own = Endpoint.of(self._own)
            return own, (own,)
        assert self.servers is not None
        own = Endpoint.of(self.servers.at(server).address)
        if self._delivery == "cascade":
            return own, (own,)
        return own, tuple(Endpoint.of(one.address) for one in self.servers)
