from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.client import reassembly
from protocol.client.reassembly import FRAMES_OF_SENDER, LIFETIME, Reassembly
from protocol.errors import DropReason
from protocol.wire.piece import Piece, cut

MACS = (b"source", b"target")
FRAME = bytes(range(100))


def take(waiting: Reassembly, piece: Piece, sender: int = 1, now: int = 0) -> bytes | DropReason:
    return waiting.take(sender, piece, MACS, now)


@given(st.data())
def test_pieces_of_many_frames_in_any_order_make_each_frame_once(data: st.DataObject) -> None:
    frames = data.draw(st.lists(st.binary(min_size=20, max_size=300), min_size=1, max_size=8))
    pieces = [
        (number, piece) for number, frame in enumerate(frames) for piece in cut(frame, number, 20)
    ]
    waiting = Reassembly()
    done: dict[int, bytes] = {}
    for number, piece in data.draw(st.permutations(pieces)):
        result = take(waiting, piece)
        if isinstance(result, bytes):
            assert number not in done
            done[number] = result
        else:
            assert result is DropReason.PIECE_KEPT
    assert done == dict(enumerate(frames))
    assert (len(waiting), waiting.incomplete, waiting._octets) == (0, 0, 0)


def test_senders_that_use_one_number_are_kept_apart() -> None:
    first, second = cut(FRAME, 7, 68)
    other, rest = cut(FRAME[::-1], 7, 68)
    waiting = Reassembly()
    assert take(waiting, first, sender=1) is DropReason.PIECE_KEPT
    assert take(waiting, other, sender=2) is DropReason.PIECE_KEPT
    assert take(waiting, second, sender=1) == FRAME
    assert take(waiting, rest, sender=2) == FRAME[::-1]


@pytest.mark.parametrize(
    "wrong",
    [
        Piece(1, 0, True, bytes(16)),
        Piece(1, 8, True, bytes(8)),
        Piece(1, 8, False, bytes(3)),
    ],
    ids=["the same again", "an overlap", "an end before the end"],
)
def test_what_does_not_fit_gives_the_frame_up(wrong: Piece) -> None:
    waiting = Reassembly()
    assert take(waiting, Piece(1, 0, True, bytes(16))) is DropReason.PIECE_KEPT
    assert take(waiting, wrong) is DropReason.MALFORMED_PLAINTEXT
    assert (len(waiting), waiting.incomplete, waiting._octets) == (0, 1, 0)


def test_a_piece_behind_the_last_one_does_not_fit() -> None:
    waiting = Reassembly()
    assert take(waiting, Piece(1, 16, False, bytes(3))) is DropReason.PIECE_KEPT
    assert take(waiting, Piece(1, 24, True, bytes(8))) is DropReason.MALFORMED_PLAINTEXT


def test_a_piece_behind_another_header_does_not_fit() -> None:
    first, second = cut(FRAME, 7, 68)
    waiting = Reassembly()
    take(waiting, first)
    assert waiting.take(1, second, (b"another", b"target"), 0) is DropReason.HEADER_MISMATCH
    assert waiting.incomplete == 1


@pytest.mark.parametrize(("now", "whole"), [(LIFETIME - 1, True), (LIFETIME, False)])
def test_a_frame_waits_so_long_for_its_last_piece(now: int, whole: bool) -> None:
    first, second = cut(FRAME, 7, 68)
    waiting = Reassembly()
    take(waiting, first)
    assert take(waiting, second, now=now) == (FRAME if whole else DropReason.PIECE_KEPT)
    assert waiting.incomplete == int(not whole)


def test_one_sender_fills_no_more_than_its_share() -> None:
    waiting = Reassembly()
    take(waiting, cut(FRAME, 0, 68)[0], sender=2)
    for number in range(FRAMES_OF_SENDER + 5):
        take(waiting, cut(FRAME, number, 68)[0])
    assert len(waiting) == FRAMES_OF_SENDER + 1
    assert waiting.incomplete == 5


def test_all_senders_together_are_bounded_in_frames_and_octets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reassembly, "FRAMES", 10)
    waiting = Reassembly()
    for sender in range(25):
        take(waiting, cut(FRAME, 0, 68)[0], sender)
    assert len(waiting) == 10
    monkeypatch.setattr(reassembly, "OCTETS", 300)
    take(waiting, cut(FRAME, 0, 68)[0], 99)
    assert len(waiting) == 300 // 64
    assert waiting._octets <= 300
