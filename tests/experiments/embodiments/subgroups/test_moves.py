"""What is told of what terminals have recorded around a click."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from experiments.embodiments.subgroups import moves
from experiments.embodiments.subgroups.page import Click
from experiments.traffic import steady
from experiments.traffic.probe import ReceivedFrame
from experiments.traffic.probing import record_path
from experiments.traffic.steady import Steady


def frame(sequence: int, at: int = 0) -> ReceivedFrame:
    return ReceivedFrame(at, "all", "a", "00", 0, sequence, 64, True, "")


@pytest.mark.parametrize(
    ("numbers", "missing"),
    [((), 0), ((7,), 0), ((5, 6, 7), 0), ((5, 7), 1), ((7, 5, 5), 1), ((1, 2, 10), 7)],
)
def test_frames_that_never_came_between_the_first_and_the_last_are_counted(
    numbers: tuple[int, ...], missing: int
) -> None:
    assert steady.count_missing([frame(number) for number in numbers]) == missing


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has everything been recorded already."""
    monkeypatch.setattr(moves, "_wait_for", lambda *_: None)
    monkeypatch.setattr(moves, "poll_until", lambda condition, deadline: condition())


def moved(folder: Path, *came: int, left: int = 5000) -> moves.Move:
    """Judges a move at 1 s, one back at 5 s and the last key's end by when frames came, in ms."""
    apart = iter([left == 5000, True])
    lines = [msgspec.json.encode(frame(number, at * 10**6)) for number, at in enumerate(came)]
    record_path(folder, "t3a").write_bytes(b"\n".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic_ns", lambda: left * 10**6)
        return moves._move(
            [Steady(folder, ["t3a"])],
            "t3a",
            lambda: next(apart),
            lambda: Click(10**9, 5, 200),
            lambda: Click(5 * 10**9, 5, 200),
        )


def test_the_first_frame_after_the_click_is_timed(tmp_path: Path) -> None:
    assert moved(tmp_path, 500, 1030, 1040).opened_after == 30 * 10**6


def test_a_move_after_which_nothing_comes_has_no_time(tmp_path: Path) -> None:
    assert moved(tmp_path, 500).opened_after is None


def test_frames_on_their_way_are_let_pass_and_later_ones_are_counted(tmp_path: Path) -> None:
    told = 5000 + round(moves.TOLD_SECONDS * 1000)
    assert moved(tmp_path, 1030, told - 1).heard_after_leaving == 0
    assert moved(tmp_path, 1030, told, told + 400).heard_after_leaving == 2


def test_a_client_that_is_told_late_may_hear_until_then(tmp_path: Path) -> None:
    told = 9000 + round(moves.TOLD_SECONDS * 1000)
    assert moved(tmp_path, 1030, 8000, told - 1, left=9000).heard_after_leaving == 0
    assert moved(tmp_path, 1030, 8000, told, left=9000).heard_after_leaving == 1
