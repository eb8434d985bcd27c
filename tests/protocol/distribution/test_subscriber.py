"""A VPN server's side of table distribution: what follows is applied, all else changes nothing."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.distribution.subscriber import CloseReport, SendReport, Subscriber
from protocol.errors import WireError
from protocol.relay import Relay
from protocol.types import SECOND, Address, ClientId, Secret, VpnId
from protocol.wire.codec import Endpoint, pack
from protocol.wire.table_messages import (
    Applied,
    Changes,
    GroupRow,
    Keys,
    MemberEndpoint,
    MemberRow,
    RepresentativeMessage,
    Resynchronise,
    Rows,
    ServerRow,
    Snapshot,
    StationRow,
    Stations,
    parse_from_representative,
)
from tests.protocol.relay.datagrams import datagram
from tests.servers_world import relay_state

GROUP = GroupRow(1001, ip_address("ff1e::1"), (4097,))
A = MemberRow(1, 1001, MemberEndpoint(ip_address("3ffe:aaaa::1"), 5000), home=True)
B = MemberRow(2, 1001, MemberEndpoint(ip_address("3ffe:bbbb::1"), 5000), home=False)
C = MemberRow(3, 1001, MemberEndpoint(ip_address("3ffe:cccc::1"), 5000), home=False)
STATION = StationRow(1001, "0200000000bb", 2)
ROWS = Rows((GROUP,), (A, B), (), (STATION,))
OTHER_SERVER = Endpoint(ip_address("3ffe::1000:b"), 5000)


def whole(
    rows: Rows = ROWS, epoch: int = 1, sequence: int = 1, *, reports: bool = True
) -> Snapshot:
    return Snapshot(epoch, sequence, rows, Secret(bytes(16)), reports, grace=5000)


def changes(sequence: int, put: Rows, removed: Keys | None = None, epoch: int = 1) -> Changes:
    return Changes(epoch, sequence, removed or Keys(), put)


class Side:
    """A subscriber whose tables hold ROWS, and what it says."""

    def __init__(self, first: Snapshot | None = None) -> None:
        self.relay = Relay()
        self.subscriber = Subscriber(self.relay, 1)
        self.subscriber.channel_opened(0)
        self.take(first or whole())
        self.said()

    def take(self, message: RepresentativeMessage, now: int = SECOND) -> None:
        self.subscriber.receive_message(message, now)

    def said(self) -> list[object]:
        said: list[object] = []
        while (action := self.subscriber.next_action()) is not None:
            said.append(action.message if isinstance(action, SendReport) else action)
        return said

    def state(self) -> tuple[object, ...]:
        subscriber = self.subscriber
        return (
            relay_state(self.relay),
            subscriber.epoch,
            subscriber.sequence,
            subscriber.tables.rows(),
        )


def test_what_follows_is_applied_and_confirmed() -> None:
    side = Side()
    before = side.state()
    side.take(changes(2, Rows(members=(C,))))
    assert side.state() != before
    assert side.said() == [Applied(1, 2)]
    assert len(side.relay.unicast_groups) == 3


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (changes(1, Rows(members=(C,))), "repeated"),
        (whole(Rows(), sequence=1), "repeated"),
        (changes(2, Rows(members=(C,)), epoch=0), "old_epoch"),
        (whole(Rows(), epoch=0, sequence=99), "old_epoch"),
        (changes(3, Rows(members=(C,))), "gap"),
        (changes(1, Rows(members=(C,)), epoch=2), "gap"),
        (changes(2, Rows(members=(MemberRow(9, 1001, A.endpoint, True),))), "inconsistent"),
        (
            changes(2, Rows(servers=(ServerRow("two", Endpoint.of(A.endpoint.address), ()),))),
            "inconsistent",
        ),
        (changes(2, Rows(groups=(GroupRow(7, GROUP.multicast_address, (4097,)),))), "inconsistent"),
        (changes(2, Rows(stations=(StationRow(1001, "0200000000cc", 3),))), "inconsistent"),
        (changes(2, Rows(stations=(StationRow(1001, "0200000000aa", 1),))), "inconsistent"),
        (changes(2, Rows(), Keys(members=(2,))), "inconsistent"),
        (whole(Rows(members=(A,), stations=(STATION,)), sequence=2), "inconsistent"),
    ],
)
def test_a_message_that_does_not_follow_changes_nothing(
    message: Snapshot | Changes, reason: str
) -> None:
    side = Side()
    before = side.state()
    side.take(message)
    assert side.state() == before
    assert dict(side.subscriber.ignored) == {reason: 1}


@given(st.integers(0, 400))
def test_a_message_that_is_cut_short_is_no_message(length: int) -> None:
    body = pack(changes(2, Rows(members=(C,))))[4:]
    with pytest.raises(WireError):
        parse_from_representative(body[: min(length, len(body) - 1)])


def test_a_gap_asks_for_the_whole_once_and_the_whole_heals_it() -> None:
    side = Side()
    side.take(changes(3, Rows(members=(C,))))
    side.take(changes(4, Rows()))
    assert side.said() == [Resynchronise(1, 1)]
    healed = Rows((GROUP,), (A, B, C), (), (STATION,))
    side.take(whole(healed, sequence=5))
    assert side.said() == [Applied(1, 5)]
    assert len(side.relay.unicast_groups) == 3
    side.take(changes(7, Rows()))
    assert side.said() == [Resynchronise(1, 5)]


def test_an_inconsistent_whole_ends_the_channel() -> None:
    side = Side()
    side.take(whole(Rows(members=(A,), stations=(STATION,)), sequence=2))
    assert side.said() == [CloseReport()]


def test_what_was_to_be_said_on_a_lost_channel_is_not_said_on_the_next() -> None:
    side = Side()
    side.take(changes(2, Rows()))
    side.subscriber.channel_lost(SECOND)
    side.subscriber.channel_opened(SECOND)
    assert [type(message).__name__ for message in side.said()] == ["Hello"]


def sight(side: Side, mac: str, now: int = SECOND) -> None:
    """Lets client A send a frame from a station."""
    side.relay.receive_datagram(datagram(1001, mac), A.endpoint.address, now)


def test_stations_seen_while_the_representative_is_away_are_reported_afterwards() -> None:
    side = Side()
    sight(side, "aa")
    side.subscriber.report()
    assert [type(message) for message in side.said()] == [Stations]
    side.subscriber.channel_lost(SECOND)
    sight(side, "ab")
    side.subscriber.report()
    side.subscriber.channel_opened(2 * SECOND)
    side.take(whole(sequence=2))
    side.said()
    side.subscriber.report()
    (report,) = side.said()
    assert isinstance(report, Stations)
    assert {row.mac for row in report.seen} == {"0200000000aa", "0200000000ab"}


def test_a_station_that_was_taken_from_another_client_goes_back_when_its_own_leaves() -> None:
    side = Side()
    sight(side, "bb", now=5 * SECOND)
    assert list(side.relay.stations.elsewhere()) == []
    side.take(changes(2, Rows(), Keys(members=(1,))))
    assert [station[1].hex() for station, _ in side.relay.stations.elsewhere()] == ["0200000000bb"]


def test_two_servers_may_swap_their_addresses() -> None:
    one, two = OTHER_SERVER, Endpoint(ip_address("3ffe::1000:c"), 5000)
    rows = Rows((GROUP,), (A,), (ServerRow("b", one, (1001,)), ServerRow("c", two, (1001,))))
    side = Side(whole(rows))
    swapped = Rows(servers=(ServerRow("b", two, (1001,)), ServerRow("c", one, (1001,))))
    side.take(changes(2, swapped))
    hops = side.relay.next_hops
    assert [getattr(hops.at(end.address), "name", None) for end in (one, two)] == ["c", "b"]


def test_stations_behind_a_server_go_with_its_last_client_of_the_group() -> None:
    rows = Rows((GROUP,), (A,), (ServerRow("b", OTHER_SERVER, (1001,)),))
    side = Side(whole(rows, reports=False))
    side.relay.receive_datagram(datagram(1001, "bb"), OTHER_SERVER.address, SECOND)
    assert len(side.relay.mac_ip) == 1
    side.take(changes(2, Rows(servers=(ServerRow("b", OTHER_SERVER, (1001, 1002)),))))
    assert len(side.relay.mac_ip) == 1
    side.take(changes(3, Rows(servers=(ServerRow("b", OTHER_SERVER, (1002,)),))))
    assert len(side.relay.mac_ip) == 0


def test_what_the_epoch_before_said_serves_beside_until_its_time_is_over() -> None:
    side = Side()
    again = MemberRow(2_000_001, 1001, A.endpoint, home=True)
    group = GroupRow(1001, GROUP.multicast_address, (8192,))
    side.take(whole(Rows((group,), (again,)), epoch=2), now=SECOND)
    spis = side.relay.multicast_addresses.at(GROUP.multicast_address)
    assert spis is not None
    assert spis.spis == {4097, 8192}
    members = side.relay.unicast_groups.members(VpnId(1001))
    assert {one.client_id for one in members} == {2, 2_000_001}
    assert [one.client_id for _, one in side.relay.stations.elsewhere()] == [2]
    side.subscriber.handle_timeout(SECOND + 5 * SECOND)
    assert side.relay.unicast_groups.members(VpnId(1001))[0].client_id == ClientId(2_000_001)
    assert len(side.relay.unicast_groups) == 1
    assert list(side.relay.stations.elsewhere()) == []
    after = side.relay.multicast_addresses.at(GROUP.multicast_address)
    assert after is not None
    assert after.spis == {8192}


def test_two_servers_that_are_each_told_of_twice_are_still_one_next_hop_each() -> None:
    """Fig. 19 lists a server once for each of its clients; a set sends one copy."""
    rows = Rows((GROUP,), (A,), (ServerRow("b", OTHER_SERVER, (1001, 1001)),))
    side = Side(whole(rows))
    side.take(changes(2, Rows(servers=(ServerRow("b", OTHER_SERVER, (1001,)),))))
    assert [hop.address for hop in side.relay.next_hops.of_group(VpnId(1001))] == [
        Address("3ffe::1000:b", 5000)
    ]
