"""User VPN management 511 as one object: what its driver calls, and whose part that is.

A connection is an ordered stream of messages from one client; the driver numbers them. With VPN servers a
client is given the nearest, and told so once that server knows of it.

Patent: Fig. 5-2 part 511; Fig. 7-1 steps 701-708; Figs. 11, 15, 16; tables 506-508; claims 1-5, 11.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from enum import Enum

from protocol.management.actions import Action, SendMessage
from protocol.management.changed_users import ChangedUsers
from protocol.management.connections import Connection, Connections, State
from protocol.management.group_keys import GroupKeys
from protocol.management.members import Members
from protocol.management.placement import Placement
from protocol.management.registration import Registration
from protocol.management.rekeying import Rekeying
from protocol.management.relay_keys import RelayKeys
from protocol.management.servers import Relays, VpnServers
from protocol.management.tables import GroupConfiguration, MulticastAddressTable, UserRecord
from protocol.relay.tables import Member
from protocol.types import (
    SECOND,
    Address,
    ClientId,
    MemberDelivery,
    RandomOctets,
    ServerDelivery,
)
from protocol.wire.messages import (
    ClientMessage,
    KeepAlive,
    Leave,
    Measured,
    RefusalReason,
    Register,
    RekeyRequest,
)

REGISTRATION_TIME = 10 * SECOND
"""How long a connection may stay open without a registration."""
CONNECTIONS = 4096
CLIENTS_OF_AN_EPOCH = 2**20
EPOCHS = 2**12
"""A client ID is (epoch, number): those of a key server that has come back are none of its earlier ones."""


class AssociationPer(Enum):
    """Who shares an SA: a whole group, as the patent has it, or each client with a hub."""

    GROUP = "group"
    CLIENT = "client"


class Management:
    """Decides who is in which group, and hands out the groups' addresses and SAs."""

    def __init__(
        self,
        groups: Iterable[GroupConfiguration],
        users: Iterable[UserRecord],
        relay: Address | VpnServers,
        random_octets: RandomOctets,
        keepalive_interval: int = 10 * SECOND,
        timeout: int = 30 * SECOND,
        association_per: AssociationPer = AssociationPer.GROUP,
        epoch: int = 0,
        recovered_at: int = 0,
        delivery: ServerDelivery = "direct",
        open_at: int = 0,
        rekeying: Rekeying | None = None,
        member_delivery: MemberDelivery = "patent",
        hop_tags: bool = False,
        bindings: bool = True,
    ) -> None:
        """Takes the groups, table 506, where clients send datagrams, and the times in ns.

        ``relay`` is the own data address, or the VPN servers that relay, and then ``delivery`` who of
        them sends to a client. Up to ``recovered_at`` clients that had an SA from this key server's
        predecessor go on sealing with that; up to ``open_at`` they wait for servers not yet up.
        ``rekeying`` says which changes bring a new SA, ``member_delivery`` whom relays send packets.
        With ``bindings`` clients show relays where they are; without, only the port that they name counts.
        """
        self._actions: deque[Action] = deque()
        act = self._actions.append
        by_id = {group.vpn_id: group for group in groups}
        connections = Connections()
        keys = GroupKeys(
            by_id, connections, random_octets, act, rekeying or Rekeying(), member_delivery
        )
        relays = Relays(relay, delivery)
        self._members = Members(
            by_id,
            users,
            connections,
            keys,
            act,
            shares_keys=association_per is AssociationPer.GROUP,
            relay_addresses=relays.addresses(),
        )
        relay_keys = RelayKeys(by_id, random_octets, hop_tags, bindings)
        self._registration = Registration(
            self._members,
            relay_keys,
            relays,
            act,
            first_client_id=epoch % EPOCHS * CLIENTS_OF_AN_EPOCH + 1,
            keepalive_interval=keepalive_interval,
            timeout=timeout,
            recovered_at=recovered_at,
        )
        self._changed_users = ChangedUsers(self._members, act)
        self.servers = relays.servers
        self._placement: Placement | None = None
        if self.servers is not None:
            self._placement = Placement(
                relays,
                self._members,
                self._registration,
                relay_keys,
                random_octets,
                act,
                open_at,
            )
            self._members.on_end = self._placement.forget
        self._timeout = timeout
        self.users = self._members.users
        self.unicast_groups = self._members.unicast_groups
        self.groups = by_id
        self.connections = connections
        self.keys = keys

    @property
    def multicast_addresses(self) -> MulticastAddressTable:
        """Table 508, with the SAs."""
        return self.keys.table

    @property
    def placement(self) -> Placement:
        """Who gives clients their VPN servers; TypeError where the key server relays itself."""
        if self._placement is None:
            raise TypeError("a key server without VPN servers")
        return self._placement

    # -- connections and their messages

    def connection_made(
        self, connection: int, peer: str, now: int, authenticated: str | None = None
    ) -> None:
        """Notes a new connection from address ``peer``.

        ``authenticated`` is the user whom the SA that the connection runs in belongs to: he registers
        without a password, and nobody else does by this connection.
        """
        known = Connection(connection, peer, now + REGISTRATION_TIME, authenticated)
        self.connections.add(known)
        if len(self.connections) > CONNECTIONS:
            self._members.refuse(known, RefusalReason.FULL, "too many connections")

    def connection_lost(self, connection: int, now: int) -> None:
        """Takes the connection's client, if it has one, out of its group."""
        self._members.forget(connection)

    def receive_message(self, connection: int, message: ClientMessage, now: int) -> None:
        """Takes a message of a client; one out of turn ends the connection."""
        known = self.connections.at(connection)
        if known is None:
            return
        if isinstance(message, Register) and known.state is State.OPEN:
            if self._registration.ask(known, message):
                self.credentials_checked(connection, message.user == known.authenticated, now)
        elif isinstance(message, Measured) and known.state is State.PROBING:
            self.placement.measured(known, message, now)
        elif isinstance(message, Leave) and known.member is not None:
            self._members.end(known)
        elif known.state is not State.REGISTERED:
            self._members.refuse(known, RefusalReason.PROTOCOL, "expected a registration")
        elif isinstance(message, KeepAlive):
            known.deadline = now + self._timeout
            self._actions.append(SendMessage(connection, KeepAlive()))
        elif isinstance(message, RekeyRequest):
            self._rekey_requested(known, message, now)
        else:
            self._members.refuse(known, RefusalReason.PROTOCOL, "registered already")

    def message_broken(self, connection: int, detail: str) -> None:
        """Refuses a client whose octets are no message."""
        known = self.connections.at(connection)
        if known is not None:
            self._members.refuse(known, RefusalReason.PROTOCOL, detail[:256])

    def credentials_checked(self, connection: int, accepted: bool, now: int) -> None:
        """Goes on with a registration once the password has been checked."""
        known = self.connections.at(connection)
        if known is None or known.state is not State.CHECKING:
            return
        if self._registration.identify(known, accepted):
            if self._placement is not None:
                self._placement.place(known, now)
            else:
                self._registration.admit(known, now)

    def registered(self) -> Iterator[tuple[Member, UserRecord, int]]:
        """Yields each client that is in its group, its user, and since when (ns)."""
        for known in self.connections:
            if known.member is not None and known.user is not None:
                yield known.member, known.user, known.admitted

    # -- what relays and administrators say

    def bound(self, client_id: ClientId, address: Address) -> None:
        """Notes where a client has shown its relay to be."""
        self._members.bound(client_id, address)

    def users_changed(self, records: Iterable[UserRecord], now: int) -> None:
        """Takes table 506 anew, and does what follows for the clients that are there."""
        self._changed_users.take(records, now)

    # -- time and actions

    def next_timeout(self) -> int | None:
        """Returns when :meth:`handle_timeout` is due, or None."""
        times = [known.deadline for known in self.connections]
        waits = None if self._placement is None else self._placement.next_timeout()
        times += [due for due in (self.keys.next_timeout(), waits) if due is not None]
        return min(times, default=None)

    def handle_timeout(self, now: int) -> None:
        """Ends silent connections; replaces SAs, and forgets those that have been replaced."""
        for known in self.connections:
            if now >= known.deadline:
                self._members.end(known)
        self.keys.handle_timeout(now)
        if self._placement is not None:
            self._placement.handle_timeout(now)

    def next_action(self) -> Action | None:
        """Returns the next thing to do, or None when all is done."""
        return self._actions.popleft() if self._actions else None

    def _rekey_requested(self, known: Connection, message: RekeyRequest, now: int) -> None:
        assert known.user is not None
        if not self._members.shares_keys:
            self._members.end(known)  # it registers again, and gets a new SA
        else:
            self.keys.requested(known.user, message.spi, now)
