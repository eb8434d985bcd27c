"""What is told of moves, an expulsion and ways of delivery: each finding changed breaks its invariant."""

from __future__ import annotations

from dataclasses import replace

import pytest

from experiments.embodiments.subgroups import course
from experiments.embodiments.subgroups.moves import Delivered, Expulsion, Move, Moves
from experiments.records.record import Invariant

APART = Delivered(300, 100, 15_000)
MOVES = Moves(
    delivered=APART,
    before=0,
    moves=(Move(20_000_000, 90_000_000, 0), Move(40_000_000, 110_000_000, 0)),
    missing=0,
    repeated=0,
    sent=1000,
)
GONE = Expulsion(1, "refused", opened_before=50, opened_after=0, opened_by_member=50)
WAYS = {"patent": APART, "spi": Delivered(200, 0, 0)}


def invariants(
    moves: Moves = MOVES, gone: Expulsion = GONE, ways: dict[str, Delivered] = WAYS
) -> dict[str, Invariant]:
    return {
        **course._of_moves(moves),
        **course._of_expulsion(gone),
        "delivery_to_holders_wastes_no_copy": course._of_ways(ways),
    }


def broken(found: dict[str, Invariant]) -> set[str]:
    return {name for name, one in found.items() if not one.held}


def test_all_holds_when_all_went_well() -> None:
    assert broken(invariants()) == set()


@pytest.mark.parametrize(
    ("name", "moves"),
    [
        ("other_sub_id_opens_nothing", replace(MOVES, before=1)),
        ("moved_user_opens_the_next_frames", replace(MOVES, moves=(Move(None, 1, 0),))),
        ("user_moved_back_opens_none", replace(MOVES, moves=(*MOVES.moves, Move(1, 1, 1)))),
        ("those_who_stay_lose_no_frame", replace(MOVES, missing=1)),
        ("those_who_stay_lose_no_frame", replace(MOVES, repeated=1)),
        ("those_who_stay_lose_no_frame", replace(MOVES, sent=0)),
    ],
)
def test_a_move_that_went_wrong_breaks_what_it_is_about(name: str, moves: Moves) -> None:
    assert broken(invariants(moves)) == {name}


def test_moves_that_were_not_made_show_nothing() -> None:
    found = broken(invariants(replace(MOVES, moves=())))
    assert found == {"moved_user_opens_the_next_frames", "user_moved_back_opens_none"}


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("expelled_user_is_out", replace(GONE, code=0)),
        ("expelled_user_is_out", replace(GONE, code=None)),
        ("expelled_users_keys_open_nothing", replace(GONE, opened_after=1)),
        ("expelled_users_keys_open_nothing", replace(GONE, opened_before=0)),
        ("expelled_users_keys_open_nothing", replace(GONE, opened_by_member=0)),
    ],
)
def test_an_expulsion_that_went_wrong_breaks_what_it_is_about(name: str, gone: Expulsion) -> None:
    assert broken(invariants(gone=gone)) == {name}


@pytest.mark.parametrize(
    "ways",
    [
        {**WAYS, "spi": Delivered(200, 1, 150)},
        {**WAYS, "spi": Delivered(0, 0, 0)},
        {**WAYS, "patent": Delivered(300, 0, 0)},
    ],
)
def test_delivery_that_wastes_where_it_may_not_is_found(ways: dict[str, Delivered]) -> None:
    assert broken(invariants(ways=ways)) == {"delivery_to_holders_wastes_no_copy"}


def test_what_was_sent_since_is_told_from_two_readings() -> None:
    assert APART.since(Delivered(100, 40, 5_000)) == Delivered(200, 60, 10_000)


def test_figures_are_the_means_of_what_was_measured() -> None:
    figures = dict(course._move_figures(MOVES))
    opened = figures["click_to_first_frame_opened"]
    assert (opened.value, opened.n, opened.unit) == (30.0, 2, "ms")
    assert opened.low <= 30.0 <= opened.high
    assert figures["changes_under_load"].value == 4
    ways = dict(course._way_figures(WAYS))
    assert ways["unreadable_copies.patent"].value == pytest.approx(1 / 3)
    assert ways["unreadable_octets.patent"].value == 50
    assert ways["unreadable_copies.spi"].value == 0


@pytest.mark.parametrize("moves", [MOVES, replace(MOVES, moves=(Move(None, 1, 0),))])
def test_every_time_is_a_sample(moves: Moves) -> None:
    names = [sample.name for sample in course._samples(moves)]
    opened = [one for one in moves.moves if one.opened_after is not None]
    assert names.count("move.opened_after") == len(opened)
    assert names.count("move.answer_took") == len(moves.moves)


def test_claims_are_confirmed_with_their_figures() -> None:
    verdicts = course._verdicts(invariants(), dict(course._move_figures(MOVES)))
    assert {name: claim.verdict for name, claim in verdicts.items()} == {
        "C2": "confirmed",
        "E2": "confirmed",
    }
    assert "0 frames lost by those who stayed, over 4 changes" in verdicts["E2"].evidence


@pytest.mark.parametrize("name", course._SHOWS_C2)
def test_one_broken_invariant_refutes_both_claims(name: str) -> None:
    found = {**invariants(), name: Invariant(False, "")}
    verdicts = course._verdicts(found, dict(course._move_figures(MOVES)))
    assert {claim.verdict for claim in verdicts.values()} == {"refuted"}
    assert verdicts["C2"].evidence == f"did not hold: {name}"
