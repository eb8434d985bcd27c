"""Gives each client a VPN server: the nearest that is up, and another when that is gone.

The client measures; the server that it gets is told of the client first, then the client of the server,
so that no frame of a registered client meets a server that does not know it.

Patent: Figs. 15, 16 (the representative tells a client the nearest VPN server); effect E4.
"""

from __future__ import annotations

from collections.abc import Callable

from protocol.management.actions import Action, MemberMoved, SendMessage
from protocol.management.connections import Connection, State
from protocol.management.members import Members
from protocol.management.registration import Registration
from protocol.management.relay_keys import RelayKeys
from protocol.management.servers import Relays
from protocol.types import SECOND, Address, ClientId, RandomOctets, Secret
from protocol.wire.codec import Endpoint
from protocol.wire.messages import Candidate, Candidates, Measured, NewRelay
from protocol.wire.probe import TOKEN_LENGTH

PROBES = 20
PROBE_INTERVAL = 10
"""Milliseconds between two probes to one server."""
PROBING_TIME = 10 * SECOND
WAITING_TIME = 60 * SECOND
"""How long a client may measure, and how long it waits while no VPN server is up."""


class Placement:
    """Knows which client is at which VPN server."""

    def __init__(
        self,
        relays: Relays,
        members: Members,
        registration: Registration,
        relay_keys: RelayKeys,
        random_octets: RandomOctets,
        act: Callable[[Action], None],
        open_at: int = 0,
    ) -> None:
        """Takes the servers, what goes on with a client that has one, and where actions go.

        Up to ``open_at`` clients wait for servers that are not up yet, so that they can choose.
        """
        self.token = Secret(random_octets(TOKEN_LENGTH))
        """What VPN servers answer probes to, and nobody else's datagrams."""
        assert relays.servers is not None
        self._relays = relays
        self._servers = relays.servers
        self._members = members
        self._registration = registration
        self._relay_keys = relay_keys
        self._act = act
        self._open_at = open_at
        self._waiting: dict[int, Connection] = {}
        self._placed: dict[ClientId, Connection] = {}
        self._stranded: dict[ClientId, Connection] = {}

    # -- what clients do

    def place(self, known: Connection, now: int) -> None:
        """Goes on with a client whose password was right: it measures, waits, or is admitted."""
        up = self._servers.up()
        if not up or (now < self._open_at and len(up) < len(self._servers)):
            known.state, known.deadline = State.WAITING, now + WAITING_TIME
            self._waiting[known.number] = known
            return
        if len(up) > 1 and known.distances is None:
            known.state, known.deadline = State.PROBING, now + PROBING_TIME
            servers = tuple(Candidate(one.name, Endpoint.of(one.address)) for one in up)
            message = Candidates(self.token, PROBES, PROBE_INTERVAL, servers)
            self._act(SendMessage(known.number, message))
            return
        nearest = self._servers.nearest(known.distances or {})
        assert nearest is not None
        known.state, known.server = State.PLACING, nearest.name
        if self._registration.admit(known, now):
            assert known.member is not None
            self._placed[known.member.client_id] = known
            self._servers.count(nearest.name, 1)

    def measured(self, known: Connection, message: Measured, now: int) -> None:
        """Takes what a client has measured; a server that never answered counts as far."""
        known.distances = {
            one.server: one.minimum_rtt for one in message.measurements if one.answered
        }
        self.place(known, now)

    def forget(self, known: Connection) -> None:
        """Forgets a client that has gone."""
        self._waiting.pop(known.number, None)
        if known.member is None or known.member.client_id not in self._placed:
            return
        del self._placed[known.member.client_id]
        if self._stranded.pop(known.member.client_id, None) is None:
            assert known.server is not None
            self._servers.count(known.server, -1)

    # -- what servers do

    def server_up(self, name: str, now: int) -> None:
        """Has a server take clients, first those that wait."""
        self._servers.set_up(name, True)
        stranded, self._stranded = self._stranded, {}
        for known in stranded.values():
            self._move(known)
        self._place_waiting(now)

    def server_down(self, name: str) -> None:
        """Gives every client of a server that is gone its next nearest."""
        self._servers.set_up(name, False)
        for client_id, known in list(self._placed.items()):
            if known.server == name and client_id not in self._stranded:
                self._servers.count(name, -1)
                self._move(known)

    def placed(self, client_id: ClientId, server: str, now: int) -> None:
        """Tells the client of its server, now that the server knows of the client."""
        known = self._placed.get(client_id)
        if known is None or known.server != server or client_id in self._stranded:
            return
        moving, known.moving = known.moving, False
        if known.state is State.PLACING:
            self._registration.complete(known, now)
        elif moving:
            message = NewRelay(*self._relays.of(server), known.hop_key, known.binding_key)
            self._act(SendMessage(known.number, message))

    def bound(self, client_id: ClientId, address: Address) -> None:
        """Notes where a client has shown its server to be."""
        self._members.bound(client_id, address)

    # -- time

    def next_timeout(self) -> int | None:
        """Returns when :meth:`handle_timeout` is due, or None."""
        return self._open_at if self._waiting and self._open_at else None

    def handle_timeout(self, now: int) -> None:
        """Waits no longer for servers that are not up."""
        if self._open_at and now >= self._open_at:
            self._open_at = 0
            self._place_waiting(now)

    def _place_waiting(self, now: int) -> None:
        waiting, self._waiting = self._waiting, {}
        for known in waiting.values():
            self.place(known, now)

    def _move(self, known: Connection) -> None:
        assert known.member is not None
        nearest = self._servers.nearest(known.distances or {})
        if nearest is None:
            self._stranded[known.member.client_id] = known
            return
        known.server, known.moving = nearest.name, True
        known.member = self._relay_keys.renew(known.member)
        self._servers.count(nearest.name, 1)
        self._act(MemberMoved(known.member, nearest.name))
