"""No (key, IV) pair is ever used twice, and no frame is lost when an SA is replaced."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.cipher import Aead
from protocol.errors import DropReason
from protocol.management import tables
from protocol.security_association import SecurityAssociation
from protocol.types import Secret, SubId
from protocol.wire.codec import MOST_PACKETS
from protocol.wire.messages import RekeyRequest
from tests.world import Datagram, World, differences, frame

USERS = ("a", "b", "c")
HOME = dict(zip(USERS, ("aa", "bb", "cc"), strict=True))


@contextmanager
def recorded_nonces() -> Iterator[list[tuple[bytes, bytes]]]:
    """Records (key, nonce) of every call that seals."""
    used: list[tuple[bytes, bytes]] = []
    keys: dict[int, bytes] = {}
    make, seal, seal_all = Aead.__init__, Aead.seal, Aead.seal_all

    def recording_make(self: Aead, key: Secret) -> None:
        make(self, key)
        keys[id(self)] = key.reveal()

    def recording_seal(self: Aead, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
        used.append((keys[id(self)], nonce))
        return seal(self, nonce, plaintext, associated)

    def recording_seal_all(
        self: Aead, nonces: Sequence[bytes], *rest: Sequence[bytes]
    ) -> list[bytes]:
        used.extend((keys[id(self)], nonce) for nonce in nonces)
        return seal_all(self, nonces, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Aead, "__init__", recording_make)
        patch.setattr(Aead, "seal", recording_seal)
        patch.setattr(Aead, "seal_all", recording_seal_all)
        yield used


steps = st.one_of(
    st.tuples(st.just("send"), st.sampled_from(USERS)),
    st.tuples(st.sampled_from(["join", "leave", "disconnect", "rekey"]), st.sampled_from(USERS)),
    st.tuples(st.just("advance"), st.sampled_from([0.5, 3.0, 13.0, 40.0])),
)


def take(world: World, step: tuple[str, str | float]) -> None:
    what, argument = step
    if isinstance(argument, float):
        world.advance(argument)
    elif what == "join":
        world.join(argument)
    elif argument in world.peers and what == "send":
        world.send(argument, frame("*", HOME[argument]))
    elif argument in world.peers and what == "leave":
        world.leave(argument)
    elif argument in world.peers and what == "disconnect":
        world.disconnect(argument)
    elif argument in world.peers and what == "rekey":
        ask_for_rekey(world, argument)


def ask_for_rekey(world: World, user: str) -> None:
    """Has a client ask for a new SA, as it does when it has sealed as many packets as it should."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SecurityAssociation, "is_worn", True)
        world.peers[user].client.establishment.check_counter()
        world.settle()


@given(st.lists(steps, max_size=40), st.sampled_from([4, 5, 65536]))
def test_no_nonce_is_used_twice_whatever_the_members_do(
    course: list[tuple[str, str | float]], sender_ids: int
) -> None:
    with pytest.MonkeyPatch.context() as patch, recorded_nonces() as used:
        patch.setattr(tables, "SENDER_IDS", sender_ids)
        world = World(*USERS)
        world.join_all()
        for step in course:
            take(world, step)
            for name in world.peers:
                world.send(name, frame("*", HOME[name]))
    assert len(used) == len(set(used))


def test_a_sender_id_given_twice_would_be_noticed() -> None:
    with pytest.MonkeyPatch.context() as patch, recorded_nonces() as used:
        patch.setattr(tables.GroupKey, "take_sender_id", lambda self: 1)
        world = World("a", "b")
        world.join_all()
        world.send("a", frame("*", "aa"))
        world.send("b", frame("*", "bb"))
    assert len(used) == 2
    assert len(set(used)) == 1


def test_a_server_that_gives_a_used_sender_id_again_is_not_obeyed() -> None:
    world = World("a", "b")
    world.join_all()
    world.send("a", frame("*", "aa"))
    world.disconnect("a")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables.GroupKey, "take_sender_id", lambda self: 0)
        world.join("a")
    assert (world.peers["a"].joined, world.peers["a"].connection) == (1, None)


def test_a_used_up_counter_drops_frames_and_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World("a", "b")
    world.join_all()
    sealing = world.peers["a"].client.associations.sealing
    assert sealing is not None
    sealing.next_counter = sealing.last_counter
    world.send("a", frame("*", "aa", b"the last"))
    world.send("a", frame("*", "aa", b"one too many"))
    assert differences({"b": [frame("*", "aa", b"the last")]}, world.take_frames()) == []
    assert world.drops_of("a") == {DropReason.COUNTER_EXHAUSTED: 1}


# -- new SAs


def spis_of(world: World) -> list[set[int]]:
    peers = world.peers.values()
    return [{sa.spi for sa, _ in peer.client.associations.rows()} for peer in peers]


def sealing_spis(world: World) -> set[int | None]:
    sealing = [peer.client.associations.sealing for peer in world.peers.values()]
    return {None if association is None else association.spi for association in sealing}


def test_a_counter_near_its_end_brings_a_new_sa_to_all_without_a_lost_frame() -> None:
    world = World(*USERS)
    world.join_all()
    sealing = world.peers["a"].client.associations.sealing
    assert sealing is not None
    (old,) = sealing_spis(world)
    world.advance(12)
    sealing.next_counter = MOST_PACKETS + 1
    sent = exchange_for(world, seconds=20, step=0.25)
    (new,) = sealing_spis(world)
    assert new != old
    assert spis_of(world) == [{new}] * 3
    assert {row.spis for row in world.relay.multicast_addresses.rows()} == {frozenset([new])}
    assert sent > 200


def exchange_for(world: World, seconds: float, step: float) -> int:
    """Lets a, b and c send to each other for a while, each frame arriving one step late; none may be lost."""
    late: list[Datagram] = []

    def hold_back(datagram: Datagram) -> tuple[Datagram, ...]:
        late.append(datagram)
        return ()

    world.on_downlink = hold_back
    count = 0
    expected: dict[str, list[bytes]] = {name: [] for name in USERS}
    for turn in range(round(seconds / step)):
        for name in USERS:
            octets = frame("*", HOME[name], f"{name} {turn}".encode())
            world.send(name, octets)
            count += 1
            for other in USERS:
                expected[other] += [octets] if other != name else []
        world.advance(step)
        for datagram in late:
            world.deliver(datagram)
        late.clear()
        world.settle()
    delivered = world.take_frames()
    assert differences(expected, {name: delivered.get(name, []) for name in USERS}) == []
    return count


def test_the_steps_of_a_new_sa_are_receive_then_send_then_delete() -> None:
    world = World(*USERS)
    world.join_all()
    (old,) = sealing_spis(world)
    world.advance(12)
    ask_for_rekey(world, "b")
    new = next(iter(spis_of(world)[0] - {old}))
    stages = []
    for seconds in (1.9, 0.2, 9.8, 0.2):
        world.advance(seconds)
        stages.append((sealing_spis(world), [len(spis) for spis in spis_of(world)]))
    assert stages == [
        ({old}, [2, 2, 2]),
        ({new}, [2, 2, 2]),
        ({new}, [2, 2, 2]),
        ({new}, [1, 1, 1]),
    ]


def test_the_last_sender_id_brings_a_new_sa_to_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "SENDER_IDS", 4)
    world = World(*USERS)
    world.join_all()
    (old,) = sealing_spis(world)
    world.disconnect("c")
    world.join("c")
    assert sealing_spis(world) == {old}
    world.disconnect("c")
    world.join("c")
    world.advance(15)
    (new,) = sealing_spis(world)
    assert new != old
    exchange_for(world, seconds=2, step=0.5)


@pytest.mark.parametrize("gap", [0.5, 1.0, 1.5, 5.0, 10.5, 11.0, 11.9, 12.0, 13.0])
def test_no_frame_is_lost_when_new_sas_follow_each_other(
    gap: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "SENDER_IDS", 4)
    world = World(*USERS, "d")
    world.join_all()
    seen = sealing_spis(world)
    for _ in range(max(8, round(20 / gap))):
        world.disconnect("d")
        world.join("d")  # the fifth sender ID: a new SA for all
        exchange_for(world, seconds=gap, step=gap / 4)
        seen |= sealing_spis(world)
    exchange_for(world, seconds=20, step=1)
    assert [len(spis) for spis in spis_of(world)] == [1, 1, 1, 1]
    assert len(seen) > 8


def test_a_member_that_asks_again_and_again_gets_one_new_sa_for_each_roll_over() -> None:
    world = World(*USERS)
    world.join_all()
    made = set()
    for _ in range(240):
        newest = world.management.multicast_addresses.newest(world.vpn_of["a"], SubId(1))
        assert newest is not None
        made.add(newest.spi)
        world.say("a", RekeyRequest(newest.spi))
        exchange_for(world, seconds=0.25, step=0.25)
    assert len(made) == 5


def test_a_late_request_about_a_replaced_sa_makes_no_other() -> None:
    world = World(*USERS)
    world.join_all()
    world.advance(12)
    ask_for_rekey(world, "a")
    ask_for_rekey(world, "b")  # it seals with the old one still
    assert len(list(world.management.multicast_addresses.rows())) == 2
