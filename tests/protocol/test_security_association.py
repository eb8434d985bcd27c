"""The group's SA: what it accepts, and how it ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.cipher import Aead
from protocol.errors import DropReason, SealError
from protocol.security_association import LAST_COUNTER, SecurityAssociation
from protocol.types import KEY_LENGTHS, Algorithm, Secret
from protocol.wire import esp
from protocol.wire.esp import EspHeader
from tests.protocol.associations import SALT, SPI, association, key_octets, outcome, parameters


@given(st.binary(max_size=1600), st.sampled_from(sorted(KEY_LENGTHS)))
def test_what_one_member_seals_every_other_member_opens(frame: bytes, name: Algorithm) -> None:
    sender = association(1, name)
    packet = sender.seal(frame)
    for sender_id in (2, 3):
        assert association(sender_id, name).open(packet) == frame
    assert len(packet) % 4 == 0


@given(st.data())
def test_a_packet_with_any_changed_bit_is_refused(data: st.DataObject) -> None:
    packet = bytearray(association(1).seal(b"the frame"))
    bit = data.draw(st.integers(32, 8 * len(packet) - 1))  # the SPI only chooses the SA
    packet[bit // 8] ^= 1 << bit % 8
    assert isinstance(outcome(association(2), bytes(packet)), DropReason)


def test_the_spi_is_protected_too() -> None:
    packet = bytearray(association(1).seal(b"the frame"))
    packet[0] ^= 1
    assert outcome(association(2), bytes(packet)) is DropReason.FORGED_ICV


def test_own_packets_are_not_opened() -> None:
    sender = association(1)
    assert outcome(sender, sender.seal(b"mine")) is DropReason.OWN_PACKET


def test_packets_sent_under_an_earlier_registration_stay_ones_own() -> None:
    earlier = association(1)
    packet = earlier.seal(b"mine")
    later = SecurityAssociation(parameters(5), predecessor=earlier)
    assert outcome(later, packet) is DropReason.OWN_PACKET
    assert (later.is_fresh(1), later.is_fresh(5), later.is_fresh(6)) == (False, False, True)


def test_what_was_accepted_under_an_earlier_registration_stays_accepted() -> None:
    sender, earlier = association(1), association(2)
    packet = sender.seal(b"once")
    assert outcome(earlier, packet) == b"once"
    later = SecurityAssociation(parameters(3), predecessor=earlier)
    assert outcome(later, packet) is DropReason.REPLAYED


@pytest.mark.parametrize("length", [0, 15, 35])
def test_a_packet_too_short_to_be_sealed_is_malformed(length: int) -> None:
    assert outcome(association(2), bytes(length)) is DropReason.MALFORMED_DATAGRAM


def test_a_sequence_number_that_is_not_the_counter_is_malformed() -> None:
    packet = EspHeader(SPI, 1, sender_id=1, counter=2).pack() + bytes(40)
    assert outcome(association(2), packet) is DropReason.MALFORMED_DATAGRAM


@pytest.mark.parametrize(
    "plaintext",
    [
        esp.pad(b"\x30\x00frame", 41),
        esp.pad(b"\x40\x00frame", 97),
        b"\x30\x00fr\x07\x07\x02\x61",
        b"\x30\x00\xff\x61",
    ],
    ids=["next header", "EtherIP version", "padding", "pad length"],
)
def test_a_plaintext_that_breaks_a_rule_is_refused_though_its_icv_holds(plaintext: bytes) -> None:
    header = EspHeader(SPI, 1, sender_id=1, counter=1).pack()
    aead = Aead(Secret(key_octets("aes-128-gcm")))
    packet = header + aead.seal(SALT + header[8:], plaintext, header[:8])
    assert outcome(association(2), packet) is DropReason.MALFORMED_PLAINTEXT


def test_a_used_up_counter_seals_nothing_more() -> None:
    sender = association(1, first_counter=LAST_COUNTER)
    receiver = association(2)
    assert outcome(receiver, sender.seal(b"the last")) == b"the last"
    for _ in range(2):
        with pytest.raises(SealError) as caught:
            sender.seal(b"one too many")
        assert caught.value.reason is DropReason.COUNTER_EXHAUSTED


@pytest.mark.parametrize(("first", "last"), [(0, 5), (7, 5), (1, LAST_COUNTER + 1)])
def test_counters_that_could_repeat_a_nonce_are_our_own_mistake(first: int, last: int) -> None:
    with pytest.raises(ValueError, match="counters"):
        association(1, first_counter=first, last_counter=last)


@pytest.mark.parametrize("length", [0, 15, 24, 32])
def test_a_key_of_another_length_than_the_algorithms_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=f"key of {length} octets"):
        SecurityAssociation(parameters(1, key=bytes(length)))
