"""The groups' SAs in use: made for a group's first client, handed out, replaced, and forgotten.

A replacement goes as RFC 9838 has it: every member receives with the new SA at once, seals with it after
the activation delay, and forgets the old one the deactivation delay later. Who is given another Sub ID
goes over at once; those whom he leaves get a replacement that he is not told.

Patent: Fig. 7-1 steps 704, 705, 708; Fig. 11; tables 508, 12-1; claims 1, 2, 4, 5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from protocol.management.actions import Action, ClientKeyMade, GroupChanged, SendMessage
from protocol.management.connections import Connection, Connections
from protocol.management.rekeying import (
    ACTIVATION_DELAY,
    DEACTIVATION_DELAY,
    Place,
    Rekeying,
    RekeySchedule,
)
from protocol.management.tables import (
    GroupConfiguration,
    GroupKey,
    MulticastAddressTable,
    UserRecord,
)
from protocol.relay.tables import Member, RelayedGroup
from protocol.types import MemberDelivery, RandomOctets, SenderId, Spi, SubId, VpnId
from protocol.wire.messages import (
    OLDER_ASSOCIATIONS,
    GroupSecurityAssociation,
    NewSecurityAssociation,
)

MILLISECOND = 1_000_000
HandedOut = tuple[GroupSecurityAssociation, tuple[GroupSecurityAssociation, ...]]
"""The SA to seal with, and those that are only to open for a while."""


class GroupKeys:
    """Keeps table 508 with its keys, and the members' SAs in step with it."""

    def __init__(
        self,
        groups: Mapping[VpnId, GroupConfiguration],
        connections: Connections,
        random_octets: RandomOctets,
        act: Callable[[Action], None],
        rekeying: Rekeying,
        member_delivery: MemberDelivery,
    ) -> None:
        """Takes the groups, who is a member, where randomness comes from and where actions go.

        ``rekeying`` says when SAs are replaced, ``member_delivery`` what relays are told of receivers.
        """
        self.table = MulticastAddressTable(random_octets, rekeying.packets)  # 508
        self._groups = groups
        self._connections = connections
        self._act = act
        self._rekeying = rekeying
        self._member_delivery: MemberDelivery = member_delivery
        self._schedule = RekeySchedule()
        self.replaced = 0
        """How often an SA was replaced."""
        self._retirements: list[tuple[int, VpnId, Spi]] = []

    # -- handing out

    def ensure(self, user: UserRecord, now: int) -> None:
        """Makes an SA for a group's first client (704, 705)."""
        if self.table.newest(user.vpn_id, user.sub_id) is None:
            self._create(user.vpn_id, user.sub_id, now)
            self.announce(user.vpn_id)

    def hand_out(self, known: Connection, now: int) -> HandedOut:
        """Returns a client's SA with a sender ID of its own, and those that others may still seal with.

        When the last sender ID is gone all get a new SA; so they do when the policy keeps newcomers
        from what was sealed before them. A newcomer may then read what is less old than the spacing.
        """
        user = known.user
        assert user is not None
        place = user.vpn_id, user.sub_id
        is_new = self._rekeying.on_join and not self._schedule.is_away(place, user.user)
        self._schedule.back(place, user.user)
        key = self.table.newest(*place)
        if key is not None and is_new and now - key.created >= self._rekeying.spacing:
            key = self.replace(*place, now, besides=frozenset([known.number]))
        known.sender_id = key.take_sender_id() if key is not None else None
        if key is None or known.sender_id is None:
            key = self.replace(*place, now, besides=frozenset([known.number]))
            known.sender_id = key.take_sender_id()
        assert known.sender_id is not None
        return handed_out(key, known.sender_id), () if is_new else self._older(place)

    def _older(self, place: Place) -> tuple[GroupSecurityAssociation, ...]:
        """Returns the SAs that are being replaced: a newcomer opens what is still sealed with them."""
        found = []
        for key in self.table.older(*place)[-OLDER_ASSOCIATIONS:]:
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
        for place in {(vpn, sub) for vpn, sub, _ in self.table.rows() if vpn == vpn_id}:
            self._schedule.forget(place)
        self.table.remove_group(vpn_id)
        self.announce(vpn_id)

    def announce(self, vpn_id: VpnId) -> None:
        """Tells the relays the group's address and SPIs, and nothing of its keys."""
        group = RelayedGroup(
            vpn_id,
            self._groups[vpn_id].multicast_address,
            self.table.spis(vpn_id),
            self.table.sub_ids(vpn_id),
            self._member_delivery,
        )
        self._act(GroupChanged(group))

    # -- those who go

    def went_away(self, user: UserRecord, until: int) -> None:
        """Notes that a client has gone by itself: a rekey is due when ``until`` its user is not back."""
        place = user.vpn_id, user.sub_id
        if self._rekeying.on_leave and not self._forget_if_unused(place):
            self._schedule.away(place, user.user, until)

    def withdraw(self, user: UserRecord, now: int) -> None:
        """Notes that a user is not of this Sub ID any more: :meth:`rekey_due` gives the rest a new SA.

        Patent: claim 2.
        """
        place = user.vpn_id, user.sub_id
        if self._rekeying.on_leave and not self._forget_if_unused(place):
            self._schedule.withdrawn(place, now)

    def users_changed(self, belongs: Callable[[str, Place], bool], now: int) -> None:
        """Waits no longer for users who are away and have lost their place meanwhile."""
        for place, user in self._schedule.away_users():
            if not belongs(user, place):
                self._schedule.withdrawn(place, now)

    def hand_over(self, known: Connection, now: int) -> None:
        """Gives a client the SA of its new Sub ID and takes all others from it, at once.

        Patent: Fig. 11; claim 2.
        """
        association, older = self.hand_out(known, now)
        delay = DEACTIVATION_DELAY // MILLISECOND
        message = NewSecurityAssociation(association, "all", older, 0, delay)
        self._act(SendMessage(known.number, message))

    def rekey_due(self, now: int, movers: frozenset[int] = frozenset()) -> None:
        """Replaces the SAs whose time has come; ``movers`` are told theirs by :meth:`hand_over`."""
        for time, (vpn_id, sub_id) in list(self._rekeys()):
            if time <= now:
                self.replace(vpn_id, sub_id, now, movers)

    def _rekeys(self) -> Iterator[tuple[int, Place]]:
        """Yields when which SA is to be replaced: because somebody has gone, or for its age."""
        due = self._schedule.due()
        for vpn_id, sub_id, key in self.table.newest_rows():
            times = [self._rekeying.end_of(key.created)]
            if (vpn_id, sub_id) in due:
                times.append(max(due[vpn_id, sub_id], key.created + self._rekeying.spacing))
            known = [time for time in times if time is not None]
            if known:
                yield min(known), (vpn_id, sub_id)

    def _forget_if_unused(self, place: Place) -> bool:
        """Forgets the SAs of a Sub ID that no client has any more; whoever comes gets a fresh one."""
        if any(self._connections.registered(*place)):
            return False
        self._schedule.forget(place)
        if self.table.remove_sub_id(*place):
            self.announce(place[0])
        return True

    # -- replacing

    def requested(self, user: UserRecord, spi: int, now: int) -> None:
        """Replaces an SA with which a sender has sealed as many packets as it should.

        A request about an old SA is late, and one about an SA that has just come cannot be true.
        """
        key = self.table.newest(user.vpn_id, user.sub_id)
        if key is None or key.spi != spi:
            return
        if now - key.created >= ACTIVATION_DELAY + DEACTIVATION_DELAY:
            self.replace(user.vpn_id, user.sub_id, now)

    def replace(
        self, vpn_id: VpnId, sub_id: SubId, now: int, besides: frozenset[int] = frozenset()
    ) -> GroupKey:
        """Gives every client of (VPN ID, Sub ID) a new SA: receive first, then send, then delete.

        Connections in ``besides`` are told in another way.

        Patent: claim 2.
        """
        self._schedule.forget((vpn_id, sub_id))
        replaced = self.table.newest(vpn_id, sub_id)
        key = self._create(vpn_id, sub_id, now)
        self.announce(vpn_id)
        for known in self._connections.registered(vpn_id, sub_id):
            if known.number not in besides:
                self._send(known, key)
        if replaced is not None:
            self.replaced += 1
            retirement = now + ACTIVATION_DELAY + DEACTIVATION_DELAY
            self._retirements.append((retirement, vpn_id, replaced.spi))
        return key

    def next_timeout(self) -> int | None:
        """Returns when :meth:`handle_timeout` is due, or None."""
        times = [time for time, _, _ in self._retirements]
        times += [time for time, _ in self._rekeys()]
        return min(times, default=None)

    def handle_timeout(self, now: int) -> None:
        """Takes SAs out of table 508 that every member has forgotten, and replaces those that are due."""
        self.rekey_due(now)
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
            "older",
            (),
            ACTIVATION_DELAY // MILLISECOND,
            DEACTIVATION_DELAY // MILLISECOND,
        )
        self._act(SendMessage(known.number, message))

    def _create(self, vpn_id: VpnId, sub_id: SubId, now: int) -> GroupKey:
        return self.table.create(vpn_id, sub_id, self._groups[vpn_id].algorithm, now)


def handed_out(key: GroupKey, sender_id: SenderId) -> GroupSecurityAssociation:
    """Returns an SA as a member is told it."""
    return GroupSecurityAssociation(
        key.spi, key.algorithm, key.key, key.salt, sender_id, key.packets
    )
