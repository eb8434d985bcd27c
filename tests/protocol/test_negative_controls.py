"""What the tests rest on can fail: a spoilt, lost, doubled or foreign datagram is reported."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from protocol.errors import DropReason
from tests.world import Datagram, Hook, World, differences, frame

SENT = frame("*", "aa", b"hello, everybody")
EXPECTED = {"b": [SENT], "c": [SENT]}
ADDRESS_OF_B = "3ffe:bbbb::1"


def world_with(on_downlink: Hook) -> World:
    """Three clients, one of whom has sent a frame to all, with a hook behind the relay."""
    world = World("a", "b", "c")
    world.join_all()
    world.on_downlink = on_downlink
    world.send("a", SENT)
    return world


def only_to_b(change: Hook) -> Hook:
    def hook(datagram: Datagram) -> Iterable[Datagram]:
        return change(datagram) if datagram.destination.host == ADDRESS_OF_B else (datagram,)

    return hook


def test_with_nothing_spoilt_nothing_is_reported() -> None:
    assert differences(EXPECTED, world_with(lambda datagram: (datagram,)).take_frames()) == []


@pytest.mark.parametrize("place", [16 + 40 + 16, 100, -1])
def test_one_octet_changed_in_what_the_relay_sends_is_reported(place: int) -> None:
    def change(datagram: Datagram) -> Iterable[Datagram]:
        octets = bytearray(datagram.payload)
        octets[place] ^= 1
        return (replace(datagram, payload=bytes(octets)),)

    world = world_with(only_to_b(change))
    assert differences(EXPECTED, world.take_frames()) == [f"b: missing {SENT.hex()}"]
    assert world.drops_of("b") == {DropReason.FORGED_ICV: 1}
    assert world.drops_of("c") == {}


def test_a_lost_datagram_is_reported() -> None:
    world = world_with(only_to_b(lambda datagram: ()))
    assert differences(EXPECTED, world.take_frames()) == [f"b: missing {SENT.hex()}"]


def test_a_doubled_datagram_is_counted_and_delivers_once() -> None:
    world = world_with(only_to_b(lambda datagram: (datagram, datagram)))
    assert differences(EXPECTED, world.take_frames()) == []
    assert world.drops_of("b") == {DropReason.REPLAYED: 1}


def test_a_frame_too_many_or_with_another_octet_is_reported() -> None:
    other = SENT[:-1] + b"?"
    assert differences({"b": [SENT]}, {"b": [SENT, SENT]}) == [f"b: surplus {SENT.hex()}"]
    assert differences({"b": [SENT]}, {"b": [other]}) == [
        f"b: missing {SENT.hex()}",
        f"b: surplus {other.hex()}",
    ]
    assert differences({}, {"z": [SENT]}) == [f"z: surplus {SENT.hex()}"]


def test_a_datagram_from_elsewhere_changes_nothing() -> None:
    world = world_with(lambda datagram: (datagram,))
    world.take_frames()
    (sent,) = world.uplink
    world.inject(replace(sent, source=sent.source._replace(port=1)))
    assert world.relay_dropped == {DropReason.UNREGISTERED_SENDER: 1}
    assert world.take_frames() == {}
