"""Whatever changes: no frame is lost, and none is read by those who should not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.client import Client
from protocol.management import RekeyPolicy
from protocol.types import SECOND, MemberDelivery
from tests.protocol.sub_ids import (
    DELIVERIES,
    HOME,
    eavesdrops,
)
from tests.world import Datagram, World, differences, frame

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
