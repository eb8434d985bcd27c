"""The groups' SAs in use: made for a group's first client, handed out, replaced, and forgotten.

A replacement goes as RFC 9838 has it: every member receives with the new SA at once, seals with it after
the activation delay, and forgets the old one the deactivation delay later.

Patent: Fig. 7-1 steps 704, 705, 708; table 508; claims 1, 4, 5.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from protocol.management.actions import Action, ClientKeyMade, GroupChanged, SendMessage
from protocol.management.connections import Connection, Connections
from protocol.management.tables import (
    GroupConfiguration,
    GroupKey,
    MulticastAddressTable,
    UserRecord,
)
from protocol.relay.tables import Member, RelayedGroup
from protocol.types import SECOND, RandomOctets, SenderId, Spi, SubId, VpnId
from protocol.wire.messages import GroupSecurityAssociation, NewSecurityAssociation

MILLISECOND = 1_000_000
ACTIVATION_DELAY = 2 * SECOND
DEACTIVATION_DELAY = 10 * SECOND
"""RFC 9838's delays: when to send with a new SA, and how much later to forget the old one."""


class GroupKeys:
    """Keeps table 508 with its keys, and the members' SAs in step with it."""

    def __init__(
        self,
        groups: Mapping[VpnId, GroupConfiguration],
        connections: Connections,
        random_octets: RandomOctets,
        act: Callable[[Action], None],
    ) -> None:
        """Takes the groups, who is a member, where randomness comes from and where actions go."""
        self.table = MulticastAddressTable(random_octets)  # 508
        self._groups = groups
        self._connections = connections
        self._act = act
        self._retirements: list[tuple[int, VpnId, Spi]] = []

    # -- handing out

    def ensure(self, user: UserRecord, now: int) -> None:
        """Makes an SA for a group's first client (704, 705)."""
        if self.table.newest(user.vpn_id, user.sub_id) is None:
            self._create(user.vpn_id, user.sub_id, now)
            self.announce(user.vpn_id)

    def hand_out(self, user: UserRecord, now: int) -> tuple[GroupKey, SenderId]:
        """Returns the user's SA and a sender ID; when the last one is gone the group gets a new SA."""
        key = self.table.newest(user.vpn_id, user.sub_id)
        sender_id = key.take_sender_id() if key is not None else None
        if key is None or sender_id is None:
            key = self.replace(user.vpn_id, user.sub_id, now)
            sender_id = key.take_sender_id()
        assert sender_id is not None
        return key, sender_id

    def older(self, user: UserRecord) -> tuple[GroupSecurityAssociation, ...]:
        """Returns the SAs that are being replaced: a newcomer opens what is still sealed with them."""
        found = []
        for key in self.table.older(user.vpn_id, user.sub_id):
            sender_id = key.take_sender_id()
            if sender_id is not None:
                found.append(handed_out(key, sender_id))
        return tuple(found)

    def make_for_client(self, member: Member, now: int) -> tuple[GroupKey, SenderId]:
        """Makes an SA for the client and the hub, and a sender ID for each of the two."""
        algorithm = self._groups[member.vpn_id].algorithm
        key = self.table.create_for_client(member.client_id, algorithm, now)
        of_client, of_hub = key.take_sender_id(), key.take_sender_id()
        assert of_client is not None
        assert of_hub is not None
        self._act(ClientKeyMade(member.client_id, handed_out(key, of_hub)))
        return key, of_client

    def forget_client(self, member: Member) -> None:
        """Forgets the SA that a client shares with a hub, if there is one."""
        self.table.remove_client(member.client_id)

    def forget_group(self, vpn_id: VpnId) -> None:
        """Forgets a group's SAs: its last client has gone."""
        self.table.remove_group(vpn_id)
        self.announce(vpn_id)

    def announce(self, vpn_id: VpnId) -> None:
        """Tells the relays the group's address and SPIs, and nothing of its keys."""
        address = self._groups[vpn_id].multicast_address
        self._act(GroupChanged(RelayedGroup(vpn_id, address, self.table.spis(vpn_id))))

    # -- replacing

    def requested(self, user: UserRecord, spi: int, now: int) -> None:
        """Replaces an SA whose sender's counter nears its end.

        A request about an old SA is late, and one about an SA that has just come cannot be true.
        """
        key = self.table.newest(user.vpn_id, user.sub_id)
        if key is None or key.spi != spi:
            return
        if now - key.created >= ACTIVATION_DELAY + DEACTIVATION_DELAY:
            self.replace(user.vpn_id, user.sub_id, now)

    def replace(self, vpn_id: VpnId, sub_id: SubId, now: int) -> GroupKey:
        """Gives every client of (VPN ID, Sub ID) a new SA: receive first, then send, then delete."""
        replaced = self.table.newest(vpn_id, sub_id)
        key = self._create(vpn_id, sub_id, now)
        self.announce(vpn_id)
        for known in self._connections.registered(vpn_id, sub_id):
            self._send(known, key)
        if replaced is not None:
            retirement = now + ACTIVATION_DELAY + DEACTIVATION_DELAY
            self._retirements.append((retirement, vpn_id, replaced.spi))
        return key

    def next_timeout(self) -> int | None:
        """Returns when :meth:`handle_timeout` is due, or None."""
        return min((time for time, _, _ in self._retirements), default=None)

    def handle_timeout(self, now: int) -> None:
        """Takes SAs out of table 508 that every member has forgotten."""
        due = [entry for entry in self._retirements if entry[0] <= now]
        self._retirements = [entry for entry in self._retirements if entry[0] > now]
        for _, vpn_id, spi in due:
            if self.table.remove(vpn_id, spi):
                self.announce(vpn_id)

    def _send(self, known: Connection, key: GroupKey) -> None:
        known.sender_id = key.take_sender_id()
        assert known.sender_id is not None
        message = NewSecurityAssociation(
            handed_out(key, known.sender_id),
            ACTIVATION_DELAY // MILLISECOND,
            DEACTIVATION_DELAY // MILLISECOND,
        )
        self._act(SendMessage(known.number, message))

    def _create(self, vpn_id: VpnId, sub_id: SubId, now: int) -> GroupKey:
        return self.table.create(vpn_id, sub_id, self._groups[vpn_id].algorithm, now)


def handed_out(key: GroupKey, sender_id: SenderId) -> GroupSecurityAssociation:
    """Returns an SA as a member is told it."""
    return GroupSecurityAssociation(key.spi, key.algorithm, key.key, key.salt, sender_id)
