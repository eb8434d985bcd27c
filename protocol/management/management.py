"""User VPN management 511 (Fig. 7-1): registration, leaving, time-out, and new SAs.

A connection is an ordered stream of messages from one client; the driver numbers them. Nothing of a
registration is stored before its credentials have been checked, and all of it is stored at once.

Patent: Fig. 5-2 part 511; Fig. 7-1 steps 701-708; tables 506-508; claims 1, 3-5, 11.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address

from protocol.management.actions import (
    Action,
    CheckCredentials,
    ClientKeyMade,
    CloseConnection,
    GroupChanged,
    MemberJoined,
    MemberLeft,
    SendMessage,
)
from protocol.management.tables import (
    GroupConfiguration,
    GroupKey,
    MulticastAddressTable,
    UserRecord,
    UserVpnGroupTable,
)
from protocol.relay.tables import Member, RelayedGroup, UnicastGroupTable
from protocol.types import SECOND, Address, ClientId, RandomOctets, SenderId, Spi, VpnId
from protocol.wire.inner_packet import lan_mtu, multicast_lan_mtu
from protocol.wire.messages import (
    VERSION,
    ClientMessage,
    GroupSecurityAssociation,
    KeepAlive,
    Leave,
    NewSecurityAssociation,
    RefusalReason,
    Refused,
    Register,
    Registered,
    RekeyRequest,
)

MILLISECOND = 1_000_000
REGISTRATION_TIME = 10 * SECOND
"""How long a connection may stay open without a registration."""
CONNECTIONS = 4096
ACTIVATION_DELAY = 2 * SECOND
DEACTIVATION_DELAY = 10 * SECOND
"""RFC 9838's delays: when to send with a new SA, and how much later to forget the old one."""


class AssociationPer(Enum):
    """Who shares an SA: a whole group, as the patent has it, or each client with a hub."""

    GROUP = "group"
    CLIENT = "client"


class State(Enum):
    """Where a connection stands."""

    OPEN = "open"
    CHECKING = "checking"
    REGISTERED = "registered"


@dataclass
class Connection:
    """One client's stream of messages."""

    peer: str
    deadline: int
    """When it ends unless something is heard."""
    state: State = State.OPEN
    request: Register | None = None
    member: Member | None = None
    user: UserRecord | None = None
    sender_id: SenderId | None = None


class Management:
    """Decides who is in which group, and hands out the groups' addresses and SAs."""

    def __init__(
        self,
        groups: Iterable[GroupConfiguration],
        users: Iterable[UserRecord],
        relay: Address,
        random_octets: RandomOctets,
        keepalive_interval: int = 10 * SECOND,
        timeout: int = 30 * SECOND,
        association_per: AssociationPer = AssociationPer.GROUP,
    ) -> None:
        """Takes the groups, table 506, where clients send datagrams, and the times in ns."""
        self._association_per = association_per
        self.users = UserVpnGroupTable(users)  # 506
        self.unicast_groups = UnicastGroupTable()  # 507
        self.multicast_addresses = MulticastAddressTable(random_octets)  # 508
        self.groups = {group.vpn_id: group for group in groups}
        for group in self.groups.values():
            if group.multicast_address.version != ip_address(relay.host).version:
                raise ValueError(f"VPN {group.vpn_id}: address of another IP version than {relay}")
        self._relay = relay
        self._keepalive_interval = keepalive_interval
        self._timeout = timeout
        self._connections: dict[int, Connection] = {}
        self._connection_of: dict[str, int] = {}
        self._next_client_id = 1
        self._retirements: list[tuple[int, VpnId, Spi]] = []
        self._actions: deque[Action] = deque()

    # -- connections and their messages

    def connection_made(self, connection: int, peer: str, now: int) -> None:
        """Notes a new connection from address ``peer``."""
        self._connections[connection] = Connection(peer, now + REGISTRATION_TIME)
        if len(self._connections) > CONNECTIONS:
            self._refuse(connection, RefusalReason.FULL, "too many connections")

    def connection_lost(self, connection: int, now: int) -> None:
        """Takes the connection's client, if it has one, out of its group."""
        self._forget(connection)

    def receive_message(self, connection: int, message: ClientMessage, now: int) -> None:
        """Takes a message of a client; one out of turn ends the connection."""
        known = self._connections.get(connection)
        if known is None:
            return
        if isinstance(message, Register) and known.state is State.OPEN:
            self._register(connection, known, message)
        elif known.state is not State.REGISTERED:
            self._refuse(connection, RefusalReason.PROTOCOL, "expected a registration")
        elif isinstance(message, KeepAlive):
            known.deadline = now + self._timeout
            self._actions.append(SendMessage(connection, KeepAlive()))
        elif isinstance(message, RekeyRequest):
            self._rekey_requested(connection, known, message, now)
        elif isinstance(message, Leave):
            self._end(connection)
        else:
            self._refuse(connection, RefusalReason.PROTOCOL, "registered already")

    def message_broken(self, connection: int, detail: str) -> None:
        """Refuses a client whose octets are no message."""
        if connection in self._connections:
            self._refuse(connection, RefusalReason.PROTOCOL, detail[:256])

    def credentials_checked(self, connection: int, accepted: bool, now: int) -> None:
        """Goes on with a registration once the password has been checked (steps 702, 703)."""
        known = self._connections.get(connection)
        if known is None or known.state is not State.CHECKING:
            return
        assert known.request is not None
        request, known.request = known.request, None
        user = self.users.at(request.user)
        if not accepted or user is None:  # 702
            self._refuse(connection, RefusalReason.CREDENTIALS, "user ID or password is wrong")
        elif user.vpn_id != request.vpn_id or user.vpn_id not in self.groups:  # 703
            detail = f"user {user.user} is not in VPN {request.vpn_id}"
            self._refuse(connection, RefusalReason.VPN, detail)
        else:
            self._admit(connection, known, user, request.data_port, now)

    # -- time and actions

    def next_timeout(self) -> int | None:
        """Returns when :meth:`handle_timeout` is due, or None."""
        times = [known.deadline for known in self._connections.values()]
        times += [time for time, _, _ in self._retirements]
        return min(times, default=None)

    def handle_timeout(self, now: int) -> None:
        """Ends silent connections; forgets SAs that have been replaced."""
        for connection, known in list(self._connections.items()):
            if now >= known.deadline:
                self._end(connection)
        due = [entry for entry in self._retirements if entry[0] <= now]
        self._retirements = [entry for entry in self._retirements if entry[0] > now]
        for _, vpn_id, spi in due:
            self._retire(vpn_id, spi)

    def next_action(self) -> Action | None:
        """Returns the next thing to do, or None when all is done."""
        return self._actions.popleft() if self._actions else None

    # -- registration

    def _register(self, connection: int, known: Connection, request: Register) -> None:
        """Has the credentials checked (step 701)."""
        if request.version != VERSION:
            detail = f"version {request.version}, expected {VERSION}"
            self._refuse(connection, RefusalReason.VERSION, detail)
            return
        known.state, known.request = State.CHECKING, request
        self._actions.append(CheckCredentials(connection, request.user, request.password))

    def _admit(
        self, connection: int, known: Connection, user: UserRecord, data_port: int, now: int
    ) -> None:
        """Puts the client into its group and tells it address and SA (steps 704-708)."""
        address = Address(known.peer, data_port)
        earlier = self._connections.get(self._connection_of.get(user.user, -1))
        if self.unicast_groups.at(address) not in (None, earlier and earlier.member):
            detail = f"another client has the data address {address}"
            self._refuse(connection, RefusalReason.ADDRESS_IN_USE, detail)
            return
        self._supersede(user.user)
        member = Member(ClientId(self._next_client_id), user.vpn_id, address)
        self._next_client_id += 1
        if self._association_per is AssociationPer.GROUP:
            key, sender_id = self._key_for(user, now)
        else:
            key, sender_id = self._client_key(member, now)
        self.unicast_groups.add(member)  # 706, 707
        known.state, known.member, known.user, known.sender_id = (
            State.REGISTERED,
            member,
            user,
            sender_id,
        )
        known.deadline = now + self._timeout
        self._connection_of[user.user] = connection
        self._group_changed(user.vpn_id)
        self._actions.append(MemberJoined(member))
        self._actions.append(
            SendMessage(connection, self._registration(member, key, sender_id))  # 708
        )

    def _registration(self, member: Member, key: GroupKey, sender_id: SenderId) -> Registered:
        group = self.groups[member.vpn_id]
        relay_host = ip_address(self._relay.host)
        return Registered(
            client_id=member.client_id,
            vpn_id=member.vpn_id,
            client_address=ip_address(member.address.host),
            multicast_address=group.multicast_address,
            relay_host=relay_host,
            relay_port=self._relay.port,
            security_association=_handed_out(key, sender_id),
            lan_mtu=_lan_mtu(group, relay_host.version),
            keepalive_interval=self._keepalive_interval // MILLISECOND,
            delivery=group.delivery,
        )

    def _key_for(self, user: UserRecord, now: int) -> tuple[GroupKey, SenderId]:
        """Returns the user's SA and a sender ID; makes an SA for a group's first client (704, 705).

        When the last sender ID is gone the whole group gets a new SA.
        """
        key = self.multicast_addresses.newest(user.vpn_id, user.sub_id)
        if key is None:
            key = self._create_key(user, now)
        sender_id = key.take_sender_id()
        if sender_id is None:
            key = self._rekey(user, now)
            sender_id = key.take_sender_id()
        assert sender_id is not None
        return key, sender_id

    def _client_key(self, member: Member, now: int) -> tuple[GroupKey, SenderId]:
        """Makes an SA for the client and the hub, and a sender ID for each of the two."""
        algorithm = self.groups[member.vpn_id].algorithm
        key = self.multicast_addresses.create_for_client(member.client_id, algorithm, now)
        of_client, of_hub = key.take_sender_id(), key.take_sender_id()
        assert of_client is not None
        assert of_hub is not None
        self._actions.append(ClientKeyMade(member.client_id, _handed_out(key, of_hub)))
        return key, of_client

    def _create_key(self, user: UserRecord, now: int) -> GroupKey:
        algorithm = self.groups[user.vpn_id].algorithm
        return self.multicast_addresses.create(user.vpn_id, user.sub_id, algorithm, now)

    def _supersede(self, user: str) -> None:
        """Ends an earlier registration of the same user: the newest holds."""
        connection = self._connection_of.get(user)
        if connection is not None:
            detail = f"user {user} has registered again"
            self._refuse(connection, RefusalReason.SUPERSEDED, detail)

    def _refuse(self, connection: int, reason: RefusalReason, detail: str) -> None:
        self._actions.append(SendMessage(connection, Refused(reason, detail)))
        self._end(connection)

    # -- new SAs

    def _rekey_requested(
        self, connection: int, known: Connection, message: RekeyRequest, now: int
    ) -> None:
        """Makes a new SA when a sender's counter nears its end.

        A request about an old SA is late, and one about an SA that has just come cannot be true.
        """
        assert known.user is not None
        if self._association_per is AssociationPer.CLIENT:
            self._end(connection)  # it registers again, and gets a new SA
            return
        key = self.multicast_addresses.newest(known.user.vpn_id, known.user.sub_id)
        if key is None or key.spi != message.spi:
            return
        if now - key.created >= ACTIVATION_DELAY + DEACTIVATION_DELAY:
            self._rekey(known.user, now)

    def _rekey(self, user: UserRecord, now: int) -> GroupKey:
        """Gives every client of the user's group a new SA: receive first, then send, then delete."""
        replaced = self.multicast_addresses.newest(user.vpn_id, user.sub_id)
        key = self._create_key(user, now)
        self._group_changed(user.vpn_id)
        for connection, known in self._connections.items():
            if known.user is None or (known.user.vpn_id, known.user.sub_id) != (
                user.vpn_id,
                user.sub_id,
            ):
                continue
            known.sender_id = key.take_sender_id()
            assert known.sender_id is not None
            message = NewSecurityAssociation(
                _handed_out(key, known.sender_id),
                ACTIVATION_DELAY // MILLISECOND,
                DEACTIVATION_DELAY // MILLISECOND,
            )
            self._actions.append(SendMessage(connection, message))
        if replaced is not None:
            retirement = now + ACTIVATION_DELAY + DEACTIVATION_DELAY
            self._retirements.append((retirement, user.vpn_id, replaced.spi))
        return key

    def _retire(self, vpn_id: VpnId, spi: Spi) -> None:
        """Takes a replaced SA out of table 508, if it is still there."""
        if self.multicast_addresses.remove(vpn_id, spi):
            self._group_changed(vpn_id)

    def _group_changed(self, vpn_id: VpnId) -> None:
        """Tells the relays the group's address and SPIs, and nothing of its keys."""
        group = self.groups[vpn_id]
        spis = self.multicast_addresses.spis(vpn_id)
        self._actions.append(GroupChanged(RelayedGroup(vpn_id, group.multicast_address, spis)))

    # -- the end of a connection

    def _end(self, connection: int) -> None:
        self._actions.append(CloseConnection(connection))
        self._forget(connection)

    def _forget(self, connection: int) -> None:
        """Removes all that the connection stands for; the group's keys go with its last client."""
        known = self._connections.pop(connection, None)
        if known is None or known.member is None or known.user is None:
            return
        del self._connection_of[known.user.user]
        self.unicast_groups.remove(known.member)
        self.multicast_addresses.remove_client(known.member.client_id)
        self._actions.append(MemberLeft(known.member.client_id))
        if not self.unicast_groups.members(known.member.vpn_id):
            self.multicast_addresses.remove_group(known.member.vpn_id)
            self._group_changed(known.member.vpn_id)


def _lan_mtu(group: GroupConfiguration, relay_version: int) -> int:
    """Computes the LAN MTU that the group's way of delivery leaves, in octets."""
    if group.delivery == "multicast":
        return multicast_lan_mtu(group.multicast_address.version)
    return lan_mtu(relay_version, group.multicast_address.version)


def _handed_out(key: GroupKey, sender_id: SenderId) -> GroupSecurityAssociation:
    return GroupSecurityAssociation(key.spi, key.algorithm, key.key, key.salt, sender_id)
