"""How a VPN server and its representative agree on where a client has shown to be."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from msgspec.structs import replace

from protocol import binding_tag
from protocol.distribution.publisher import SendTables
from protocol.errors import DropReason
from protocol.relay.verdicts import Drop
from protocol.types import SECOND, Address, ClientId, Secret, VpnId
from protocol.wire.binding import NO_TOKEN, Binding, Kind
from protocol.wire.codec import Endpoint
from protocol.wire.table_messages import (
    Applied,
    Bound,
    BoundRow,
    Changes,
    MemberEndpoint,
    MemberRow,
    Rows,
    ServerRow,
)
from tests.protocol.distribution import test_publisher, test_subscriber
from tests.protocol.distribution.test_subscriber import GROUP, Side, changes, whole

KEY, OTHER_KEY = Secret(bytes(range(16))), Secret(bytes(16))
A = replace(test_subscriber.A, binding_key=KEY)
D = MemberRow(4, 1001, MemberEndpoint(ip_address("3ffe:dddd::1"), 5000), True, binding_key=KEY)
ELSEWHERE, THIRD = Address("3ffe:99::9", 1024), Address("3ffe:99::9", 1025)


def serving(*members: MemberRow) -> Side:
    return Side(whole(Rows((GROUP,), members)))


def show(side: Side, row: MemberRow, place: Address, first: int = 1) -> DropReason | None:
    """Has a client show that it is at a place; returns why that was not taken."""
    assert row.binding_key is not None
    token, verdict = NO_TOKEN, None
    for counter in (first, first + 1):
        said = Binding(Kind.QUESTION, row.client_id, counter, token)
        payload = binding_tag.tagged(said, row.binding_key)
        verdict = side.relay.receive_datagram(payload, place, SECOND)
        for answer, _ in side.relay.bindings.take_answers():
            token = Binding.parse(answer).token
    side.subscriber.report()
    return verdict.reason if isinstance(verdict, Drop) else None


def place_of(side: Side, row: MemberRow) -> Address | None:
    member = side.relay.member(ClientId(row.client_id))
    return None if member is None else member.address


def bound(row: MemberRow, place: Address) -> Bound:
    return Bound((BoundRow(row.client_id, Endpoint.of(place)),))


def moved(row: MemberRow, place: Address) -> MemberRow:
    return replace(row, endpoint=MemberEndpoint.of(place))


def test_a_server_says_where_its_client_is_until_the_representative_says_so_too() -> None:
    side = serving(A)
    assert show(side, A, ELSEWHERE) is None
    assert side.said() == [bound(A, ELSEWHERE)]
    show(side, A, ELSEWHERE, 11)
    assert side.said() == [bound(A, ELSEWHERE)]
    side.take(changes(2, Rows(members=(moved(A, ELSEWHERE),))))
    assert side.said() == [Applied(1, 2)]
    show(side, A, ELSEWHERE, 21)
    assert side.said() == []


def test_what_the_representative_does_not_know_yet_moves_nobody_back() -> None:
    side = serving(A)
    show(side, A, ELSEWHERE)
    side.said()
    side.take(changes(2, Rows(members=(A, D))))
    assert place_of(side, A) == ELSEWHERE
    assert side.said() == [Applied(1, 2), bound(A, ELSEWHERE)]
    show(side, A, THIRD, 11)
    side.take(changes(3, Rows(members=(moved(A, ELSEWHERE),))))
    assert place_of(side, A) == THIRD
    side.take(whole(Rows((GROUP,), (moved(A, THIRD), D)), sequence=9))
    assert place_of(side, A) == THIRD


def test_a_client_keeps_its_stations_when_its_row_follows() -> None:
    side = serving(A, D)
    test_subscriber.sight(side, "aa")
    show(side, A, ELSEWHERE)
    side.take(changes(2, Rows(members=(moved(A, ELSEWHERE),))))
    assert len(side.relay.mac_ip) == 1


def test_an_address_that_the_representative_gives_to_another_is_the_others() -> None:
    side = serving(A)
    show(side, A, ELSEWHERE)
    side.take(changes(2, Rows(members=(moved(D, ELSEWHERE),))))
    assert (place_of(side, A), place_of(side, D)) == (A.endpoint.address, ELSEWHERE)


def test_a_client_that_has_come_back_is_where_its_new_row_says() -> None:
    side = serving(A)
    show(side, A, ELSEWHERE)
    side.take(changes(2, Rows(members=(replace(A, binding_key=OTHER_KEY),))))
    assert place_of(side, A) == A.endpoint.address


def test_what_is_shown_while_the_representative_is_away_is_said_afterwards() -> None:
    side = serving(A)
    side.subscriber.channel_lost(SECOND)
    show(side, A, ELSEWHERE)
    assert side.said() == []
    side.subscriber.channel_opened(SECOND)
    side.said()
    side.take(whole(Rows((GROUP,), (A,)), sequence=2))
    assert side.said() == [Applied(1, 2), bound(A, ELSEWHERE)]
    assert place_of(side, A) == ELSEWHERE


def test_clients_that_have_still_to_show_where_they_are_may_be_several() -> None:
    nowhere = MemberEndpoint(ip_address("3ffe:99::9"), 0)
    side = serving(replace(A, endpoint=nowhere), replace(D, endpoint=nowhere))
    assert len(side.relay.unicast_groups) == 2
    show(side, D, ELSEWHERE)
    assert place_of(side, D) == ELSEWHERE


def test_one_of_the_epoch_before_makes_room_for_one_of_this() -> None:
    side = serving(A)
    show(side, A, ELSEWHERE)
    again = MemberRow(2_000_001, 1001, A.endpoint, True, binding_key=OTHER_KEY)
    side.take(whole(Rows((GROUP,), (again,)), epoch=2))
    assert place_of(side, A) == ELSEWHERE, "it serves beside"
    assert show(side, again, ELSEWHERE) is None
    assert place_of(side, A) is None
    assert place_of(side, again) == ELSEWHERE
    side.take(changes(2, Rows(members=(D,)), epoch=2))
    side.subscriber.handle_timeout(7 * SECOND)
    members = side.relay.unicast_groups.members(VpnId(1001))
    assert [(one.client_id, one.address) for one in members] == [
        (again.client_id, ELSEWHERE),
        (D.client_id, D.endpoint.address),
    ]
    assert show(side, D, ELSEWHERE) is DropReason.ADDRESS_IN_USE


@pytest.mark.parametrize(
    "rows",
    [
        Rows(members=(moved(D, A.endpoint.address),)),
        Rows(members=(replace(D, binding_key=Secret(bytes(15))),)),
        Rows(servers=(ServerRow("b", Endpoint.of(A.endpoint.address), ()),)),
    ],
)
def test_rows_that_cannot_be_are_not_taken(rows: Rows) -> None:
    side = serving(A)
    side.take(changes(2, rows))
    assert dict(side.subscriber.ignored) == {"inconsistent": 1}


# -- the representative


def test_a_server_is_believed_of_its_own_clients_alone() -> None:
    side = test_publisher.Side()
    side.events.clear()
    place = Endpoint.of(ELSEWHERE)
    rows = (BoundRow(1, place), BoundRow(2, place), BoundRow(99, place))
    side.publisher.receive_message(11, Bound(rows), 0)
    assert side.events == [("bound", ClientId(1), ELSEWHERE)]
    assert side.publisher.foreign_addresses == 2


@pytest.mark.parametrize(("delivery", "told"), [("direct", {11, 12}), ("cascade", {11})])
def test_whoever_sends_to_a_client_is_told_where_it_is(delivery: str, told: set[int]) -> None:
    side = test_publisher.Side(delivery)  # type: ignore[arg-type]
    member = test_publisher.member(1)
    side.publisher.member_joined(type(member)(member.client_id, member.vpn_id, ELSEWHERE), "one")
    done = [one for one in side.did() if isinstance(one, SendTables)]
    assert {one.connection for one in done} == told
    for one in done:
        assert isinstance(one.message, Changes)
        ((row,), servers) = one.message.put.members, one.message.put.servers
        assert (row.endpoint.address, servers) == (ELSEWHERE, ())
