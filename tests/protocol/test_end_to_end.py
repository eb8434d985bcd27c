"""The whole protocol in memory: three clients register, talk, leave, fall silent and are refused."""

from __future__ import annotations

import time
from collections.abc import Iterable

import pytest

from protocol.cipher import CallCounter
from protocol.errors import DropReason
from protocol.relay import Strip
from protocol.wire.messages import RefusalReason
from tests.world import OTHER_VPN, VPN, Datagram, World, differences, frame, mac

WAYS = [(family, strip) for family in (6, 4) for strip in (Strip.KEEP, Strip.PATENT)]


def exchange(world: World, sender: str, octets: bytes, *receivers: str) -> None:
    """Sends a frame and demands that exactly these LANs are given it, octet for octet."""
    world.send(sender, octets)
    assert differences({name: [octets] for name in receivers}, world.take_frames()) == []


@pytest.mark.parametrize(("family", "strip"), WAYS)
def test_three_clients_go_through_the_whole_protocol(family: int, strip: Strip) -> None:
    started = time.process_time()
    world = World("a", "b", "c", "d@1002", family=family, strip=strip)
    world.join_all()
    assert [peer.joined for peer in world.peers.values()] == [1, 1, 1, 1]

    exchange(world, "a", frame("*", "aa", b"who has bb?"), "b", "c")
    exchange(world, "b", frame("aa", "bb", b"bb is here"), "a")
    exchange(world, "a", frame("bb", "aa", bytes(1200)), "b")
    exchange(world, "a", frame("cc", "aa", b"not learnt yet"), "b", "c")
    exchange(world, "c", frame("aa", "cc", b"now it is"), "a")
    exchange(world, "a", frame("cc", "aa", b"learnt"), "c")
    exchange(world, "d", frame("*", "dd", b"alone in my group"))

    world.leave("b")
    exchange(world, "a", frame("bb", "aa", b"purged, so to everybody left"), "c")
    world.peers["c"].client.channel_lost(world.now)  # falls silent; the server does not know it yet
    world.advance(31)
    assert [
        member.client_id for member in world.relay.unicast_groups.members(world.vpn_of["a"])
    ] == [1]
    exchange(world, "a", frame("*", "aa", b"nobody is left"))
    assert world.relay_dropped[DropReason.NO_OTHER_MEMBER] == 2
    assert time.process_time() - started < 1


@pytest.mark.parametrize(("family", "strip"), WAYS)
@pytest.mark.parametrize("octets", [1347, 1500, 9000, 65_535])
def test_a_frame_above_the_lan_mtu_crosses_in_pieces(
    family: int, strip: Strip, octets: int
) -> None:
    """No datagram is above the path's 1500 octets, and nobody else sees a part of the frame."""
    world = World("a", "b", "c", "d@1002", family=family, strip=strip)
    world.join_all()
    large = frame("*", "aa", bytes(number % 251 for number in range(octets)))
    mtu = world.peers["a"].client.information
    assert mtu is not None
    exchange(world, "a", large, "b", "c")
    size = (mtu.lan_mtu + 12) // 8 * 8
    whole = octets <= mtu.lan_mtu
    assert len(world.uplink) == (1 if whole else -(-len(large) // size))
    headers = {6: 48, 4: 28}[family]
    assert all(headers + len(one.payload) <= 1500 for one in world.uplink)
    sender, receiver = world.peers["a"].client, world.peers["b"].client
    assert (sender.frames_sealed, sender.frames_cut) == (1, int(len(world.uplink) > 1))
    kept = receiver.drops[DropReason.PIECE_KEPT]
    assert (receiver.frames_delivered, kept) == (1, len(world.uplink) - 1)


def test_a_frame_beyond_the_largest_is_dropped() -> None:
    world = World("a", "b")
    world.join_all()
    exchange(world, "a", frame("*", "aa", bytes(65_536)))
    assert world.drops_of("a") == {DropReason.FRAME_TOO_LARGE: 1}


def test_a_piece_that_is_lost_loses_the_frame_alone() -> None:
    world = World("a", "b")
    world.join_all()
    large, next_one = (frame("*", "aa", bytes([number]) * 2000) for number in (1, 2))
    first = [True]

    def lose_first(datagram: Datagram) -> Iterable[Datagram]:
        lost, first[0] = first[0], False
        return () if lost else (datagram,)

    world.on_uplink = lose_first
    exchange(world, "a", large)
    exchange(world, "a", next_one, "b")
    world.advance(10)
    assert world.peers["b"].client.transfer.pieces.incomplete == 1
    assert len(world.peers["b"].client.transfer.pieces) == 0


def test_a_frame_is_sealed_once_and_opened_once_by_each_receiver() -> None:
    world = World("a", "b", "c")
    world.join_all()
    sealed, opened = CallCounter.sealed, CallCounter.opened
    exchange(world, "a", frame("*", "aa"), "b", "c")
    assert (CallCounter.sealed - sealed, CallCounter.opened - opened) == (1, 2)


def test_the_relay_sends_the_octets_that_it_received() -> None:
    world = World("a", "b", "c")
    world.join_all()
    exchange(world, "a", frame("*", "aa", b"secret words"), "b", "c")
    (sent,) = world.uplink
    assert [copy.payload for copy in world.downlink] == [sent.payload, sent.payload]
    assert b"secret words" not in sent.payload


def test_under_strip_patent_clients_receive_what_lies_below_the_vpn_header() -> None:
    world = World("a", "b", "c", strip=Strip.PATENT)
    world.join_all()
    exchange(world, "a", frame("*", "aa"), "b", "c")
    assert [copy.payload for copy in world.downlink] == [world.uplink[0].payload[16:]] * 2


@pytest.mark.parametrize(
    ("user", "password", "vpn_id", "reason"),
    [
        ("a", "wrong", VPN, RefusalReason.CREDENTIALS),
        ("nobody", None, VPN, RefusalReason.CREDENTIALS),
        ("d", None, VPN, RefusalReason.VPN),
        ("a", None, OTHER_VPN, RefusalReason.VPN),
        ("a", None, 7, RefusalReason.VPN),
    ],
    ids=["wrong password", "unknown user", "user of another group", "other group", "no such group"],
)
def test_a_registration_that_must_not_succeed_is_refused_with_its_reason(
    user: str, password: str | None, vpn_id: int, reason: RefusalReason
) -> None:
    world = World("a", "b", "d@1002")
    world.join("b")
    peer = world.connect(world.new_peer(user, password, vpn_id))
    assert [refusal.reason for refusal in peer.refusals] == [reason]
    assert (peer.joined, peer.connection, peer.client.information) == (0, None, None)
    assert len(world.relay.unicast_groups) == 1


def test_wrong_password_and_unknown_user_are_refused_in_the_same_words() -> None:
    world = World("a")
    wrong = world.connect(world.new_peer("a", "wrong"))
    unknown = world.connect(world.new_peer("nobody"))
    assert wrong.refusals == unknown.refusals


def test_a_second_registration_of_a_user_supersedes_the_first() -> None:
    world = World("a", "b")
    first, _ = world.join("a", "b")
    moved = world.new_peer("a")
    moved.address = moved.address._replace(host="3ffe:1:ffff::1")
    world.connect(moved)
    assert [refusal.reason for refusal in first.refusals] == [RefusalReason.SUPERSEDED]
    assert first.connection is None
    world.send("b", frame("*", "bb"))
    assert differences({"a": [frame("*", "bb")]}, world.take_frames()) == []
    assert world.downlink[-1].destination == moved.address
    assert world.relay.unicast_groups.at(first.address) is None


def test_a_client_that_registers_again_reads_and_is_read() -> None:
    world = World("a", "b")
    world.join_all()
    exchange(world, "a", frame("*", "aa", b"before"), "b")
    world.disconnect("a")
    world.join("a")
    exchange(world, "a", frame("*", "aa", b"after"), "b")
    exchange(world, "b", frame("aa", "bb", b"answer"), "a")
    assert world.peers["a"].client.transfer.stations.lookup(mac("bb"), world.now) is not None


def test_a_client_that_hears_nothing_of_the_server_closes_after_three_keepalives() -> None:
    world = World("a", "b")
    (peer, _) = world.join_all()
    peer.deaf = True
    world.advance(29)
    assert peer.connection is not None
    world.advance(2)
    assert peer.connection is None


def test_keepalives_hold_a_registration_for_as_long_as_they_come() -> None:
    world = World("a", "b")
    world.join_all()
    world.advance(600)
    exchange(world, "a", frame("*", "aa"), "b")


def test_a_client_that_has_left_seals_and_opens_nothing_more() -> None:
    world = World("a", "b")
    world.join_all()
    exchange(world, "a", frame("*", "aa"), "b")
    world.leave("a")
    late = Datagram(world.downlink[0].source, world.peers["a"].address, world.downlink[0].payload)
    sealed, opened = CallCounter.sealed, CallCounter.opened
    world.send("a", frame("*", "aa", b"I am not here"))
    world.deliver(late)
    assert (CallCounter.sealed, CallCounter.opened) == (sealed, opened)
    assert world.drops_of("a") == {DropReason.NOT_REGISTERED: 2}
