"""Worlds whose users have Sub IDs, and what one needs to see who reads what."""

from __future__ import annotations

from protocol.client import Client
from protocol.management.rekeying import ACTIVATION_DELAY, DEACTIVATION_DELAY
from protocol.types import SECOND, MemberDelivery
from tests.world import World, frame

HOME = {"a": "aa", "b": "bb", "c": "cc", "d": "dd"}
ROLL_OVER = (ACTIVATION_DELAY + DEACTIVATION_DELAY) / SECOND + 1
DELIVERIES: tuple[MemberDelivery, ...] = ("patent", "spi")


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


def hoard(world: World, name: str) -> Client:
    """A client that keeps every key that ``name`` has now, whatever it is told later."""
    hoarder = Client(world.peers[name].client.establishment.authentication, 5000)
    for association, _ in world.peers[name].client.associations.rows():
        hoarder.associations.install(association)
    return hoarder
