"""The claim of a LAN's forwarder: its octets, its order, and the SA it is sealed under."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.errors import DropReason, OpenError, WireError
from protocol.types import ClientId
from protocol.wire import claim, ethernet
from protocol.wire.claim import MOST_STATIONS, Claim, Standing, StationList
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
        (lambda frame: frame[:14], "subtype 0"),
        (lambda frame: frame[:-1], "claim with 43 octets, expected 44"),
        (lambda frame: frame[:14] + b"\x03" + frame[15:], "subtype 3"),
        (lambda frame: frame[:14] + b"\x02" + frame[15:], "claim with 43 octets, expected 11264"),
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


# -- lists of stations, and announcements


def macs(count: int) -> tuple[bytes, ...]:
    return tuple(b"\x02\0" + number.to_bytes(4, "big") for number in range(count))


@pytest.mark.parametrize(("on_lan", "outside"), [(1, 0), (0, 1), (3, 5), (MOST_STATIONS, 0)])
def test_a_list_is_read_as_it_was_written(on_lan: int, outside: int) -> None:
    one = StationList(ClientId(7), macs(on_lan), macs(outside))
    packet = association(7).seal_claim(one)
    frame = claim.frame_of(packet, one.client_id, claim.LIST)
    assert len(frame) <= 1300
    assert claim.is_claim(frame)
    assert claim.packet_of(frame + bytes(4)) == packet
    assert association(1).open_claim(packet) == one


def test_a_list_has_octets_that_stand_in_the_wire_format() -> None:
    one = StationList(
        ClientId(7), (bytes.fromhex("0200000000aa"),), (bytes.fromhex("0200000000bb"),)
    )
    assert one.pack().hex() == "0000000710010000" + "0200000000aa" + "0200000000bb"


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ("0000000710000000", "claim with standing 16"),
        ("000000071001000002", "list of 9 octets"),
        ("00000007100200000200000000aa", "list of kind 16 with 2 stations of 1 on the LAN"),
        ("00000007000100000200000000aa", "list of kind 0 with 1 stations of 1 on the LAN"),
        ("00000007100100000300000000aa", "no station's"),
        ("0000000710010000000000000000", "no station's"),
        ("0000000710000000" + "0200000000aa" * (MOST_STATIONS + 1), "list of 1214 octets"),
    ],
)
def test_what_is_no_list_is_refused(payload: str, said: str) -> None:
    with pytest.raises(WireError, match=said):
        claim.parse(bytes.fromhex(payload))


def test_many_stations_take_several_lists() -> None:
    found = claim.lists(ClientId(7), macs(250), macs(300))
    assert [(len(one.on_lan), len(one.outside)) for one in found] == [(200, 0), (50, 150), (0, 150)]
    assert not claim.lists(ClientId(7), (), ())


def test_a_claim_says_whether_its_client_forwards_and_which_is_better_does_not_rest_on_that() -> (
    None
):
    for forwards, strayed in ((True, False), (True, True), (False, False)):
        one = Claim(Standing.APART, ClientId(7), forwards, strayed)
        assert claim.parse(one.pack()) == one
        assert not one.is_better_than(CLAIM._replace(standing=Standing.APART))
    assert Claim(Standing.REGISTERED, ClientId(9), True).is_better_than(
        Claim(Standing.APART, ClientId(1))
    )


def test_an_announcement_has_nothing_but_its_source() -> None:
    (station,) = macs(1)
    frame = claim.announcement(station)
    assert frame.hex() == "036272000001" + station.hex() + "88b6" + "03"
    assert claim.is_announcement(frame)
    assert not claim.is_announcement(frame[:14])
    assert not claim.is_announcement(claim.frame_of(association(7).seal_claim(CLAIM), ClientId(7)))
    with pytest.raises(WireError, match="subtype 3"):
        claim.packet_of(frame)
