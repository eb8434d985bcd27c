"""The representative's side of table distribution: what it believes, whom it greets, what it tells."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from protocol.distribution.publisher import (
    SILENCE,
    CloseServer,
    Distribution,
    Publisher,
    SendTables,
)
from protocol.management.servers import VpnServer
from protocol.relay.stations import STATIONS_PER_CLIENT
from protocol.relay.tables import Member, RelayedGroup
from protocol.types import Address, ClientId, Secret, ServerDelivery, VpnId
from protocol.wire.table_messages import (
    VERSION,
    Alive,
    Applied,
    Changes,
    Hello,
    Resynchronise,
    Snapshot,
    StationKey,
    StationRow,
    Stations,
)

VPN = VpnId(1001)
PLACES = {"one": 11, "two": 12}


def member(number: int, vpn_id: VpnId = VPN) -> Member:
    return Member(ClientId(number), vpn_id, Address(f"3ffe:aaaa::{number:x}", 5000))


class Side:
    """A publisher with servers one and two, their clients 1 and 2, and what it did."""

    def __init__(
        self,
        delivery: ServerDelivery = "direct",
        distribution: Distribution = "delta",
        reports: bool = True,
    ) -> None:
        servers = [VpnServer(name, Address(f"3ffe::{n}", 5000)) for name, n in PLACES.items()]
        self.events: list[tuple[object, ...]] = []
        token = Secret(bytes(16))
        self.publisher = Publisher(servers, self, 5, token, delivery, distribution, reports)
        group = RelayedGroup(VPN, ip_address("ff1e::1"), frozenset([4097]))
        self.publisher.group_changed(group)
        self.publisher.member_joined(member(1), "one")
        self.publisher.member_joined(member(2), "two")
        for name, connection in PLACES.items():
            assert self.publisher.server_connected(connection, name, 0)
            self.publisher.receive_message(connection, Hello(VERSION), 0)
        self.did()

    def server_up(self, name: str, now: int) -> None:
        self.events.append(("up", name))

    def server_down(self, name: str) -> None:
        self.events.append(("down", name))

    def placed(self, client_id: ClientId, server: str, now: int) -> None:
        self.events.append(("placed", client_id, server))

    def bound(self, client_id: ClientId, address: Address) -> None:
        self.events.append(("bound", client_id, address))

    def did(self) -> list[object]:
        self.publisher.flush()
        done: list[object] = []
        while (action := self.publisher.next_action()) is not None:
            done.append(action)
        return done

    def report(self, connection: int, *rows: StationRow) -> None:
        self.publisher.receive_message(connection, Stations((), rows), 0)


def row(mac: str, client: int, vpn_id: int = VPN) -> StationRow:
    return StationRow(vpn_id, mac, client)


@pytest.mark.parametrize(
    ("station", "reason"),
    [
        (row("0200000000bb", 2), "foreign_client"),
        (row("0200000000bb", 3), "foreign_client"),
        (row("0200000000bb", 1, 1002), "foreign_client"),
        (row("ffffffffffff", 1), "no_station"),
        (row("333300000001", 1), "no_station"),
        (row("000000000000", 1), "no_station"),
    ],
)
def test_a_report_that_cannot_be_true_is_not_believed(station: StationRow, reason: str) -> None:
    side = Side()
    side.report(11, station)
    assert side.publisher.not_taken == {reason: 1}
    assert side.did() == []


def test_a_report_of_an_own_client_reaches_the_other_server_once() -> None:
    side = Side()
    side.report(11, row("0200000000aa", 1))
    (told,) = side.did()
    assert isinstance(told, SendTables)
    assert isinstance(told.message, Changes)
    assert (told.connection, told.message.put.stations) == (12, (row("0200000000aa", 1),))
    side.report(11, row("0200000000aa", 1))
    assert side.did() == []


def test_reports_that_nobody_asked_for_are_not_believed() -> None:
    for side in (Side(reports=False), Side(delivery="cascade")):
        side.report(11, row("0200000000aa", 1))
        assert side.publisher.not_taken == {"not_asked": 1}
        assert side.did() == []


def test_a_server_cannot_have_stations_of_another_forgotten() -> None:
    side = Side()
    side.report(11, row("0200000000aa", 1))
    side.did()
    key = StationKey(VPN, "0200000000aa")
    side.publisher.receive_message(12, Stations((key,), ()), 0)
    assert side.did() == []
    side.publisher.receive_message(11, Stations((key,), ()), 0)
    assert len(side.did()) == 1


def test_a_client_has_no_more_stations_than_the_cap() -> None:
    side = Side()
    rows = [row(f"02{number:010x}", 1) for number in range(STATIONS_PER_CLIENT + 3)]
    side.report(11, *rows)
    assert side.publisher.not_taken == {"full": 3}
    assert len(side.publisher.tables("two").stations) == STATIONS_PER_CLIENT
    side.publisher.member_left(ClientId(1))
    assert side.publisher.tables("two").stations == {}


def test_stations_stay_while_their_client_is_given_the_same_server_again() -> None:
    side = Side()
    side.report(11, row("0200000000aa", 1))
    side.publisher.member_joined(member(1), "one")
    assert len(side.publisher.tables("two").stations) == 1
    side.publisher.member_joined(member(1), "two")
    assert side.publisher.tables("two").stations == {}


def test_a_client_is_placed_only_when_its_own_server_confirms() -> None:
    side = Side()
    side.publisher.receive_message(11, Applied(4, 99), 0)
    side.publisher.receive_message(11, Applied(5, 99), 0)
    assert side.events == []
    side.publisher.receive_message(11, Applied(5, 1), 0)
    assert side.events == [("up", "one"), ("placed", 1, "one")]
    side.publisher.member_joined(member(3), "one")
    side.did()
    side.publisher.receive_message(12, Applied(5, 2), 0)
    side.publisher.receive_message(11, Applied(5, 1), 0)
    assert ("placed", 3, "one") not in side.events
    side.publisher.receive_message(11, Applied(5, 2), 0)
    assert side.events[-1] == ("placed", 3, "one")


def test_a_server_that_is_none_of_ours_is_refused() -> None:
    assert not Side().publisher.server_connected(13, "three", 0)


def test_a_server_must_greet_first_once_and_in_this_version() -> None:
    for said in (Alive(), Applied(5, 1)):
        side = Side()
        side.publisher.server_connected(21, "one", 0)
        side.did()
        side.publisher.receive_message(21, said, 0)
        assert side.did() == [CloseServer(21)]
    side = Side()
    side.publisher.receive_message(11, Hello(VERSION), 0)
    assert side.did() == [CloseServer(11)]
    side.publisher.server_connected(21, "one", 0)
    side.publisher.receive_message(21, Hello(VERSION + 1), 0)
    assert side.did() == [CloseServer(21)]


def test_a_server_that_says_nothing_or_nonsense_is_given_up() -> None:
    side = Side()
    side.publisher.receive_message(11, Applied(5, 1), 0)
    side.publisher.message_broken(11)
    assert side.events[-1] == ("down", "one")
    side.publisher.receive_message(12, Alive(), 1)
    side.did()
    side.publisher.handle_timeout(SILENCE)
    assert side.did() == []
    side.publisher.handle_timeout(SILENCE + 1)
    assert side.did() == [CloseServer(12)]


@pytest.mark.parametrize(("distribution", "kind"), [("full", Snapshot), ("delta", Changes)])
def test_a_change_is_told_whole_or_as_a_change(distribution: Distribution, kind: type) -> None:
    side = Side(distribution=distribution)
    side.publisher.member_joined(member(3), "one")
    told = [one.message for one in side.did() if isinstance(one, SendTables)]
    assert [type(message) for message in told] == [kind, kind]


def test_who_asks_for_the_whole_gets_it() -> None:
    side = Side()
    side.publisher.receive_message(11, Resynchronise(0, 0), 0)
    (told,) = side.did()
    assert isinstance(told, SendTables)
    assert isinstance(told.message, Snapshot)
    assert told.message.sequence == 2


def test_by_cascade_a_server_is_told_of_its_own_clients_and_of_other_servers_alone() -> None:
    side = Side(delivery="cascade")
    tables = side.publisher.tables("one")
    assert list(tables.members) == [1]
    assert {name: one.vpn_ids for name, one in tables.servers.items()} == {"two": (1001,)}
    side.publisher.member_left(ClientId(2))
    assert tables.servers["two"].vpn_ids == ()
