"""User VPN management 511 (Fig. 7-1): who is in which group, and by which server its frames go.

A connection is an ordered stream of messages from one client; the driver numbers them. Nothing of a
registration is stored before its credentials have been checked, and all of it is stored at once. With
VPN servers a client is given the nearest, and told so once that server knows of it.

Patent: Fig. 5-2 part 511; Fig. 7-1 steps 701-708; Figs. 11, 15, 16; tables 506-508; claims 1-5, 11.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from enum import Enum
from ipaddress import ip_address

from protocol import binding_tag, hop_tag
from protocol.management.actions import (
    Action,
    CheckCredentials,
    CloseConnection,
    MemberJoined,
    MemberLeft,
    MemberMoved,
    SendMessage,
)
from protocol.management.connections import Connection, Connections, State
from protocol.management.group_keys import MILLISECOND, GroupKeys, handed_out
from protocol.management.placement import Placement
from protocol.management.rekeying import DEACTIVATION_DELAY, Place, Rekeying
from protocol.management.servers import VpnServers
from protocol.management.tables import (
    GroupConfiguration,
    MulticastAddressTable,
    UserRecord,
    UserVpnGroupTable,
)
from protocol.relay.tables import NO_PORT, Member, UnicastGroupTable
from protocol.types import (
    SECOND,
    Address,
    ClientId,
    MemberDelivery,
    RandomOctets,
    Secret,
    ServerDelivery,
    VpnId,
)
from protocol.wire.codec import Endpoint
from protocol.wire.inner_packet import PATH_MTU, lan_mtu, multicast_lan_mtu
from protocol.wire.messages import (
    VERSION,
    ClientMessage,
    KeepAlive,
    Leave,
    Measured,
    RefusalReason,
    Refused,
    Register,
    Registered,
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
        self._hop_tags = hop_tags
        self._bindings = bindings
        self._random_octets = random_octets
        self._actions: deque[Action] = deque()
        self._shares_keys = association_per is AssociationPer.GROUP
        self.users = UserVpnGroupTable(users)  # 506
        self.unicast_groups = UnicastGroupTable()  # 507
        self.groups = {group.vpn_id: group for group in groups}
        self.connections = Connections()
        self.keys = GroupKeys(
            self.groups,
            self.connections,
            random_octets,
            self._actions.append,
            rekeying or Rekeying(),
            member_delivery,
        )
        self.servers = relay if isinstance(relay, VpnServers) else None
        self._relay = relay if isinstance(relay, Address) else None
        self._relay_addresses = (
            {relay} if isinstance(relay, Address) else {one.address for one in relay}
        )
        self._check_families()
        self._placement: Placement | None = None
        if self.servers is not None:
            self._placement = Placement(
                self.servers,
                random_octets,
                delivery,
                self._actions.append,
                self._admit,
                self._registered,
                open_at,
                self._with_new_keys,
                self.bound,
            )
        self._keepalive_interval = keepalive_interval
        self._timeout = timeout
        self._recovered_at = recovered_at
        self._next_client_id = epoch % EPOCHS * CLIENTS_OF_AN_EPOCH + 1

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
            self._refuse(known, RefusalReason.FULL, "too many connections")

    def connection_lost(self, connection: int, now: int) -> None:
        """Takes the connection's client, if it has one, out of its group."""
        self._forget(connection)

    def receive_message(self, connection: int, message: ClientMessage, now: int) -> None:
        """Takes a message of a client; one out of turn ends the connection."""
        known = self.connections.at(connection)
        if known is None:
            return
        if isinstance(message, Register) and known.state is State.OPEN:
            self._register(known, message, now)
        elif isinstance(message, Measured) and known.state is State.PROBING:
            self.placement.measured(known, message, now)
        elif isinstance(message, Leave) and known.member is not None:
            self._end(known)
        elif known.state is not State.REGISTERED:
            self._refuse(known, RefusalReason.PROTOCOL, "expected a registration")
        elif isinstance(message, KeepAlive):
            known.deadline = now + self._timeout
            self._actions.append(SendMessage(connection, KeepAlive()))
        elif isinstance(message, RekeyRequest):
            self._rekey_requested(known, message, now)
        else:
            self._refuse(known, RefusalReason.PROTOCOL, "registered already")

    def message_broken(self, connection: int, detail: str) -> None:
        """Refuses a client whose octets are no message."""
        known = self.connections.at(connection)
        if known is not None:
            self._refuse(known, RefusalReason.PROTOCOL, detail[:256])

    def credentials_checked(self, connection: int, accepted: bool, now: int) -> None:
        """Goes on with a registration once the password has been checked (steps 702, 703)."""
        known = self.connections.at(connection)
        if known is None or known.state is not State.CHECKING:
            return
        assert known.request is not None
        request, known.request = known.request, None
        user = self.users.at(request.user)
        if not accepted or user is None:  # 702
            self._refuse(known, RefusalReason.CREDENTIALS, "user ID or password is wrong")
        elif user.vpn_id != request.vpn_id or user.vpn_id not in self.groups:  # 703
            detail = f"user {user.user} is not in VPN {request.vpn_id}"
            self._refuse(known, RefusalReason.VPN, detail)
        else:
            known.user, known.data_port = user, request.data_port
            if self._placement is not None:
                self._placement.place(known, now)
            else:
                self._admit(known, now)

    def registered(self) -> Iterator[tuple[Member, UserRecord, int]]:
        """Yields each client that is in its group, its user, and since when (ns)."""
        for known in self.connections:
            if known.member is not None and known.user is not None:
                yield known.member, known.user, known.admitted

    # -- what relays say

    def bound(self, client_id: ClientId, address: Address) -> None:
        """Notes where a client has shown its relay to be; what another has stays the other's.

        Patent: table 507.
        """
        known = self.connections.of_client(client_id)
        if known is None or known.member is None or known.member.address == address:
            return
        taken = self.unicast_groups.at(address) is not None or address in self._relay_addresses
        if taken or known.member.binding_key is None:
            return
        known.member = replace(known.member, address=address)
        self.unicast_groups.change(known.member)
        if known.server is not None:
            self._actions.append(MemberMoved(known.member, known.server))

    # -- what the administrators say

    def users_changed(self, records: Iterable[UserRecord], now: int) -> None:
        """Takes table 506 anew, and does what follows for the clients that are there.

        Who is in it no more, or in another VPN, is refused as expelled. Who has another Sub ID goes
        over to its SA at once. Those who stay behind get a new SA, one for all of these changes.

        Patent: Fig. 11; table 12-2; claim 2.
        """
        self.users.replace(records)
        moved = []
        for known in self.connections:
            if known.user is None or self._is_as_before(known, known.user):
                continue
            record = self.users.at(known.user.user)
            if record is None or record.vpn_id != known.user.vpn_id:
                self._expel(known, now)
            else:
                moved.append((known, known.user))
                known.user = record
        for known, before in moved:
            if known.member is not None and self._shares_keys:
                self._move(known, before, now)
        self.keys.users_changed(self._belongs, now)
        self.keys.rekey_due(now, frozenset(known.number for known, _ in moved))
        for known, _ in moved:
            if known.state is State.REGISTERED and self._shares_keys:
                self.keys.hand_over(known, now)

    def _is_as_before(self, known: Connection, before: UserRecord) -> bool:
        """Tells whether a user has the place that he had, and takes what else his row says."""
        if not self._belongs(before.user, (before.vpn_id, before.sub_id)):
            return False
        known.user = self.users.at(before.user)
        return True

    def _belongs(self, user: str, place: Place) -> bool:
        record = self.users.at(user)
        return record is not None and (record.vpn_id, record.sub_id) == place

    def _expel(self, known: Connection, now: int) -> None:
        """Ends a registration whose user is in the group no more, and withdraws its SA."""
        assert known.user is not None
        user, has_key = known.user, known.state is State.REGISTERED and self._shares_keys
        detail = f"user {user.user} is no longer in VPN {user.vpn_id}"
        self._refuse(known, RefusalReason.EXPELLED, detail)
        if has_key:
            self.keys.withdraw(user, now)

    def _move(self, known: Connection, before: UserRecord, now: int) -> None:
        """Moves a member to another Sub ID in the tables, here and at the relays."""
        assert known.member is not None
        assert known.user is not None
        self.keys.withdraw(before, now)
        self.unicast_groups.remove(known.member)
        known.member = replace(known.member, sub_id=known.user.sub_id)
        self.unicast_groups.add(known.member)
        if known.server is None:
            self._actions.append(MemberLeft(known.member.client_id))
            self._actions.append(MemberJoined(known.member))
        else:
            self._actions.append(MemberMoved(known.member, known.server))

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
                self._end(known)
        self.keys.handle_timeout(now)
        if self._placement is not None:
            self._placement.handle_timeout(now)

    def next_action(self) -> Action | None:
        """Returns the next thing to do, or None when all is done."""
        return self._actions.popleft() if self._actions else None

    # -- registration

    def _register(self, known: Connection, request: Register, now: int) -> None:
        """Has the credentials checked, unless that was done when the SA was set up (step 701)."""
        if request.version != VERSION:
            detail = f"version {request.version}, expected {VERSION}"
            self._refuse(known, RefusalReason.VERSION, detail)
            return
        known.state, known.request = State.CHECKING, request
        if known.authenticated is not None:
            self.credentials_checked(known.number, request.user == known.authenticated, now)
            return
        self._actions.append(CheckCredentials(known.number, request.user, request.password))

    def _admit(self, known: Connection, now: int) -> bool:
        """Puts the client into its group (steps 704-707); False when it was refused."""
        user = known.user
        assert user is not None
        earlier = self.connections.of_user(user.user)
        address = self._place_of(known, earlier)
        if self.users.at(user.user) != user:
            self._refuse(known, RefusalReason.VPN, f"user {user.user} was changed meanwhile")
            return False
        if address is None:
            named = Address(known.peer, known.data_port)
            detail = f"another client or server has the data address {named}"
            self._refuse(known, RefusalReason.ADDRESS_IN_USE, detail)
            return False
        if earlier is not None:
            detail = f"user {user.user} has registered again"
            self._refuse(earlier, RefusalReason.SUPERSEDED, detail)
        client_id = ClientId(self._next_client_id)
        member = self._with_new_keys(Member(client_id, user.vpn_id, address, sub_id=user.sub_id))
        if self._hop_tags:
            former = _same_hop(known, earlier, address)
            member = replace(member, hop_keys=(*member.hop_keys, *former))
        self._next_client_id += 1
        known.deadline = now + self._timeout
        if self._shares_keys:
            self.keys.ensure(user, now)
        else:
            self.keys.announce(user.vpn_id)
        self.unicast_groups.add(member)  # 706, 707
        self.connections.admit(known, user, member)
        known.admitted = now
        if known.server is None:
            self._registered(known, now, before=MemberJoined(member))
        else:
            self._actions.append(MemberJoined(member, known.server))
        return True

    def _registered(self, known: Connection, now: int, before: MemberJoined | None = None) -> None:
        """Tells the client address and SA (step 708), after what relays are told ``before``."""
        assert known.member is not None
        assert known.user is not None
        if self._shares_keys:
            association, older = self.keys.hand_out(known, now)
        else:
            key, known.sender_id = self.keys.make_for_client(known.member, now)
            association, older = handed_out(key, known.sender_id), ()
        if before is not None:
            self._actions.append(before)
        known.state = State.REGISTERED
        group = self.groups[known.member.vpn_id]
        relay, relays = self._relays(known)
        message = Registered(
            client_id=known.member.client_id,
            vpn_id=known.member.vpn_id,
            client_address=ip_address(known.member.address.host),
            multicast_address=group.multicast_address,
            relay=relay,
            relays=relays,
            security_association=association,
            older=older,
            activation_delay=max(0, self._recovered_at - now) // MILLISECOND,
            deactivation_delay=DEACTIVATION_DELAY // MILLISECOND,
            lan_mtu=_lan_mtu(group, relay.host.version, self._hop_tags),
            keepalive_interval=self._keepalive_interval // MILLISECOND,
            delivery=group.delivery,
            hop_key=known.hop_key if group.delivery == "relay" else None,
            binding_key=known.binding_key,
        )
        self._actions.append(SendMessage(known.number, message))

    def _place_of(self, known: Connection, earlier: Connection | None) -> Address | None:
        """Returns where a client's datagrams come from, as far as that is known; None: it is taken.

        A user who registers again from the same place is where he was. One whose address another
        client has is behind the same NAT, and has still to show where he is.
        """
        named = Address(known.peer, known.data_port)
        before = earlier.member if earlier is not None else None
        same = earlier is not None and Address(earlier.peer, earlier.data_port) == named
        if same and before is not None and before.is_reached:
            return before.address
        if named in self._relay_addresses:
            return None
        if self.unicast_groups.at(named) in (None, before):
            return named
        assert known.user is not None
        return Address(known.peer, NO_PORT) if self._binds(known.user.vpn_id) else None

    def _binds(self, vpn_id: VpnId) -> bool:
        """Tells whether a group's clients show where they are: they need not without a relay."""
        return self._bindings and self.groups[vpn_id].delivery == "relay"

    def _with_new_keys(self, member: Member) -> Member:
        """Gives a client keys of its own for its hop to its relay, as far as it is to have them."""
        if self._hop_tags:
            hop_keys = (Secret(self._random_octets(hop_tag.KEY_LENGTH)),)
            member = replace(member, hop_keys=hop_keys)
        if self._binds(member.vpn_id):
            binding_key = Secret(self._random_octets(binding_tag.KEY_LENGTH))
            member = replace(member, binding_key=binding_key)
        return member

    def _relays(self, known: Connection) -> tuple[Endpoint, tuple[Endpoint, ...]]:
        """Returns where the client sends, and whose datagrams it accepts."""
        if known.server is not None:
            return self.placement.relays(known.server)
        assert self._relay is not None
        own = Endpoint.of(self._relay)
        return own, (own,)

    def _rekey_requested(self, known: Connection, message: RekeyRequest, now: int) -> None:
        assert known.user is not None
        if not self._shares_keys:
            self._end(known)  # it registers again, and gets a new SA
        else:
            self.keys.requested(known.user, message.spi, now)

    # -- the end of a connection

    def _refuse(self, known: Connection, reason: RefusalReason, detail: str) -> None:
        self._actions.append(SendMessage(known.number, Refused(reason, detail)))
        self._end(known)

    def _end(self, known: Connection) -> None:
        self._actions.append(CloseConnection(known.number))
        self._forget(known.number)

    def _forget(self, connection: int) -> None:
        """Removes all that the connection stands for; the group's keys go with its last client.

        Its user may come back, until the connection would have timed out, without a rekey of the rest.
        """
        known = self.connections.remove(connection)
        if known is not None and self._placement is not None:
            self._placement.forget(known)
        if known is None or known.member is None:
            return
        member = known.member
        self.unicast_groups.remove(member)
        self.keys.forget_client(member)
        self._actions.append(MemberLeft(member.client_id))
        if not self.unicast_groups.members(member.vpn_id):
            self.keys.forget_group(member.vpn_id)
        elif known.user is not None and self._shares_keys and known.state is State.REGISTERED:
            self.keys.went_away(known.user, known.deadline)

    def _check_families(self) -> None:
        """Raises ValueError where a group's address and a relay's are of two IP versions."""
        for group in self.groups.values():
            for address in self._relay_addresses:
                if group.multicast_address.version != ip_address(address.host).version:
                    raise ValueError(
                        f"VPN {group.vpn_id}: address of another IP version than {address}"
                    )


def _same_hop(
    known: Connection, earlier: Connection | None, address: Address
) -> tuple[Secret, ...]:
    """Returns what a client that registers again may tag with until it knows its new key."""
    if earlier is None or earlier.member is None or earlier.server != known.server:
        return ()
    return earlier.member.hop_keys[:1] if earlier.member.address == address else ()


def _lan_mtu(group: GroupConfiguration, relay_version: int, hop_tags: bool) -> int:
    """Computes the LAN MTU that the group's way of delivery leaves, in octets."""
    if group.delivery == "multicast":
        return multicast_lan_mtu(group.multicast_address.version)
    path_mtu = PATH_MTU - hop_tag.LENGTH if hop_tags else PATH_MTU
    version = group.multicast_address.version
    return lan_mtu(relay_version, version, path_mtu, group.algorithm)
