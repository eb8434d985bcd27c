"""What an administrator's changes of table 506 mean for clients that are there.

Patent: Fig. 11; table 12-2; claim 2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from protocol.management.actions import Action, MemberJoined, MemberLeft, MemberMoved
from protocol.management.connections import Connection, State
from protocol.management.members import Members
from protocol.management.tables import UserRecord
from protocol.wire.messages import RefusalReason


class ChangedUsers:
    """Expels who is in his group no more, and moves who has another Sub ID."""

    def __init__(self, members: Members, act: Callable[[Action], None]) -> None:
        self._members = members
        self._keys = members.keys
        self._act = act

    def take(self, records: Iterable[UserRecord], now: int) -> None:
        """Takes table 506 anew, and does what follows for the clients that are there.

        Who is in it no more, or in another VPN, is refused as expelled. Who has another Sub ID goes
        over to its SA at once. Those who stay behind get a new SA, one for all of these changes.

        Patent: Fig. 11; table 12-2; claim 2.
        """
        users, shares_keys = self._members.users, self._members.shares_keys
        users.replace(records)
        moved = []
        for known in self._members.connections:
            if known.user is None or self._is_as_before(known, known.user):
                continue
            record = users.at(known.user.user)
            if record is None or record.vpn_id != known.user.vpn_id:
                self._expel(known, now)
            else:
                moved.append((known, known.user))
                known.user = record
        for known, before in moved:
            if known.member is not None and shares_keys:
                self._move(known, before, now)
        self._keys.users_changed(self._members.belongs, now)
        self._keys.rekey_due(now, frozenset(known.number for known, _ in moved))
        for known, _ in moved:
            if known.state is State.REGISTERED and shares_keys:
                self._keys.hand_over(known, now)

    def _is_as_before(self, known: Connection, before: UserRecord) -> bool:
        """Tells whether a user has the place that he had, and takes what else his row says."""
        if not self._members.belongs(before.user, (before.vpn_id, before.sub_id)):
            return False
        known.user = self._members.users.at(before.user)
        return True

    def _expel(self, known: Connection, now: int) -> None:
        """Ends a registration whose user is in the group no more, and withdraws its SA."""
        assert known.user is not None
        user = known.user
        has_key = known.state is State.REGISTERED and self._members.shares_keys
        detail = f"user {user.user} is no longer in VPN {user.vpn_id}"
        self._members.refuse(known, RefusalReason.EXPELLED, detail)
        if has_key:
            self._keys.withdraw(user, now)

    def _move(self, known: Connection, before: UserRecord, now: int) -> None:
        """Moves a member to another Sub ID in the tables, here and at the relays."""
        assert known.member is not None
        assert known.user is not None
        self._keys.withdraw(before, now)
        unicast_groups = self._members.unicast_groups
        unicast_groups.remove(known.member)
        known.member = replace(known.member, sub_id=known.user.sub_id)
        unicast_groups.add(known.member)
        if known.server is None:
            self._act(MemberLeft(known.member.client_id))
            self._act(MemberJoined(known.member))
        else:
            self._act(MemberMoved(known.member, known.server))
