"""Several clients on one LAN: one forwards, the others stand by, whatever is lost, ends or comes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.client import Client
from protocol.client.actions import (
    Action,
    Announce,
    DeliverFrame,
    SendClaim,
    SendDatagram,
    StandBy,
)
from protocol.client.loop_protection import (
    FIRST_PAUSE,
    HANDOVER,
    INTERVAL,
    LISTENING,
    SILENCE,
    LoopProtection,
)
from protocol.client.tables import SaManagementTable, Side
from protocol.client.transfer import Transfer
from protocol.errors import DropReason
from protocol.security_association import SecurityAssociation
from protocol.types import SECOND, ClientId
from protocol.wire import claim
from protocol.wire.claim import Claim, Standing
from protocol.wire.vpn_header import VpnHeader
from tests.protocol.associations import association, parameters
from tests.protocol.client.test_transfer import BROADCAST, MTU, RELAY, Station, sealed, wrapped
from tests.world import frame, mac

MILLISECOND = SECOND // 1000
DELAY = MILLISECOND


def claimed(sender_id: int, standing: Standing = Standing.APART) -> bytes:
    """The claim of the client whose ID and sender ID are this number; with keys set by hand it is apart."""
    packet = association(sender_id).seal_claim(Claim(standing, ClientId(sender_id)))
    return claim.frame_of(packet, ClientId(sender_id))


def actions(client: Client) -> list[Action]:
    """What a client wants done now."""
    return list(iter(client.next_action, None))


def claims(done: list[Action]) -> int:
    return sum(isinstance(action, SendClaim) for action in done)


def standing_by(sender_id: int = 5) -> Station:
    """A station whose client has heard the claim of client 1."""
    station = Station(sender_id)
    station.client.handle_timeout(0)
    station.client.receive_frame(claimed(1), 0)
    assert StandBy(ClientId(1)) in actions(station.client)
    return station


def take_over(client: Client) -> None:
    """Lets the time pass after which a client forwards that has heard nothing since 0."""
    client.handle_timeout(SILENCE)
    client.handle_timeout(SILENCE + HANDOVER)


# -- what a client does while it stands by


def test_a_client_claims_at_once_then_ever_more_seldom() -> None:
    client, at = Station(5).client, []
    now = 0
    while now < 10 * SECOND:
        client.handle_timeout(now)
        at += [now] * claims(actions(client))
        now = client.next_timeout()
    pauses = [late - early for early, late in pairwise(at)]
    assert pauses[:7] == [FIRST_PAUSE << n for n in range(7)]
    assert set(pauses[7:]) == {INTERVAL}
    assert at[0] == 0


def test_who_stands_by_neither_seals_nor_delivers_and_learns_nothing() -> None:
    station = standing_by()
    assert station.sends(frame("bb", "aa")) is DropReason.STAND_BY
    assert station.takes(sealed(BROADCAST)) is DropReason.STAND_BY
    large = frame("bb", "aa", bytes(MTU + 1))
    assert station.sends(large) is DropReason.STAND_BY
    assert len(station.client.transfer.stations) == 0
    sealing = station.client.associations.sealing
    assert sealing is not None
    assert sealing.next_counter == 3, "its claim, and one with which it gave way"


def test_runs_of_frames_and_datagrams_are_dropped_too() -> None:
    client = standing_by().client
    client.receive_frames([frame("bb", "aa")] * 3, 0)
    sender = Station(2)
    payloads = [sender.sends(BROADCAST) for _ in range(3)]
    octets = b"".join(one for one in payloads if isinstance(one, bytes))
    client.receive_datagrams(memoryview(octets), len(octets) // 3, RELAY, 0)
    assert not actions(client)
    assert client.drops == {DropReason.STAND_BY: 6}


def test_what_came_while_it_stood_by_cannot_be_sent_to_it_again_later() -> None:
    station, payload = standing_by(), sealed(BROADCAST)
    assert station.takes(payload) is DropReason.STAND_BY
    take_over(station.client)
    assert StandBy(None) in actions(station.client)
    assert station.takes(payload, 8) is DropReason.REPLAYED


def test_who_takes_over_begins_with_an_empty_table() -> None:
    station = Station(5)
    station.sends(frame("*", "aa"))
    station.takes(sealed(BROADCAST))
    assert len(station.client.transfer.stations) == 2
    station.client.receive_frame(claimed(1), 0)
    take_over(station.client)
    actions(station.client)
    assert len(station.client.transfer.stations) == 0
    assert isinstance(station.sends(frame("aa", "ab"), 8), bytes), "aa may have moved meanwhile"
    assert station.client.transfer.stations.lookup(mac("ab"), 8 * SECOND) is Side.LAN


def test_who_takes_over_claims_at_once() -> None:
    client = standing_by().client
    assert client.next_timeout() <= SILENCE
    client.handle_timeout(SILENCE - 1)
    assert not actions(client)
    client.handle_timeout(SILENCE)
    assert claims(actions(client)) == 1


def test_a_worse_claim_is_answered_by_who_forwards_alone() -> None:
    forwarding, waiting = Station(5).client, standing_by().client
    for client in (forwarding, waiting):
        client.handle_timeout(0)
        actions(client)
        client.receive_frame(claimed(9), MILLISECOND)
    assert forwarding.next_timeout() == MILLISECOND
    assert waiting.next_timeout() > MILLISECOND
    forwarding.handle_timeout(MILLISECOND)
    assert claims(actions(forwarding)) == 1


def test_three_lost_claims_are_borne() -> None:
    client = standing_by().client
    client.handle_timeout(3 * INTERVAL)
    assert not actions(client)


# -- what clients tell each other of stations


def heard_of(said: list[Action], listener: Client, now: int) -> None:
    """Gives one client what another has put on the LAN."""
    for action in said:
        if isinstance(action, SendClaim):
            listener.receive_frame(action.frame, now)


def test_who_takes_over_announces_the_stations_that_it_was_told() -> None:
    forwarding, waiting = Station(1), standing_by()
    forwarding.client.handle_timeout(0)
    forwarding.client.receive_frame(frame("*", "aa"), 0)
    forwarding.client.receive_datagram(sealed(BROADCAST), RELAY, 0)
    forwarding.client.handle_timeout(FIRST_PAUSE)
    heard_of(actions(forwarding.client), waiting.client, FIRST_PAUSE)
    stations = waiting.client.transfer.stations
    assert stations.lookup(mac("aa"), SECOND) is Side.LAN
    assert stations.lookup(mac("bb"), SECOND) is Side.OUTSIDE
    begins = FIRST_PAUSE + SILENCE + HANDOVER
    for now in (FIRST_PAUSE + SILENCE, begins):
        waiting.client.handle_timeout(now)
    done = actions(waiting.client)
    assert [one.frame for one in done if isinstance(one, Announce)] == [
        claim.announcement(mac("bb"))
    ]
    (datagram,) = [one for one in done if isinstance(one, SendDatagram)]
    assert VpnHeader.parse(datagram.payload).macs == (mac("aa"), claim.DESTINATION)
    receiver = Station(3)
    assert receiver.takes(datagram.payload, begins / SECOND) is DropReason.STATION_ANNOUNCED
    assert receiver.client.transfer.stations.lookup(mac("aa"), begins) is Side.OUTSIDE


def test_a_station_that_has_gone_elsewhere_meanwhile_is_not_announced() -> None:
    waiting = standing_by()
    listed = claim.StationList(ClientId(1), (mac("aa"),), ())
    packet = association(1, first_counter=5).seal_claim(listed)
    waiting.client.receive_frame(claim.frame_of(packet, ClientId(1), claim.LIST), SECOND)
    assert waiting.client.transfer.stations.lookup(mac("aa"), SECOND) is Side.LAN
    own = association(1, first_counter=6).seal(frame("*", "aa"))
    assert waiting.takes(wrapped(own, frame("*", "aa")), 1) is DropReason.STAND_BY
    assert waiting.client.transfer.stations.lookup(mac("aa"), SECOND) is Side.LAN, "its companion"
    others = Station(3).sends(frame("*", "aa"))
    assert isinstance(others, bytes)
    assert waiting.takes(others, 1) is DropReason.STAND_BY
    assert waiting.client.transfer.stations.lookup(mac("aa"), SECOND) is None


def test_who_gives_way_says_what_it_knows() -> None:
    station, better = Station(5), Station(1)
    station.client.handle_timeout(0)
    station.client.receive_frame(frame("*", "aa"), 0)
    actions(station.client)
    station.client.receive_frame(claimed(1), SECOND)
    heard_of(actions(station.client), better.client, SECOND)
    assert better.client.transfer.stations.lookup(mac("aa"), SECOND) is Side.LAN


def test_a_list_that_nobody_of_the_group_has_sealed_teaches_nothing() -> None:
    waiting = standing_by()
    other = SecurityAssociation(parameters(1, key=bytes(16)))
    packet = other.seal_claim(claim.StationList(ClientId(1), (mac("aa"),), ()))
    waiting.client.receive_frame(claim.frame_of(packet, ClientId(1), claim.LIST), SECOND)
    assert waiting.client.drops[DropReason.CLAIM_REFUSED] == 1
    assert len(waiting.client.transfer.stations) == 0


@pytest.mark.parametrize("side", ["lan", "outside"])
def test_a_station_that_seems_to_be_on_both_sides_brings_a_claim_at_once(side: str) -> None:
    station = Station(5)
    station.client.handle_timeout(0)
    actions(station.client)
    if side == "lan":
        station.takes(sealed(BROADCAST), 1)
        assert station.sends(BROADCAST, 1.5) is DropReason.STATION_SEEN_OUTSIDE
    else:
        station.sends(BROADCAST, 1)
        assert station.takes(sealed(BROADCAST), 1.5) is DropReason.STATION_SEEN_HERE
    assert station.client.next_timeout() <= round(1.5 * SECOND)


def test_a_frame_to_many_that_comes_again_brings_a_claim_but_not_all_the_time() -> None:
    station = Station(5)
    now = claimed_at = sent = 0
    while now < 60 * SECOND:
        station.client.handle_timeout(now)
        claimed_at = now if claims(actions(station.client)) else claimed_at
        now = station.client.next_timeout()
    now = claimed_at + SECOND
    for _ in range(100):
        now += MILLISECOND
        station.client.receive_frame(BROADCAST, now)
        if station.client.next_timeout() <= now:
            station.client.handle_timeout(now)
        sent += claims(actions(station.client))
    assert sent == 2, "one claim with one list"
    assert station.client.frames_sealed == 100, "it may be honest: it is sent on"


def test_who_was_stopped_for_long_listens_before_it_forwards_again() -> None:
    station = Station(5, listening=LISTENING)
    station.client.handle_timeout(0)
    station.client.handle_timeout(LISTENING)
    assert not station.client.loop_protection.standing_by
    actions(station.client)
    station.client.receive_frame(BROADCAST, LISTENING + SILENCE)
    assert station.client.drops == {DropReason.STAND_BY: 1}
    station.client.handle_timeout(LISTENING + SILENCE)
    assert claims(actions(station.client)) == 1
    station.client.handle_timeout(2 * LISTENING + SILENCE)
    assert not station.client.loop_protection.standing_by


# -- fitness


def test_who_has_no_control_channel_gives_way_to_who_has_one_after_a_while() -> None:
    station = Station(5)
    protection = station.client.loop_protection
    protection.become(Claim(Standing.REGISTERED, ClientId(5)), 0)
    receiver = protection.receive_frame
    assert receiver(claimed(1, Standing.REGISTERED), 0) is None
    apart = association(1, first_counter=2).seal_claim(Claim(Standing.APART, ClientId(1)))
    receiver(claim.frame_of(apart, ClientId(1)), SECOND)
    assert protection.standing_by
    protection.handle_timeout(SILENCE)
    protection.handle_timeout(SILENCE + HANDOVER)
    assert not protection.standing_by


def test_a_client_that_leaves_says_so_and_the_next_takes_over_soon() -> None:
    leaving, waiting = Station(1).client, standing_by().client
    leaving.handle_timeout(0)
    actions(leaving)
    leaving.leave(SECOND)
    (said,) = [action for action in actions(leaving) if isinstance(action, SendClaim)]
    waiting.receive_frame(said.frame, SECOND)
    waiting.handle_timeout(SECOND)
    assert claims(actions(waiting)) == 1
    assert waiting.next_timeout() <= SECOND + HANDOVER
    waiting.handle_timeout(SECOND + HANDOVER)
    assert StandBy(None) in actions(waiting)
    assert leaving.loop_protection.next_timeout() is None


def test_a_client_that_stood_by_leaves_without_a_word() -> None:
    client = standing_by().client
    client.leave(SECOND)
    assert claims(actions(client)) == 0
    assert not client.loop_protection.standing_by


def test_who_can_seal_nothing_more_stands_by_for_anybody() -> None:
    station = Station(1)
    sealing = station.client.associations.sealing
    assert sealing is not None
    sealing.next_counter = sealing.last_counter + 1
    station.client.handle_timeout(0)
    assert claims(actions(station.client)) == 0
    station.client.receive_frame(claimed(9), 0)
    assert actions(station.client) == [StandBy(ClientId(9))]
    assert station.takes(sealed(BROADCAST)) is DropReason.STAND_BY


# -- whom it believes


def strangers(octets: bytes) -> bytes:
    """A claim under the group's SPI and another key."""
    other = SecurityAssociation(parameters(1, key=bytes(16)))
    return claim.frame_of(other.seal_claim(Claim(Standing.REGISTERED, ClientId(1))), ClientId(1))


@pytest.mark.parametrize(
    "alter",
    [
        strangers,
        lambda octets: octets[:-1] + bytes([octets[-1] ^ 1]),
        lambda octets: octets[:16] + b"\x00\x00\x20\x01" + octets[20:],
        lambda octets: octets[:14],
        lambda octets: octets[:17],
    ],
    ids=["another key", "changed", "another SPI", "nothing in it", "cut"],
)
def test_nobody_without_the_key_makes_a_client_stand_by(alter: Callable[[bytes], bytes]) -> None:
    client = Station(5).client
    client.handle_timeout(0)
    actions(client)
    client.receive_frame(alter(claimed(1)), 0)
    assert not actions(client)
    assert client.drops == {DropReason.CLAIM_REFUSED: 1}
    assert not client.loop_protection.standing_by


def test_a_claim_that_is_repeated_keeps_nobody_away() -> None:
    client, octets = Station(5).client, claimed(1)
    for now in range(0, SILENCE, SECOND):
        client.receive_frame(octets, now)
        client.handle_timeout(now)
        assert client.loop_protection.standing_by
    take_over(client)
    assert not client.loop_protection.standing_by


def test_a_claim_is_never_sealed_and_never_delivered() -> None:
    station = Station(5)
    station.client.receive_frames([claimed(1)] * 2, 0)
    assert not any(isinstance(action, SendDatagram) for action in actions(station.client))
    octets = claimed(1)
    receiver = Station(4).client
    receiver.receive_datagram(wrapped(association(3).seal(octets), octets), RELAY, 0)
    assert not any(isinstance(action, DeliverFrame) for action in actions(receiver))
    assert receiver.drops == {DropReason.CLAIM_REFUSED: 1}


# -- any course of events

Event = tuple[int, str, int]


@dataclass
class OneLan:
    """Clients on one LAN, each a LoopProtection; what they claim reaches the others a moment later."""

    clients: dict[int, LoopProtection] = field(default_factory=dict)
    lossy_until: int = 0
    now: int = 0
    senders: int = 0
    waiting: list[tuple[int, int, int, bytes]] = field(default_factory=list)
    overlap: int = 0
    gap: int = 0
    _one_only: int = 0
    _somebody: int = 0
    _number: int = 0

    def start(self, client_id: int) -> None:
        """Starts a client, or has it begin anew under a fresh sender ID."""
        self.senders += 1
        table = SaManagementTable()
        table.install(association(self.senders))

        def act(action: Action) -> None:
            if isinstance(action, SendClaim):
                self._send(client_id, action.frame)

        protection = LoopProtection(table, Transfer(table), act, lambda _: None)
        self.clients[client_id] = protection
        protection.become(Claim(Standing.REGISTERED, ClientId(client_id)), self.now)

    def happen(self, kind: str, client_id: int) -> None:
        """Does one event."""
        self._note()
        if kind == "start":
            self.start(client_id)
        elif kind == "crash":
            self.clients.pop(client_id, None)
        elif kind == "lose":
            self.lossy_until = self.now + client_id * 5 * SECOND
        elif client_id in self.clients:
            standing = Standing.APART if kind == "apart" else Standing.REGISTERED
            claimed_now = Claim(standing, ClientId(client_id))
            self.clients[client_id].become(claimed_now, self.now)
        self._note()

    def run_until(self, end: int) -> None:
        """Lets claims arrive and timers expire."""
        while True:
            due = [
                time for one in self.clients.values() if (time := one.next_timeout()) is not None
            ]
            due += [self.waiting[0][0]] if self.waiting else []
            if min(due, default=end + 1) > end:
                break
            self._pass(max(self.now, min(due)))
            while self.waiting and self.waiting[0][0] <= self.now:
                _, _, receiver, octets = heappop(self.waiting)
                if receiver in self.clients:
                    self.clients[receiver].receive_frame(octets, self.now)
            for one in list(self.clients.values()):
                due_now = one.next_timeout()
                if due_now is not None and due_now <= self.now:
                    one.handle_timeout(self.now)
            self._note()
        self._pass(end)

    @property
    def forwarding(self) -> list[int]:
        """Who forwards."""
        return sorted(name for name, one in self.clients.items() if not one.standing_by)

    def _send(self, sender: int, octets: bytes) -> None:
        if self.now < self.lossy_until:
            return
        for receiver in self.clients:
            if receiver != sender:
                self._number += 1
                heappush(self.waiting, (self.now + DELAY, self._number, receiver, octets))

    def _pass(self, time: int) -> None:
        """Lets time pass, in which nothing changes."""
        hear = max(self.lossy_until, self._one_only)
        if len(self.forwarding) > 1 and time > hear:
            self.overlap = max(self.overlap, time - hear)
        if self.clients and not self.forwarding:
            self.gap = max(self.gap, time - self._somebody)
        self.now = time

    def _note(self) -> None:
        if len(self.forwarding) <= 1:
            self._one_only = self.now
        if self.forwarding or not self.clients:
            self._somebody = self.now


events = st.lists(
    st.tuples(
        st.integers(0, 30_000),
        st.sampled_from(["start", "crash", "lose", "apart", "registered"]),
        st.integers(1, 3),
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(events)
def test_two_never_forward_for_long_nor_does_nobody(course: list[Event]) -> None:
    """Two forward, once they hear each other, until the next claim and its answer."""
    lan = OneLan()
    for at, kind, who in sorted(course):
        lan.run_until(at * MILLISECOND)
        lan.happen(kind, who)
    lan.run_until(max(lan.now, lan.lossy_until) + 3 * SILENCE)
    assert lan.overlap <= INTERVAL + 2 * DELAY
    assert lan.gap <= SILENCE + HANDOVER
    best = min((one.own for one in lan.clients.values() if one.own is not None), default=None)
    assert lan.forwarding == ([] if best is None else [best.client_id])


@pytest.mark.parametrize("second", [2, 0])
def test_at_a_start_two_never_forward_whoever_is_the_fitter(second: int) -> None:
    lan = OneLan()
    lan.start(1)
    lan.run_until(60 * SECOND + 77 * MILLISECOND)
    lan.happen("start", second)
    lan.run_until(70 * SECOND)
    assert lan.overlap == 0
    assert lan.gap <= HANDOVER + DELAY
    assert lan.forwarding == [min(1, second)]


@pytest.mark.parametrize("later", [0, 1, DELAY - 1, DELAY, 2 * DELAY, LISTENING - 1, LISTENING])
def test_of_two_that_start_at_about_the_same_moment_one_forwards(later: int) -> None:
    for first, second in ((1, 2), (2, 1)):
        lan = OneLan()
        lan.start(first)
        lan.run_until(later)
        lan.happen("start", second)
        lan.run_until(20 * SECOND)
        assert lan.overlap == 0
        assert lan.gap <= LISTENING + HANDOVER
        assert lan.forwarding == [1]


def test_a_client_alone_forwards_after_it_has_listened_for_a_moment() -> None:
    lan = OneLan()
    lan.start(1)
    lan.run_until(10 * SECOND)
    assert lan.gap == LISTENING
    assert lan.forwarding == [1]


@pytest.mark.parametrize("lost", [1, 2])
def test_two_lost_claims_do_not_bring_two_forwarders_at_a_start(lost: int) -> None:
    lan = OneLan()
    lan.start(1)
    lan.run_until(60 * SECOND)
    lan.happen("start", 2)
    lan.lossy_until = lan.now + FIRST_PAUSE * lost + DELAY
    lan.run_until(70 * SECOND)
    assert lan.overlap == 0
    assert lan.forwarding == [1]


def test_the_bounds_are_not_for_nothing() -> None:
    """Without answers a start would cost an interval; without protection all forward for ever."""
    lan = OneLan()
    for number in (1, 2):
        lan.start(number)
        lan.clients[number].receive_frame = lambda *_: None  # type: ignore[method-assign]
    lan.run_until(60 * SECOND)
    assert lan.overlap > INTERVAL + 2 * DELAY
    assert lan.forwarding == [1, 2]
