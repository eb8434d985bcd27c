"""AES-CBC with HMAC-SHA1: another implementation opens it, nothing altered is opened, no IV is foreseen."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from protocol.cipher import CallCounter, CbcHmac
from protocol.errors import DropReason
from protocol.types import Secret
from protocol.wire import esp
from protocol.wire.inner_packet import lan_mtu
from tests.protocol.associations import association, key_octets, outcome

ALGORITHM: Final = "aes-128-cbc-hmac-sha1"
KEY = key_octets(ALGORITHM)
HEADER = bytes(range(8))


def nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")


def opened_afresh(sealed: bytes, number: int) -> bytes:
    """Opens with a context of its own and the standard library's HMAC, as any receiver may."""
    body, icv = sealed[:-12], sealed[-12:]
    expected = hmac.new(KEY[16:], HEADER + nonce(number) + body, hashlib.sha1).digest()[:12]
    assert icv == expected
    context = Cipher(algorithms.AES(KEY[:16]), modes.CBC(body[:16])).decryptor()
    return context.update(body[16:]) + context.finalize()


def test_each_packet_stands_by_itself() -> None:
    sender, receiver = CbcHmac(Secret(KEY)), CbcHmac(Secret(KEY))
    texts = [bytes([number]) * 16 * (number + 1) for number in range(5)]
    sealed = [sender.seal(nonce(number), text, HEADER) for number, text in enumerate(texts)]
    assert [opened_afresh(one, number) for number, one in enumerate(sealed)] == texts
    for number in (3, 0, 4):
        assert receiver.open(nonce(number), sealed[number], HEADER) == texts[number]


def test_equal_plaintexts_have_ivs_of_their_own() -> None:
    sender = CbcHmac(Secret(KEY))
    sealed = {sender.seal(nonce(number), bytes(32), HEADER) for number in range(50)}
    assert len({one[:16] for one in sealed}) == len({one[16:32] for one in sealed}) == 50


@pytest.mark.parametrize("place", [0, 15, 16, 40, -13, -12, -1])
def test_nothing_altered_is_opened_and_the_next_packet_is(place: int) -> None:
    sender, receiver = CbcHmac(Secret(KEY)), CbcHmac(Secret(KEY))
    first, second = (sender.seal(nonce(number), bytes(48), HEADER) for number in (1, 2))
    altered = bytearray(first)
    altered[place] ^= 1
    refused = CallCounter.refused
    assert receiver.open(nonce(1), bytes(altered), HEADER) is None
    assert receiver.open(nonce(2), first, HEADER) is None
    assert receiver.open(nonce(1), first, bytes(8)) is None
    assert receiver.open(nonce(1), first[:-1], HEADER) is None
    assert receiver.open(nonce(1), b"", HEADER) is None
    assert CallCounter.refused == refused + 5
    assert receiver.open(nonce(2), second, HEADER) == bytes(48)


def test_a_plaintext_that_is_no_whole_blocks_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="plaintext of 17 octets"):
        CbcHmac(Secret(KEY)).seal(nonce(1), bytes(17), HEADER)


def test_an_association_opens_and_remembers_as_with_gcm() -> None:
    sender, receiver = association(1, ALGORITHM), association(2, ALGORITHM)
    packet = sender.seal(b"frame")
    forged = packet[:-1] + bytes([packet[-1] ^ 1])
    assert outcome(receiver, forged) is DropReason.FORGED_ICV
    assert outcome(receiver, packet) == b"frame"
    assert outcome(receiver, packet) is DropReason.REPLAYED
    assert outcome(sender, packet) is DropReason.OWN_PACKET


def test_the_lan_mtu_leaves_room_for_it_and_not_for_a_block_more() -> None:
    mtu = lan_mtu(6, 6, algorithm=ALGORITHM)
    outside = 40 + 8 + 16 + 40
    sender = association(1, ALGORITHM)
    assert outside + len(sender.seal(bytes(mtu + 14))) <= 1500
    assert outside + len(sender.seal(bytes(mtu + 14 + 1))) > 1500
    assert esp.LAYOUTS[ALGORITHM].alignment == 16
