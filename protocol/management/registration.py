"""Registration: from a user ID to a place in a group, and its address and SA told (Fig. 7-1).

Nothing of a registration is stored before its credentials have been checked, and all of it at once.

Patent: Fig. 7-1 steps 701-708; tables 506, 507.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address

from protocol import hop_tag
from protocol.management.actions import Action, CheckCredentials, MemberJoined, SendMessage
from protocol.management.connections import Connection, State
from protocol.management.group_keys import MILLISECOND, handed_out
from protocol.management.members import Members
from protocol.management.rekeying import DEACTIVATION_DELAY
from protocol.management.relay_keys import RelayKeys, former_hop_keys
from protocol.management.servers import Relays
from protocol.management.tables import GroupConfiguration
from protocol.relay.tables import NO_PORT, Member
from protocol.types import Address, ClientId
from protocol.wire.inner_packet import PATH_MTU, lan_mtu, multicast_lan_mtu
from protocol.wire.messages import VERSION, RefusalReason, Register, Registered


class Registration:
    """Takes clients into their groups."""

    def __init__(
        self,
        members: Members,
        relay_keys: RelayKeys,
        relays: Relays,
        act: Callable[[Action], None],
        first_client_id: int,
        keepalive_interval: int,
        timeout: int,
        recovered_at: int,
    ) -> None:
        """Takes the tables, where clients send datagrams, where actions go, and the times in ns.

        Up to ``recovered_at`` clients go on sealing with what they have from an earlier key server.
        """
        self._members = members
        self._keys = members.keys
        self._relay_keys = relay_keys
        self._relays = relays
        self._act = act
        self._next_client_id = first_client_id
        self._keepalive_interval = keepalive_interval
        self._timeout = timeout
        self._recovered_at = recovered_at

    def ask(self, known: Connection, request: Register) -> bool:
        """Has the credentials checked; True where that was done when the SA was set up (step 701)."""
        if request.version != VERSION:
            detail = f"version {request.version}, expected {VERSION}"
            self._members.refuse(known, RefusalReason.VERSION, detail)
            return False
        known.state, known.request = State.CHECKING, request
        if known.authenticated is not None:
            return True
        self._act(CheckCredentials(known.number, request.user, request.password))
        return False

    def identify(self, known: Connection, accepted: bool) -> bool:
        """Looks up the user's group, if his password was right (steps 702, 703); False: refused."""
        assert known.request is not None
        request, known.request = known.request, None
        user = self._members.users.at(request.user)
        if not accepted or user is None:  # 702
            detail = "user ID or password is wrong"
            self._members.refuse(known, RefusalReason.CREDENTIALS, detail)
            return False
        if user.vpn_id != request.vpn_id or user.vpn_id not in self._members.groups:  # 703
            detail = f"user {user.user} is not in VPN {request.vpn_id}"
            self._members.refuse(known, RefusalReason.VPN, detail)
            return False
        known.user, known.data_port = user, request.data_port
        return True

    def admit(self, known: Connection, now: int) -> bool:
        """Puts the client into its group (steps 704-707); False when it was refused."""
        user = known.user
        assert user is not None
        earlier = self._members.connections.of_user(user.user)
        address = self._place_of(known, earlier)
        if self._members.users.at(user.user) != user:
            detail = f"user {user.user} was changed meanwhile"
            self._members.refuse(known, RefusalReason.VPN, detail)
            return False
        if address is None:
            named = Address(known.peer, known.data_port)
            detail = f"another client or server has the data address {named}"
            self._members.refuse(known, RefusalReason.ADDRESS_IN_USE, detail)
            return False
        if earlier is not None:
            detail = f"user {user.user} has registered again"
            self._members.refuse(earlier, RefusalReason.SUPERSEDED, detail)
        client_id = ClientId(self._next_client_id)
        self._next_client_id += 1
        member = Member(client_id, user.vpn_id, address, sub_id=user.sub_id)
        member = self._relay_keys.renew(member)
        former = former_hop_keys(known, earlier, address)
        member = replace(member, hop_keys=(*member.hop_keys, *former))
        known.deadline, known.admitted = now + self._timeout, now
        if self._members.shares_keys:
            self._keys.ensure(user, now)
        else:
            self._keys.announce(user.vpn_id)
        self._members.unicast_groups.add(member)  # 706, 707
        self._members.connections.admit(known, user, member)
        if known.server is None:
            self.complete(known, now, before=MemberJoined(member))
        else:
            self._act(MemberJoined(member, known.server))
        return True

    def complete(self, known: Connection, now: int, before: MemberJoined | None = None) -> None:
        """Tells the client address and SA (step 708), after what relays are told ``before``."""
        assert known.member is not None
        if self._members.shares_keys:
            association, older = self._keys.hand_out(known, now)
        else:
            key, known.sender_id = self._keys.make_for_client(known.member, now)
            association, older = handed_out(key, known.sender_id), ()
        if before is not None:
            self._act(before)
        known.state = State.REGISTERED
        group = self._members.groups[known.member.vpn_id]
        relay, relays = self._relays.of(known.server)
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
            lan_mtu=_lan_mtu(group, relay.host.version, self._relay_keys.hop_tags),
            keepalive_interval=self._keepalive_interval // MILLISECOND,
            delivery=group.delivery,
            hop_key=known.hop_key if group.delivery == "relay" else None,
            binding_key=known.binding_key,
        )
        self._act(SendMessage(known.number, message))

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
        if named in self._members.relay_addresses:
            return None
        if self._members.unicast_groups.at(named) in (None, before):
            return named
        assert known.user is not None
        binds = self._relay_keys.binds(known.user.vpn_id)
        return Address(known.peer, NO_PORT) if binds else None


def _lan_mtu(group: GroupConfiguration, relay_version: int, hop_tags: bool) -> int:
    """Computes the LAN MTU that the group's way of delivery leaves, in octets."""
    if group.delivery == "multicast":
        return multicast_lan_mtu(group.multicast_address.version)
    path_mtu = PATH_MTU - hop_tag.LENGTH if hop_tags else PATH_MTU
    version = group.multicast_address.version
    return lan_mtu(relay_version, version, path_mtu, group.algorithm)
