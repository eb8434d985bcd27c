"""Sub IDs changed and users expelled while frames flow: nobody reads or loses what he should not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.client import Client
from protocol.errors import DropReason
from protocol.management import RekeyPolicy
from protocol.management.actions import CheckCredentials
from protocol.management.rekeying import ACTIVATION_DELAY, DEACTIVATION_DELAY
from protocol.types import SECOND, MemberDelivery
from protocol.wire.messages import RefusalReason
from tests.world import Datagram, World, differences, frame

HOME = {"a": "aa", "b": "bb", "c": "cc", "d": "dd"}
ROLL_OVER = (ACTIVATION_DELAY + DEACTIVATION_DELAY) / SECOND + 1
DELIVERIES: tuple[MemberDelivery, ...] = ("patent", "spi")
every_delivery = pytest.mark.parametrize("delivery", DELIVERIES)


def world_of(*users: str, delivery: MemberDelivery = "patent", **options: object) -> World:
    world = World(*users, member_delivery=delivery, **options)  # type: ignore[arg-type]
    world.join_all()
    world.advance(20)
    return world


def broadcast(world: World, sender: str, word: str) -> list[str]:
    """Sends a frame to all and returns whose LANs were given it."""
    octets = frame("*", HOME[sender], word.encode())
    world.send(sender, octets)
    return sorted(name for name, frames in world.take_frames().items() if octets in frames)


def spis(client: Client) -> set[int]:
    return {association.spi for association, _ in client.associations.rows()}


def eavesdrops(world: World, client: Client, sender: str, word: str) -> bool:
    """Whether a client with the keys that it has opens a frame that ``sender`` sends now."""
    octets = frame("*", HOME[sender], word.encode())
    world.send(sender, octets)
    information = world.peers[sender].client.information
    assert information is not None
    return client.transfer.open(world.uplink[-1].payload, information, world.now) == octets


# -- another Sub ID


@every_delivery
def test_a_user_reads_with_his_new_sub_id_at_once_and_no_more_with_the_old_one(
    delivery: MemberDelivery,
) -> None:
    world = world_of("a", "b", "c", "d", delivery=delivery)
    world.move(c=2, d=2)
    assert broadcast(world, "a", "1") == ["b"]
    assert broadcast(world, "c", "2") == ["d"]
    world.move(c=1)
    assert broadcast(world, "a", "3") == ["b", "c"]
    assert broadcast(world, "c", "4") == ["a", "b"]
    assert broadcast(world, "d", "5") == []
    world.move(c=2)
    assert broadcast(world, "b", "6") == ["a"]
    assert broadcast(world, "d", "7") == ["c"]


def test_who_is_moved_is_told_nothing_of_the_sa_that_takes_the_place_of_his_old_one() -> None:
    world = world_of("a", "b", "c")
    (old,) = spis(world.peers["a"].client)
    world.move(c=2)
    (fresh,) = spis(world.peers["a"].client) - {old}
    assert spis(world.peers["b"].client) == {old, fresh}
    assert spis(world.peers["c"].client).isdisjoint({old, fresh})
    world.advance(ROLL_OVER)
    assert spis(world.peers["a"].client) == {fresh}
    rows = list(world.management.multicast_addresses.rows())
    assert len(rows) == 2
    (group,) = [row for row in world.relay.multicast_addresses.rows() if row.vpn_id == rows[0][0]]
    assert group.spis == {key.spi for _, _, key in rows}


def test_a_moved_client_that_kept_its_old_key_reads_nothing_after_the_activation_delay() -> None:
    world = world_of("a", "b", "c")
    hoarder = hoard(world, "c")
    world.move(c=2)
    assert eavesdrops(world, hoarder, "a", "the delay is not over")
    world.advance(2.1)
    assert not eavesdrops(world, hoarder, "a", "now it is")


def test_many_moves_in_one_change_cost_one_new_sa() -> None:
    names = [f"u{number}" for number in range(12)]
    world = World(*names)
    world.join_all()
    world.advance(20)
    before = world.management.keys.replaced
    world.move(**dict.fromkeys(names[:5], 2), **dict.fromkeys(names[5:8], 3))
    world.advance(30)
    assert world.management.keys.replaced - before == 1


def test_two_who_change_places_get_sas_that_the_other_never_had() -> None:
    world = world_of("a", "b")
    world.move(b=2)
    world.advance(20)
    had = {name: spis(peer.client) for name, peer in world.peers.items()}
    world.move(a=2, b=1)
    world.advance(20)
    now = {name: spis(peer.client) for name, peer in world.peers.items()}
    assert (now["a"] & had["b"], now["b"] & had["a"]) == (set(), set())


def test_what_was_accepted_stays_accepted_when_a_user_is_moved_away_and_back() -> None:
    world = world_of("a", "b", "c", rekey="never")
    assert broadcast(world, "a", "once") == ["b", "c"]
    earlier = [copy for copy in world.downlink if copy.destination == world.peers["c"].address]
    world.move(c=2)
    world.move(c=1)
    for copy in earlier:
        world.deliver(copy)
    world.settle()
    assert world.take_frames() == {}
    assert world.drops_of("c")[DropReason.REPLAYED] == 1


def test_a_sub_id_given_while_the_client_is_away_holds_when_it_is_back() -> None:
    world = world_of("a", "b", "c")
    world.disconnect("c")
    world.move(c=2)
    world.join("c")
    assert broadcast(world, "a", "not for c") == ["b"]
    world.move(c=1)
    assert broadcast(world, "a", "for c") == ["b", "c"]


# -- expelled


def hoard(world: World, name: str) -> Client:
    """A client that keeps every key that ``name`` has now, whatever it is told later."""
    hoarder = Client(world.peers[name].client.establishment.authentication, 5000)
    for association, _ in world.peers[name].client.associations.rows():
        hoarder.associations.install(association)
    return hoarder


@pytest.mark.parametrize("rekey", ["on-leave", "on-change", "never"])
def test_an_expelled_client_that_keeps_its_keys_reads_nothing_but_under_the_literal_rule(
    rekey: RekeyPolicy,
) -> None:
    world = world_of("a", "b", "c", rekey=rekey)
    hoarder = hoard(world, "c")
    world.expel("c")
    assert broadcast(world, "a", "to b alone") == ["b"]
    world.advance(2.1)
    assert eavesdrops(world, hoarder, "a", "secret") is (rekey == "never")
    world.advance(60)
    assert eavesdrops(world, hoarder, "b", "secret") is (rekey == "never")


def test_an_expelled_client_is_told_so_and_keeps_nothing() -> None:
    world = world_of("a", "b")
    peer = world.peers["b"]
    world.expel("b")
    assert [refusal.reason for refusal in peer.refusals] == [RefusalReason.EXPELLED]
    assert (peer.connection, peer.client.information, spis(peer.client)) == (None, None, set())
    assert [len(members) for _, members in world.relay.unicast_groups.rows()] == [1]
    world.connect(peer)
    assert [refusal.reason for refusal in peer.refusals][1:] == [RefusalReason.CREDENTIALS]


def test_a_user_who_is_put_into_another_vpn_is_expelled_from_his_own() -> None:
    world = world_of("a", "b", "c")
    hoarder = hoard(world, "b")
    world.vpn_of["b"] = type(world.vpn_of["b"])(1002)
    world.move()
    assert [one.reason for one in world.peers["b"].refusals] == [RefusalReason.EXPELLED]
    world.advance(2.1)
    assert not eavesdrops(world, hoarder, "a", "secret")


def test_who_is_expelled_while_away_costs_a_new_sa_at_once() -> None:
    world = world_of("a", "b", "c")
    hoarder = hoard(world, "c")
    world.disconnect("c")
    world.expel("c")
    world.advance(2.1)
    assert not eavesdrops(world, hoarder, "a", "secret")


def test_a_user_whose_password_is_being_checked_is_registered_with_his_new_sub_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = world_of("a", "b", "c")
    world.leave("c")
    verify = world.verify

    def moved_meanwhile(check: CheckCredentials) -> bool:
        world.move(c=2)
        return verify(check)

    monkeypatch.setattr(world, "verify", moved_meanwhile)
    world.join("c")
    assert broadcast(world, "a", "not for c") == ["b"]


# -- those who go by themselves


def test_a_client_that_comes_back_within_the_time_out_costs_no_new_sa() -> None:
    world = world_of("a", "b", "c")
    before = world.management.keys.replaced
    for _ in range(5):
        world.disconnect("c")
        world.advance(15)
        world.join("c")
        world.advance(40)
    assert world.management.keys.replaced == before


@pytest.mark.parametrize("how", ["leave", "disconnect"])
def test_a_client_that_goes_for_good_costs_one_new_sa_when_it_would_have_timed_out(
    how: str,
) -> None:
    world = world_of("a", "b", "c", "d")
    hoarder = hoard(world, "c")
    before = world.management.keys.replaced
    getattr(world, how)("c")
    world.advance(3)
    getattr(world, how)("d")
    world.advance(30)
    assert world.management.keys.replaced == before + 1
    world.advance(2.1)
    assert not eavesdrops(world, hoarder, "a", "secret")


def test_a_user_who_registers_from_another_place_costs_no_new_sa() -> None:
    world = world_of("a", "b")
    before = world.management.keys.replaced
    moved = world.new_peer("a")
    moved.address = moved.address._replace(host="3ffe:1:ffff::1")
    world.connect(moved)
    world.advance(60)
    assert world.management.keys.replaced == before


# -- those who come


@pytest.mark.parametrize("rekey", ["on-leave", "on-change"])
def test_who_comes_reads_what_was_sealed_before_unless_the_policy_is_on_change(
    rekey: RekeyPolicy,
) -> None:
    world = World("a", "b", "c", rekey=rekey)
    world.join("a", "b")
    world.advance(20)
    world.send("a", frame("*", "aa", b"before c came"))
    earlier = world.uplink[-1].payload
    world.join("c")
    client = world.peers["c"].client
    assert client.information is not None
    opened = client.transfer.open(earlier, client.information, world.now)
    assert isinstance(opened, bytes) is (rekey == "on-leave")
    world.advance(2.1)
    assert broadcast(world, "a", "to both") == ["b", "c"]


def test_under_on_change_a_user_moved_here_cannot_read_what_was_sealed_before() -> None:
    world = world_of("a", "b", "c", rekey="on-change")
    world.move(c=2)
    world.advance(20)
    world.send("a", frame("*", "aa", b"without c"))
    earlier = world.uplink[-1].payload
    world.move(c=1)
    client = world.peers["c"].client
    assert client.information is not None
    opened = client.transfer.open(earlier, client.information, world.now)
    assert opened is DropReason.UNKNOWN_SPI


# -- age


def test_an_sa_rolls_over_at_the_end_of_its_lifetime_by_itself() -> None:
    world = World("a", "b", sa_lifetime=100 * SECOND)
    world.join_all()
    (first,) = spis(world.peers["a"].client)
    world.advance(99)
    assert spis(world.peers["a"].client) == {first}
    world.advance(1 + ROLL_OVER)
    (second,) = spis(world.peers["a"].client)
    assert second != first
    assert spis(world.peers["b"].client) == {second}
    world.advance(500)
    assert world.management.keys.replaced == 6


def test_under_the_literal_rule_an_sa_has_no_lifetime() -> None:
    world = World("a", "b", sa_lifetime=100 * SECOND, rekey="never")
    world.join_all()
    world.advance(1000)
    assert world.management.keys.replaced == 0


def test_an_sa_rolls_over_once_a_sender_has_sealed_its_packets() -> None:
    world = World("a", "b", sa_packets=60)
    world.join_all()
    (first,) = spis(world.peers["a"].client)
    for number in range(29):
        assert broadcast(world, "a", str(number)) == ["b"]
    world.advance(10)
    assert spis(world.peers["b"].client) == {first}
    for number in range(29, 300):
        assert broadcast(world, "a", str(number)) == ["b"]
        world.advance(1)
    assert 5 <= world.management.keys.replaced <= 9
    assert spis(world.peers["a"].client) & spis(world.peers["b"].client)


def test_under_the_literal_rule_packets_bring_no_new_sa() -> None:
    world = World("a", "b", sa_packets=3, rekey="never")
    world.join_all()
    for number in range(30):
        assert broadcast(world, "a", str(number)) == ["b"]
        world.advance(1)
    assert world.management.keys.replaced == 0


# -- what the relay sends to whom


def test_patent_delivery_sends_everybody_everything_and_counts_what_was_of_no_use() -> None:
    world = world_of("a", "b", "c", "d")
    world.move(c=2, d=2)
    broadcast(world, "a", "to b, and in vain to c and d")
    totals = world.relay.flows.totals()
    octets = len(world.uplink[-1].payload)
    assert (totals.copies_out, totals.copies_unreadable) == (3, 2)
    assert (totals.octets_out, totals.octets_unreadable) == (3 * octets, 2 * octets)
    assert world.drops_of("c") == world.drops_of("d") == {DropReason.UNKNOWN_SPI: 1}


def test_delivery_by_spi_sends_to_those_who_hold_the_sa_alone() -> None:
    world = world_of("a", "b", "c", "d", delivery="spi")
    world.move(c=2, d=2)
    broadcast(world, "a", "to b alone")
    broadcast(world, "c", "to d alone")
    totals = world.relay.flows.totals()
    assert (totals.copies_out, totals.copies_unreadable) == (2, 0)
    world.send("a", frame("cc", "aa", b"c's station is known, and cannot read this"))
    assert world.relay.flows.totals().copies_out == 2
    assert world.relay_dropped == {DropReason.OTHER_SUB_ID: 1}


def test_delivery_by_spi_takes_nothing_from_those_who_do_not_hold_the_sa() -> None:
    world = world_of("a", "b", "c", delivery="spi")
    world.send("c", frame("*", "cc", b"sealed with the old SA"))
    late = world.uplink[-1]
    world.take_frames()
    world.move(c=2)
    world.inject(Datagram(late.source, late.destination, late.payload))
    assert world.relay_dropped == {DropReason.OTHER_SUB_ID: 1}


# -- no frame is lost, and none is read by those who should not


steps = st.one_of(
    st.tuples(st.just("move"), st.sampled_from(["c", "d"]), st.sampled_from([1, 2, 3])),
    st.tuples(
        st.sampled_from(["expel", "leave", "disconnect", "join"]), st.sampled_from(["c", "d"])
    ),
    st.tuples(st.just("wait"), st.sampled_from([0.1, 1.0, 1.9, 2.5, 9.0, 31.0])),
)


lifetimes = st.sampled_from(
    [{}, {"sa_lifetime": 15 * SECOND}, {"sa_packets": 20}, {"sa_packets": 1}]
)
"""How long SAs serve: for ever as far as these tests go, for seconds, or for some packets."""


@dataclass
class Load:
    """Frames from everybody to all, each reaching the clients late; so does what the server tells b."""

    world: World
    turn: int = 0

    def run(self, seconds: float) -> None:
        """Sends for a while, and demands that a and b get every frame of the other."""
        step = min(seconds, 1.0)
        for _ in range(max(1, round(seconds / step))):
            self.turn += 1
            late: list[Datagram] = []
            self.world.on_downlink = lambda datagram, late=late: late.append(datagram) or ()  # type: ignore[misc]
            sent = {
                name: frame("*", HOME[name], f"{name} {self.turn}".encode())
                for name in self.world.peers
            }
            for name, octets in sent.items():
                self.world.send(name, octets)
            self.world.advance(step)
            for datagram in late:
                self.world.deliver(datagram)
            self.world.settle()
            self.check(sent)
            if self.turn % 2 == 0:
                self.hold_b_back()

    def hold_b_back(self) -> None:
        """Lets b hear what the server said up to now, and nothing from now on."""
        self.world.release("b")
        self.world.peers["b"].held = []

    def check(self, sent: dict[str, bytes]) -> None:
        """Demands what must arrive, and that nothing arrives that must not."""
        came = self.world.take_frames()
        assert sent["b"] in came.get("a", [])
        assert sent["a"] in came.get("b", [])
        for name, frames in came.items():
            for other, octets in sent.items():
                if other != name and octets in frames:
                    assert self.sub_id(name) == self.sub_id(other)

    def sub_id(self, name: str) -> int | None:
        """The Sub ID that a user has now; None once he is expelled."""
        return self.world.sub_ids[name] if name in self.world.vpn_of else None


def take(world: World, step: tuple[str, str | float] | tuple[str, str, int]) -> None:
    what, name = step[0], str(step[1])
    if len(step) == 3:
        world.move(**{name: step[2]})
    elif what == "expel":
        world.expel(name)
    elif what == "join" and world.peers[name].connection is None:
        world.join(name)
    elif what == "leave":
        world.leave(name)
    elif what == "disconnect":
        world.disconnect(name)


@given(
    st.lists(steps, max_size=25),
    st.sampled_from(["on-leave", "on-change", "never"]),
    st.sampled_from(DELIVERIES),
    lifetimes,
)
@settings(max_examples=40)
def test_whatever_changes_no_frame_is_lost_between_those_who_stay_and_none_goes_astray(
    course: list[tuple[str, str | float] | tuple[str, str, int]],
    rekey: RekeyPolicy,
    delivery: MemberDelivery,
    lifetime: dict[str, Any],
) -> None:
    world = World(*HOME, rekey=rekey, member_delivery=delivery, **lifetime)
    world.join_all()
    load = Load(world)
    for step in course:
        take(world, step)
        load.run(float(step[1]) if step[0] == "wait" else 0.2)


@given(st.lists(steps, max_size=20), st.sampled_from(["on-leave", "on-change"]), lifetimes)
@settings(max_examples=40)
def test_whoever_hoards_keys_reads_nothing_that_is_sealed_once_he_has_been_out_for_a_while(
    course: list[tuple[str, str | float] | tuple[str, str, int]],
    rekey: RekeyPolicy,
    lifetime: dict[str, Any],
) -> None:
    world = World(*HOME, rekey=rekey, **lifetime)
    world.join_all()
    load = Load(world)
    hoarder = Client(world.peers["c"].client.establishment.authentication, 5000)
    for step in course:
        take(world, step)
        load.run(float(step[1]) if step[0] == "wait" else 0.2)
        for association, _ in world.peers["c"].client.associations.rows():
            hoarder.associations.install(association)
    world.release("b")
    world.move(c=3, d=1, a=1, b=1)
    world.on_downlink = lambda datagram: (datagram,)
    world.advance(4.1)  # the spacing, and the activation delay
    assert not eavesdrops(world, hoarder, "a", "secret")
    assert not eavesdrops(world, hoarder, "b", "secret")


@given(st.lists(steps, max_size=15), st.sampled_from(["on-leave", "on-change", "never"]), lifetimes)
@settings(max_examples=40)
def test_nobody_who_belongs_is_left_behind_once_messages_flow_again(
    course: list[tuple[str, str | float] | tuple[str, str, int]],
    rekey: RekeyPolicy,
    lifetime: dict[str, Any],
) -> None:
    world = World(*HOME, rekey=rekey, **lifetime)
    world.join_all()
    for step in course:
        take(world, step)
        world.peers["d"].deaf = not world.peers["d"].deaf
        world.advance(float(step[1]) if step[0] == "wait" else 0.2)
    for peer in world.peers.values():
        peer.deaf = False
    world.disconnect("d")
    world.move(c=1, d=1)
    for name in HOME:
        if world.peers[name].connection is None:
            world.join(name)
    world.advance(3)
    world.take_frames()
    for name in HOME:
        octets = frame("*", HOME[name], b"to all")
        world.send(name, octets)
        expected = {other: [octets] for other in HOME if other != name}
        assert differences(expected, world.take_frames()) == []
