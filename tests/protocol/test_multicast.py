"""Native multicast in memory: clients register as ever, and the network carries their packets."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from protocol.errors import DropReason
from protocol.wire.esp import EspHeader
from protocol.wire.inner_packet import multicast_lan_mtu
from protocol.wire.ip import HEADER_LENGTHS
from tests.world import (
    GROUP_ADDRESSES,
    RELAY,
    VPN,
    Datagram,
    MulticastPacket,
    World,
    differences,
    frame,
)


def world_of(*users: str, family: int = 6) -> World:
    world = World(*users, family=family, delivery="multicast")
    world.join_all()
    return world


def exchange(world: World, sender: str, octets: bytes, *receivers: str) -> None:
    world.send(sender, octets)
    assert differences({name: [octets] for name in receivers}, world.take_frames()) == []


@pytest.mark.parametrize("family", [6, 4])
def test_frames_reach_the_group_and_no_datagram_reaches_the_server(family: int) -> None:
    world = world_of("a", "b", "c", "d@1002", family=family)
    exchange(world, "a", frame("*", "aa"), "b", "c")
    exchange(world, "b", frame("aa", "bb"), "a", "c")
    exchange(world, "d", frame("*", "dd"))
    assert (world.uplink, world.downlink) == ([], [])
    assert len(world.multicast) == 3


def test_the_packet_is_esp_to_the_group_address_and_nothing_around_it() -> None:
    world = world_of("a", "b")
    spi = world.peers["a"].client.associations.sealing
    assert spi is not None
    world.send("a", frame("*", "aa"))
    (packet,) = world.multicast
    assert packet.destination == ip_address(GROUP_ADDRESSES[6][VPN])
    assert EspHeader.parse(packet.packet).spi == spi.spi


def test_a_client_listens_from_its_registration_until_it_leaves() -> None:
    world = world_of("a", "b")
    group = ip_address(GROUP_ADDRESSES[6][VPN])
    assert world.peers["b"].groups == {group}
    world.leave("b")
    assert world.peers["b"].groups == set()
    exchange(world, "a", frame("*", "aa"))


def test_a_client_that_registers_again_stays_in_its_group() -> None:
    world = world_of("a", "b")
    world.disconnect("b")
    world.join("b")
    assert len(world.peers["b"].groups) == 1
    exchange(world, "a", frame("*", "aa"), "b")


def test_a_superseded_client_listens_no_more() -> None:
    world = world_of("a", "b")
    earlier = world.peers["b"]
    later = world.new_peer("b")
    world.connect(later)
    assert (earlier.groups, len(later.groups)) == (set(), 1)


def test_a_client_of_a_relay_joins_nothing_and_takes_no_packet() -> None:
    world = World("a", "b")
    world.join_all()
    assert world.peers["b"].groups == set()
    client = world.peers["b"].client
    client.receive_packet(bytes(64), ip_address(GROUP_ADDRESSES[6][VPN]), world.now)
    assert world.drops_of("b") == {DropReason.OTHER_DELIVERY: 1}


def test_a_multicast_client_takes_no_datagram() -> None:
    world = world_of("a", "b")
    to = world.peers["b"].address
    world.deliver(Datagram(RELAY[6], to, bytes(100)))
    assert world.drops_of("b") == {DropReason.OTHER_DELIVERY: 1}


def test_packets_that_are_not_the_groups_are_dropped_with_their_reason() -> None:
    world = world_of("a", "b", "d@1002", "e@1002")
    world.send("a", frame("*", "aa"))
    world.send("d", frame("*", "dd"))
    mine, foreign = world.multicast
    client = world.peers["b"].client
    group = mine.destination
    forged = mine.packet[:-1] + bytes([mine.packet[-1] ^ 1])
    fresh = EspHeader.parse(mine.packet)._replace(counter=9, sequence_number=9).pack()
    client.receive_packet(mine.packet, group, world.now)
    client.receive_packet(foreign.packet, foreign.destination, world.now)
    client.receive_packet(foreign.packet, group, world.now)
    client.receive_packet(fresh + forged[16:], group, world.now)
    client.receive_packet(b"short", group, world.now)
    assert world.drops_of("b") == {
        DropReason.REPLAYED: 1,
        DropReason.FOREIGN_GROUP: 1,
        DropReason.UNKNOWN_SPI: 1,
        DropReason.FORGED_ICV: 1,
        DropReason.MALFORMED_DATAGRAM: 1,
    }


def test_an_own_packet_that_comes_back_is_dropped() -> None:
    world = world_of("a", "b")
    world.send("a", frame("*", "aa"))
    (packet,) = world.multicast
    world.replicate(MulticastPacket("elsewhere", packet.destination, packet.packet))
    assert world.drops_of("a") == {DropReason.OWN_PACKET: 1}


@pytest.mark.parametrize(("family", "mtu"), [(6, 1410), (4, 1430)])
def test_the_largest_frame_fills_the_path_and_a_larger_one_goes_in_pieces(
    family: int, mtu: int
) -> None:
    world = world_of("a", "b", family=family)
    information = world.peers["a"].client.information
    assert information is not None
    assert information.lan_mtu == multicast_lan_mtu(family) == mtu
    largest = frame("*", "aa", bytes(mtu))
    exchange(world, "a", largest, "b")
    (packet,) = world.multicast
    assert 1496 < HEADER_LENGTHS[family] + len(packet.packet) <= 1500
    exchange(world, "a", largest + b"x", "b")
    assert len(world.multicast) == 1 + 2
    assert max(len(one.packet) for one in world.multicast) + HEADER_LENGTHS[family] <= 1500


def test_nothing_is_received_before_the_registration() -> None:
    world = World("a", delivery="multicast")
    client = world.peer("a").client
    client.receive_packet(bytes(64), ip_address("ff1e::1"), world.now)
    assert client.drops == {DropReason.NOT_REGISTERED: 1}
