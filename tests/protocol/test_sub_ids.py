"""Sub IDs changed while frames flow: who is moved reads at once what he should, and nothing else."""

from __future__ import annotations

import pytest

from protocol.errors import DropReason
from protocol.types import MemberDelivery
from tests.protocol.sub_ids import (
    DELIVERIES,
    ROLL_OVER,
    broadcast,
    eavesdrops,
    hoard,
    spis,
    world_of,
)
from tests.world import Datagram, World, frame

every_delivery = pytest.mark.parametrize("delivery", DELIVERIES)


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
