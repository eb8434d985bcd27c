"""The claim of a LAN's forwarder: its octets, its order, and the SA it is sealed under."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.errors import DropReason, OpenError, WireError
from protocol.types import ClientId
from protocol.wire import claim, ethernet
from protocol.wire.claim import Claim, Standing
from tests.protocol.associations import association
from tests.protocol.vectors import octets_of, vectors

VECTORS = vectors("claim")
each_vector = pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS.keys())
CLAIM = Claim(Standing.REGISTERED, ClientId(7))


def claimed(vector: dict[str, Any]) -> Claim:
    return Claim(Standing(vector["standing"]), ClientId(vector["client_id"]))


@each_vector
def test_a_claim_is_sealed_to_the_very_frame(vector: dict[str, Any]) -> None:
    sender = association(vector["sender_id"], vector["algorithm"], vector["counter"])
    own = claimed(vector)
    assert claim.frame_of(sender.seal_claim(own), own.client_id) == octets_of(vector)
    assert own.pack() == bytes.fromhex(vector["claim"])


@each_vector
def test_the_frame_is_opened_to_the_claim(vector: dict[str, Any]) -> None:
    packet = claim.packet_of(octets_of(vector))
    assert association(1, vector["algorithm"]).open_claim(packet) == claimed(vector)


@each_vector
def test_a_claim_is_told_by_its_first_octets_and_goes_to_a_group_that_bridges_flood(
    vector: dict[str, Any],
) -> None:
    frame = octets_of(vector)
    assert claim.is_claim(frame)
    assert not claim.is_claim(frame[:12] + b"\x88\xb5" + frame[14:])
    assert not claim.is_claim(ethernet.BROADCAST + frame[6:])
    header = ethernet.EthernetHeader.parse(frame)
    assert ethernet.is_group(header.destination)
    assert not ethernet.is_bridge_local(header.destination)
    assert ethernet.is_station(header.source)
    assert header.destination[0] & header.source[0] & 0b10, "locally administered"


def test_what_a_bridge_fills_the_frame_up_with_is_left_out() -> None:
    packet = association(7).seal_claim(CLAIM)
    frame = claim.frame_of(packet, CLAIM.client_id)
    assert len(frame) >= 60
    assert claim.packet_of(frame + bytes(4)) == packet


def test_the_fitter_client_comes_first_then_the_lower_id() -> None:
    order = [
        Claim(standing, ClientId(number)) for standing in Standing for number in (2, 7, 2**32 - 1)
    ]
    assert sorted(order, reverse=True) == order[::-1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda frame: frame[:15], "claim in a frame of 15 octets"),
        (lambda frame: frame[:-1], "subtype 1 with 43 octets, expected 44"),
        (lambda frame: frame[:14] + b"\x02" + frame[15:], "subtype 2"),
    ],
)
def test_a_frame_that_is_no_whole_claim_is_refused(change: Any, said: str) -> None:
    frame = claim.frame_of(association(7).seal_claim(CLAIM), CLAIM.client_id)
    with pytest.raises(WireError, match=said):
        claim.packet_of(change(frame))


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ("", "claim of 0 octets"),
        ("00000007000000", "claim of 7 octets"),
        ("000000070000000000", "claim of 9 octets"),
        ("0000000703000000", "standing 3, expected 0 to 2"),
    ],
)
def test_what_is_no_claim_is_refused(payload: str, said: str) -> None:
    with pytest.raises(WireError, match=said):
        Claim.parse(bytes.fromhex(payload))


def test_a_claim_is_no_frame_a_frame_no_claim_and_the_attempt_uses_nothing_up() -> None:
    """Or who sees a packet on its way could have it refused where it belongs."""
    sender, receiver = association(7), association(1)
    packets = [sender.seal(bytes(14)), sender.seal_claim(CLAIM)]
    for wrong, packet in zip((receiver.open_claim, receiver.open), packets, strict=True):
        with pytest.raises(OpenError) as caught:
            wrong(packet)
        assert caught.value.reason is DropReason.MALFORMED_PLAINTEXT
    assert receiver.open(packets[0]) == bytes(14)
    assert receiver.open_claim(packets[1]) == CLAIM


@pytest.mark.parametrize("at", [0, 4, 8, 16, 20, 43])
def test_a_claim_in_which_an_octet_was_changed_does_not_open(at: int) -> None:
    packet = bytearray(association(7).seal_claim(CLAIM))
    packet[at] ^= 1
    with pytest.raises(OpenError):
        association(1).open_claim(bytes(packet))


def test_a_claim_opens_once() -> None:
    packet, receiver = association(7).seal_claim(CLAIM), association(1)
    assert receiver.open_claim(packet) == CLAIM
    with pytest.raises(OpenError) as caught:
        receiver.open_claim(packet)
    assert caught.value.reason is DropReason.REPLAYED
