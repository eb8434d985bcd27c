from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import WireError
from protocol.wire.piece import HEADER_LENGTH, LARGEST_FRAME, UNIT, Piece, cut
from tests.protocol.vectors import octets_of, vectors

VECTORS = vectors("piece")


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS.keys())
def test_octets_are_the_piece_and_the_piece_is_its_octets(vector: dict[str, Any]) -> None:
    octets = bytes.fromhex(vector["piece"])
    piece = Piece(vector["number"], vector["offset"], vector["more"], octets)
    assert Piece.parse(octets_of(vector)) == piece
    assert piece.pack() == octets_of(vector)


@given(st.binary(min_size=1, max_size=5_000), st.integers(0, 65_535), st.integers(12, 1_400))
def test_pieces_are_whole_units_that_fit_and_make_the_frame(
    frame: bytes, number: int, most: int
) -> None:
    pieces = cut(frame, number, most)
    assert b"".join(piece.octets for piece in pieces) == frame
    assert all(len(piece.pack()) <= most for piece in pieces)
    assert [piece.more for piece in pieces] == [True] * (len(pieces) - 1) + [False]
    assert all(len(piece.octets) % UNIT == 0 for piece in pieces[:-1])
    assert [Piece.parse(piece.pack()) for piece in pieces] == pieces


def test_the_largest_frame_is_cut_and_read_again() -> None:
    pieces = cut(bytes(LARGEST_FRAME), 0, 1_362)
    assert Piece.parse(pieces[-1].pack()).end == LARGEST_FRAME


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        ("", "piece of 0 octets"),
        ("00010000", "expected more than 4"),
        ("0001000203", "reserved bits 2"),
        ("0001000403", "reserved bits 4"),
        ("0001000103", "expected a multiple of 8"),
        ("0001fff8" + "00" * 22, "up to octet 65550"),
    ],
)
def test_what_is_no_piece_is_refused(octets: str, said: str) -> None:
    with pytest.raises(WireError, match=said):
        Piece.parse(bytes.fromhex(octets))


def test_pieces_need_room_for_a_unit() -> None:
    with pytest.raises(ValueError, match="expected 12 at least"):
        cut(b"frame", 1, HEADER_LENGTH + UNIT - 1)
