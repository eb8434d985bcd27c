"""A changed table 506: what user VPN management does about it, action by action."""

from __future__ import annotations

import random
from ipaddress import ip_address

import pytest

from protocol.management import AssociationPer, GroupConfiguration, Management, UserRecord
from protocol.management import actions as act
from protocol.management.servers import VpnServer, VpnServers
from protocol.types import SECOND, Address, ClientId, Secret, SubId, VpnId
from protocol.wire.messages import VERSION, NewSecurityAssociation, Refused, Register

VPN = VpnId(1001)
SERVER = VpnServer("a", Address("3ffe::1000:a", 5000))


class Course:
    """User VPN management with its clients registered, by a VPN server or by the key server itself."""

    def __init__(
        self, servers: bool = False, per: AssociationPer = AssociationPer.GROUP, **sub_ids: int
    ) -> None:
        self.now = SECOND
        self.management = Management(
            [GroupConfiguration(VPN, ip_address("ff1e::1"))],
            records(**sub_ids),
            VpnServers([SERVER]) if servers else Address("3ffe::1000", 5000),
            random.Random(1).randbytes,
            association_per=per,
        )
        if servers:
            self.management.placement.server_up("a", self.now)
        self.connections = {user: number for number, user in enumerate(sub_ids, 1)}
        for user, number in self.connections.items():
            self.management.connection_made(number, f"3ffe::{number:x}", self.now)
            request = Register(VERSION, user, Secret(b"open"), VPN, 5000)
            self.management.receive_message(number, request, self.now)
            self.management.credentials_checked(number, True, self.now)
            for action in self.actions():
                if isinstance(action, act.MemberJoined) and action.server is not None:
                    self.placed(action.member.client_id)
        self.actions()
        self.now += 20 * SECOND

    def placed(self, client_id: int) -> None:
        self.management.placement.placed(ClientId(client_id), "a", self.now)

    def actions(self) -> list[act.Action]:
        taken = []
        while (action := self.management.next_action()) is not None:
            taken.append(action)
        return taken

    def change(self, **sub_ids: int) -> list[act.Action]:
        self.management.users_changed(records(**sub_ids), self.now)
        return self.actions()

    def told(self, actions: list[act.Action]) -> dict[str, list[str]]:
        """What each user is told: which SAs a new one replaces, or why he is refused."""
        names = {number: user for user, number in self.connections.items()}
        told: dict[str, list[str]] = {}
        for action in actions:
            if isinstance(action, act.SendMessage):
                message = action.message
                assert isinstance(message, (NewSecurityAssociation, Refused))
                word = message.reason.value if isinstance(message, Refused) else message.replaces
                told.setdefault(names[action.connection], []).append(word)
        return told


def records(**sub_ids: int) -> list[UserRecord]:
    return [UserRecord(user, VPN, SubId(sub_id)) for user, sub_id in sub_ids.items()]


def test_the_same_table_again_and_added_users_change_nothing() -> None:
    course = Course(a=1, b=1)
    assert course.change(a=1, b=1) == []
    assert course.change(a=1, b=1, c=2) == []


@pytest.mark.parametrize("servers", [False, True])
def test_a_moved_user_is_handed_over_and_the_rest_gets_a_replacement(servers: bool) -> None:
    course = Course(servers, a=1, b=1, c=1, d=2)
    assert course.told(course.change(a=1, b=1, c=2, d=2)) == {
        "a": ["older"],
        "b": ["older"],
        "c": ["all"],
    }


def test_relays_know_of_the_move_and_of_the_new_spis_before_any_client_does() -> None:
    course = Course(a=1, b=1, c=1, d=2)
    kinds = [type(action).__name__ for action in course.change(a=1, b=1, c=2, d=2)]
    first_message = kinds.index("SendMessage")
    assert kinds[:first_message] == ["MemberLeft", "MemberJoined", "GroupChanged"]
    assert set(kinds[first_message:]) == {"SendMessage"}


def test_the_vpn_server_of_a_moved_client_stays_its_server() -> None:
    course = Course(True, a=1, b=1, c=1)
    moves = [one for one in course.change(a=1, b=1, c=2) if isinstance(one, act.MemberMoved)]
    assert [(one.server, one.member.sub_id) for one in moves] == [("a", 2)]
    course.placed(moves[0].member.client_id)
    assert course.actions() == []


def test_changes_that_come_too_fast_wait_for_each_other() -> None:
    course = Course(a=1, b=1, c=1, d=1)
    assert course.told(course.change(a=1, b=1, c=1))["a"] == ["older"]
    course.now += SECOND // 2
    assert course.told(course.change(a=1, b=1)) == {"c": ["expelled"]}
    assert course.management.next_timeout() == course.now + 3 * SECOND // 2
    course.management.handle_timeout(course.now + 3 * SECOND // 2)
    assert course.told(course.actions()) == {"a": ["older"], "b": ["older"]}


def test_a_hub_that_shares_an_sa_with_each_client_expels_and_rekeys_nobody() -> None:
    course = Course(per=AssociationPer.CLIENT, a=1, b=1, c=1)
    assert course.told(course.change(a=1, b=2)) == {"c": ["expelled"]}
