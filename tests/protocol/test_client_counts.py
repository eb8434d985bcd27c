"""What VPN servers count by client, and what the representative makes of it."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from protocol.distribution import counts as counting
from protocol.distribution.counts import ClientCounts, CountSums
from protocol.distribution.subscriber import COUNTS_INTERVAL
from protocol.relay import Passed, Relay
from protocol.relay.tables import Member
from protocol.types import SECOND, Address, ClientId, ServerDelivery, VpnId
from protocol.wire.binding import BINDING
from protocol.wire.probe import PROBE
from protocol.wire.table_messages import CountRow, Counts
from tests.servers_world import QUIET, ServersWorld
from tests.world import Datagram, frame

INTERVAL = COUNTS_INTERVAL / SECOND
USERS = ("a", "b", "c", "d@1002")
MACS = {"a": "aa", "b": "bb", "c": "cc", "d": "dd"}
Numbers = tuple[int, int, int, int]


class Ledger:
    """What the network has carried from and to each client: counted beside the relays."""

    def __init__(self, world: ServersWorld) -> None:
        self._numbers: dict[str, Counter[int]] = {name: Counter() for name in world.peers}
        self._name_of = {peer.address.host: name for name, peer in world.peers.items()}
        world.on_datagram = self.note

    def note(self, datagram: Datagram) -> bool:
        if datagram.payload[0] not in (PROBE, BINDING):
            for first, host in ((0, datagram.source.host), (2, datagram.destination.host)):
                if host in self._name_of:
                    self._numbers[self._name_of[host]][first] += 1
                    self._numbers[self._name_of[host]][first + 1] += len(datagram.payload)
        return True

    def of(self, name: str) -> list[int]:
        return [self._numbers[name][index] for index in range(4)]


def sums(world: ServersWorld) -> dict[int, Numbers]:
    """Returns what the representative shows of each client that is registered."""
    assert world.representative is not None
    sent, received = world.representative.publisher.counts.passed()
    shown: dict[int, Numbers] = {}
    for member, _, _ in world.representative.management.registered():
        one, other = sent[member.client_id], received[member.address]
        shown[member.client_id] = (one.datagrams, one.octets, other.datagrams, other.octets)
    return shown


def of_user(world: ServersWorld, name: str) -> list[int]:
    assert world.representative is not None
    (number,) = [
        member.client_id
        for member, user, _ in world.representative.management.registered()
        if user.user == name
    ]
    return list(sums(world)[number])


def counted_now(world: ServersWorld) -> dict[int, list[int]]:
    """Returns the sum of what the servers that run have counted, by client."""
    total: dict[int, list[int]] = {}
    for server in world.servers.values():
        if server.running:
            for client_id, both in server.subscriber.counts.by_client().items():
                known = total.setdefault(client_id, [0] * 4)
                total[client_id] = [x + y for x, y in zip(known, both.numbers, strict=True)]
    return total


def talk(world: ServersWorld) -> None:
    for name, mac in MACS.items():
        if name in world.wanted:
            world.send(name, frame("*", mac, f"from {name}".encode()))


@pytest.mark.parametrize("delivery", ["direct", "cascade"])
def test_sums_are_what_the_network_has_carried(delivery: ServerDelivery) -> None:
    world = ServersWorld(*USERS, delivery=delivery)
    ledger = Ledger(world)
    world.join("a", "b", "c", "d")
    for _ in range(3):
        talk(world)
    world.run(INTERVAL + 1)
    for name in MACS:
        assert of_user(world, name) == ledger.of(name)
        assert ledger.of(name)[0] == 3


@pytest.mark.parametrize("delivery", ["direct", "cascade"])
def test_sums_go_on_over_a_move_and_servers_that_come_back(delivery: ServerDelivery) -> None:
    world = ServersWorld(*USERS, delivery=delivery)
    ledger = Ledger(world)
    world.join("a", "b", "c")
    talk(world)
    world.run(INTERVAL + 1)
    for _ in range(2):
        server = world.server_of("a")
        assert server is not None
        world.crash_server(server)  # all that it has counted is reported
        world.run(6)
        assert world.server_of("a") != server
        talk(world)
        world.start_server(server)
        world.run(INTERVAL + 1)
        talk(world)
        world.run(INTERVAL + 1)
        for name in ("a", "b", "c"):
            assert of_user(world, name) == ledger.of(name)


def test_a_report_that_was_lost_with_its_channel_is_made_good() -> None:
    world = ServersWorld(*USERS, servers=("one",))
    ledger = Ledger(world)
    world.join("a", "b")
    talk(world)
    channel = world.servers["one"].channel
    world.cut(channel)
    world.run(3)
    talk(world)
    world.run(INTERVAL + 1)
    assert of_user(world, "a") == ledger.of("a")
    before = of_user(world, "a")
    world.cut(world.servers["one"].channel)
    world.run(INTERVAL + 4)  # told once more, and nothing is counted twice
    assert of_user(world, "a") == before


class Faults(RuleBasedStateMachine):
    """Anything happens; sums never fall, never exceed what was carried, and are right when it is quiet."""

    @initialize(
        number=st.integers(1, 3),
        delivery=st.sampled_from(["direct", "cascade"]),
        hop_tags=st.booleans(),
    )
    def begin(self, number: int, delivery: ServerDelivery, hop_tags: bool) -> None:
        names = ("one", "two", "three")[:number]
        self.world = ServersWorld(*USERS, servers=names, delivery=delivery, hop_tags=hop_tags)
        self.ledger = Ledger(self.world)
        self.shown: dict[int, Numbers] = {}
        self.crashed = False
        self.world.run(0.5)

    @rule(name=st.sampled_from(sorted(MACS)))
    def join(self, name: str) -> None:
        self.world.join(name, seconds=1)

    @rule(name=st.sampled_from(sorted(MACS)))
    def leave(self, name: str) -> None:
        if name in self.world.wanted:
            self.world.leave(name)

    @rule(index=st.integers(0, 2), crash=st.booleans())
    def lose_server(self, index: int, crash: bool) -> None:
        name = sorted(self.world.servers)[index % len(self.world.servers)]
        if crash:
            self.crashed = True
            self.world.crash_server(name)
        else:
            self.world.cut(self.world.servers[name].channel)

    @rule()
    def start_servers(self) -> None:
        for name in self.world.servers:
            self.world.start_server(name)

    @rule()
    def restart_representative(self) -> None:
        self.world.crash_representative()
        self.world.run(1)
        self.world.start_representative()

    @rule()
    def talk(self) -> None:
        talk(self.world)

    @rule(seconds=st.sampled_from([0.3, 2.0, 6.0, 12.0]))
    def wait(self, seconds: float) -> None:
        self.world.run(seconds)

    @invariant()
    def sums_never_fall(self) -> None:
        if not hasattr(self, "world"):
            return
        now = sums(self.world)
        for client_id, before in self.shown.items():
            after = now.get(client_id, before)
            assert all(one >= other for one, other in zip(after, before, strict=True))
        self.shown = now

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.start_servers()
        self.world.run(QUIET + INTERVAL)
        self.sums_never_fall()
        counted = counted_now(self.world)
        for client_id, shown in sums(self.world).items():
            here = counted.get(client_id, [0] * 4)
            assert all(one >= other for one, other in zip(shown, here, strict=True))
            assert self.crashed or list(shown) == here
        for name in self.world.registered():
            carried = zip(of_user(self.world, name), self.ledger.of(name), strict=True)
            assert all(one <= other for one, other in carried)


TestFaults = Faults.TestCase
TestFaults.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)


# -- what is believed and how it is told


def member(number: int) -> Member:
    return Member(ClientId(number), VpnId(1001), Address(f"3ffe:aaaa::{number:x}", 5000))


def row(client_id: int, *numbers: int) -> CountRow:
    return CountRow(client_id, *numbers)


@pytest.mark.parametrize(
    ("direct", "numbers", "believed"),
    [
        (True, (0, 0, 5, 500), True),
        (True, (1, 100, 5, 500), False),
        (False, (0, 0, 5, 500), False),
    ],
)
def test_a_server_that_never_held_a_client_says_at_most_what_it_has_sent_it(
    direct: bool, numbers: Numbers, believed: bool
) -> None:
    known = CountSums(direct)
    known.joined(member(1), "one")
    assert known.take("two", Counts(1, (row(1, *numbers), row(9, 1, 1, 1, 1)))) == (not believed)
    assert known.passed()[1][member(1).address].datagrams == (5 if believed else 0)
    known.joined(member(1), "two")
    assert known.take("two", Counts(1, (row(1, *numbers),))) == 0
    assert known.passed()[1][member(1).address].octets == 500


def test_counts_that_begin_anew_are_added_and_those_said_twice_are_not() -> None:
    known = CountSums(every_server_sends=True)
    known.joined(member(1), "one")

    def sent() -> int:
        return known.passed()[0][ClientId(1)].datagrams

    for start, count, total in (
        (1, 5, 5),
        (1, 5, 5),
        (1, 7, 7),
        (2, 9, 16),  # another start: nothing of it was said before
        (2, 4, 20),  # less: the server had forgotten the client
    ):
        known.take("one", Counts(start, (row(1, count, 100 * count, 0, 0),)))
        assert sent() == total
    known.left(ClientId(1))
    assert known.passed() == ({}, {})


def test_reports_are_of_bounded_size_and_say_what_has_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(counting, "ROWS_EACH", 2)
    relay = Relay()
    counts = ClientCounts(relay, 7)
    past = relay.flows._past_of_clients.sent
    for number in range(1, 6):
        relay.add_member(member(number))
        past[ClientId(number)] = Passed(number, 100)
    reports = counts.take_reports()
    assert [len(one.rows) for one in reports] == [2, 2, 1]
    assert {one.start for one in reports} == {7}
    assert counts.take_reports() == []
    past[ClientId(3)].add(1, 50)
    (report,) = counts.take_reports()
    assert report.rows == (row(3, 4, 150, 0, 0),)
    counts.tell_all_again()
    assert sum(len(one.rows) for one in counts.take_reports()) == 5


def test_clients_that_are_gone_are_kept_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    relay = Relay()
    counts = ClientCounts(relay, 7)
    for number in range(1, 6):
        relay.add_member(member(number))
        relay.flows._past_of_clients.sent[ClientId(number)] = Passed(number, 100)
        relay.remove_member(ClientId(number))
    relay.add_member(member(1))
    assert sorted(counts.by_client()) == [1, 2, 3, 4, 5]
    monkeypatch.setattr(counting, "GONE_KEPT", 2)
    counts.take_reports()
    assert sorted(counts.by_client()) == [1, 4, 5]
    counts.forget_all_gone()
    assert sorted(counts.by_client()) == [1]
