"""Who is in which group, by which connection and from where, and how that ends.

Patent: tables 506-508; step 703.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from ipaddress import ip_address

from protocol.management.actions import (
    Action,
    CloseConnection,
    MemberLeft,
    MemberMoved,
    SendMessage,
)
from protocol.management.connections import Connection, Connections, State
from protocol.management.group_keys import GroupKeys
from protocol.management.rekeying import Place
from protocol.management.tables import GroupConfiguration, UserRecord, UserVpnGroupTable
from protocol.relay.tables import UnicastGroupTable
from protocol.types import Address, ClientId, VpnId
from protocol.wire.messages import RefusalReason, Refused


class Members:
    """The tables and connections of user VPN management, in step with each other."""

    def __init__(
        self,
        groups: dict[VpnId, GroupConfiguration],
        users: Iterable[UserRecord],
        connections: Connections,
        keys: GroupKeys,
        act: Callable[[Action], None],
        shares_keys: bool,
        relay_addresses: frozenset[Address],
    ) -> None:
        """Takes the groups, table 506, and where actions go.

        With ``shares_keys`` a group's clients have one SA, without, each has one with a hub.
        No client has one of ``relay_addresses``. Raises ValueError where a group's address and a
        relay's are of two IP versions.
        """
        self.groups = groups
        self.users = UserVpnGroupTable(users)  # 506
        self.unicast_groups = UnicastGroupTable()  # 507
        self.keys = keys  # 508
        self.connections = connections
        self.shares_keys = shares_keys
        self.relay_addresses = relay_addresses
        self.on_end: Callable[[Connection], None] = lambda known: None
        """Told of each connection that ends, before anybody else is told of its client."""
        self._act = act
        _check_families(groups.values(), relay_addresses)

    def belongs(self, user: str, place: Place) -> bool:
        """Tells whether a user is of this (VPN ID, Sub ID)."""
        record = self.users.at(user)
        return record is not None and (record.vpn_id, record.sub_id) == place

    def bound(self, client_id: ClientId, address: Address) -> None:
        """Notes where a client has shown its relay to be; what another has stays the other's.

        Patent: table 507.
        """
        known = self.connections.of_client(client_id)
        if known is None or known.member is None or known.member.address == address:
            return
        taken = self.unicast_groups.at(address) is not None or address in self.relay_addresses
        if taken or known.member.binding_key is None:
            return
        known.member = replace(known.member, address=address)
        self.unicast_groups.change(known.member)
        if known.server is not None:
            self._act(MemberMoved(known.member, known.server))

    # -- the end of a connection

    def refuse(self, known: Connection, reason: RefusalReason, detail: str) -> None:
        """Ends a connection and tells its client why."""
        self._act(SendMessage(known.number, Refused(reason, detail)))
        self.end(known)

    def end(self, known: Connection) -> None:
        """Ends a connection and what it stands for."""
        self._act(CloseConnection(known.number))
        self.forget(known.number)

    def forget(self, connection: int) -> None:
        """Removes all that the connection stands for; the group's keys go with its last client.

        Its user may come back, until the connection would have timed out, without a rekey of the rest.
        """
        known = self.connections.remove(connection)
        if known is None:
            return
        self.on_end(known)
        member = known.member
        if member is None:
            return
        self.unicast_groups.remove(member)
        self.keys.forget_client(member)
        self._act(MemberLeft(member.client_id))
        if not self.unicast_groups.members(member.vpn_id):
            self.keys.forget_group(member.vpn_id)
        elif known.user is not None and self.shares_keys and known.state is State.REGISTERED:
            self.keys.went_away(known.user, known.deadline)


def _check_families(
    groups: Iterable[GroupConfiguration], relay_addresses: frozenset[Address]
) -> None:
    for group in groups:
        for address in relay_addresses:
            if group.multicast_address.version != ip_address(address.host).version:
                raise ValueError(
                    f"VPN {group.vpn_id}: address of another IP version than {address}"
                )
