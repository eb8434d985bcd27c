"""Who is on line, as the server tells the administrators' page."""

from __future__ import annotations

import os
from ipaddress import ip_address

import pytest

from nodes.server_view import users_on_line
from protocol.management import GroupConfiguration, Management, UserRecord
from protocol.management.actions import CheckCredentials
from protocol.relay import Passed
from protocol.types import SECOND, Address, ClientId, Delivery, Secret, SubId, VpnId
from protocol.wire.messages import VERSION, Register

GROUP = VpnId(1001)


def with_a(delivery: Delivery) -> Management:
    """Returns user management with A registered in a group of that delivery."""
    management = Management(
        [GroupConfiguration(GROUP, ip_address("ff1e::1"), delivery=delivery)],
        [UserRecord("A", GROUP, SubId(1))],
        Address("3ffe::1000", 4790),
        os.urandom,
    )
    management.connection_made(1, "3ffe:aaaa::1", SECOND)
    management.receive_message(1, Register(VERSION, "A", Secret(b"open"), GROUP, 4790), SECOND)
    while (action := management.next_action()) is not None:
        if isinstance(action, CheckCredentials):
            management.credentials_checked(action.connection, True, SECOND)
    return management


@pytest.mark.parametrize(
    ("delivery", "counts"), [("relay", [3, 300, 0, 0]), ("multicast", [None] * 4)]
)
def test_frames_are_counted_where_the_server_carries_them(
    delivery: Delivery, counts: list[int | None]
) -> None:
    management = with_a(delivery)
    ((member, _, _),) = management.registered()
    passed = {ClientId(member.client_id): Passed(3, 300)}
    (row,) = users_on_line(management, (passed, {}))["users on line"]["rows"]
    assert row[:3] == ["A", 1001, 1]
    assert row[6:] == counts


def test_a_server_that_does_not_count_by_client_says_nothing() -> None:
    (row,) = users_on_line(with_a("relay"), None)["users on line"]["rows"]
    assert row[6:] == [None] * 4
