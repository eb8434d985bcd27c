"""When those who stay get a fresh SA: somebody was expelled, has gone, has come; age and packets."""

from __future__ import annotations

import pytest

from protocol.errors import DropReason
from protocol.management import RekeyPolicy
from protocol.management.actions import CheckCredentials
from protocol.types import SECOND
from protocol.wire.messages import RefusalReason
from tests.protocol.sub_ids import (
    ROLL_OVER,
    broadcast,
    eavesdrops,
    hoard,
    spis,
    world_of,
)
from tests.world import World, frame

# -- expelled


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
