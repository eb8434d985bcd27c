"""What is told of a steady stream: gaps between arrivals, frames missing and repeated, waiting."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from experiments.traffic import steady
from experiments.traffic.probe import ReceivedFrame, ReceiveEnd
from experiments.traffic.probing import BROADCAST, ProbingError, record_path
from experiments.traffic.steady import Steady, longest_gap, poll_until

S = 1_000_000_000


@pytest.mark.parametrize(
    ("begin", "end", "gap"),
    [(0, 2, 1.0), (3, 8, 4.0), (0, 10, 4.0), (8, 10, 2.0), (11, 20, 0.0)],
)
def test_a_gap_counts_where_it_ends(begin: int, end: int, gap: float) -> None:
    arrivals = [0, S, 2 * S, 3 * S, 7 * S, 9 * S]
    assert longest_gap(arrivals, begin * S, end * S) == gap


def test_without_arrivals_there_is_no_gap_to_tell() -> None:
    assert longest_gap([], 0, S) == 0
    assert longest_gap([S], 0, S) == 0


def recorded(folder: Path, **arrivals: Sequence[tuple[int, int]]) -> Steady:
    """Writes the records of receivers, (time in s, sequence) of each frame, and an end."""
    for name, frames in arrivals.items():
        lines: list[ReceivedFrame | ReceiveEnd] = [
            ReceivedFrame(at * S, BROADCAST, "02:00:00:00:aa:01", "", 0, sequence, 64, True, "")
            for at, sequence in frames
        ]
        lines.append(ReceiveEnd(len(frames), 0, "ended"))
        octets = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
        record_path(folder, name).write_bytes(octets)
    return Steady(folder, list(arrivals))


def test_a_stream_without_a_fault_has_nothing_missing_or_repeated(tmp_path: Path) -> None:
    stream = recorded(tmp_path, t1=[(1, 4), (2, 5), (3, 6)], t2=[(1, 3), (2, 5), (3, 4)])
    assert (stream.missing(), stream.repeated()) == (0, 0)


def test_missing_are_those_between_the_first_and_the_last_at_each_receiver(tmp_path: Path) -> None:
    stream = recorded(tmp_path, t1=[(1, 4), (2, 7)], t2=[(1, 10), (2, 11), (3, 13)])
    assert stream.missing() == 3
    assert stream.repeated() == 0


def test_a_repeated_frame_is_repeated_and_hides_none_that_is_missing(tmp_path: Path) -> None:
    stream = recorded(tmp_path, t1=[(1, 1), (2, 1), (3, 1), (4, 3)])
    assert (stream.missing(), stream.repeated()) == (1, 2)


def test_a_receiver_that_got_nothing_has_nothing_between(tmp_path: Path) -> None:
    stream = recorded(tmp_path, t1=[])
    assert (stream.missing(), stream.repeated()) == (0, 0)
    assert stream.longest_gap(0, 9 * S) == 0


def test_the_longest_gap_is_the_worst_receivers(tmp_path: Path) -> None:
    stream = recorded(tmp_path, t1=[(1, 1), (2, 2), (3, 3)], t2=[(1, 1), (6, 2)])
    assert stream.longest_gap(0, 9 * S) == 5.0
    assert stream.longest_gap(0, 5 * S) == 1.0


def test_frames_are_waited_for_at_every_receiver(tmp_path: Path) -> None:
    stream = recorded(tmp_path, t1=[(1, 1)], t2=[(1, 1)])
    soon = time.monotonic() + 0.05
    assert not stream.more_frames(1, soon)
    with record_path(tmp_path, "t1").open("ab") as record:
        record.write(b"more\n")
    assert stream.more_frames(0, soon)
    assert not stream.more_frames(1, soon)


def test_a_stream_that_does_not_flow_names_who_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steady, "RESUME_SECONDS", 0.0)
    with pytest.raises(ProbingError, match="no steady stream to t1, t2"):
        recorded(tmp_path, t1=[], t2=[]).wait_for_frames(1)


def test_polling_tells_whether_the_condition_held() -> None:
    asked = iter([False, False, True])
    assert poll_until(lambda: next(asked), time.monotonic() + 5)
    assert poll_until(lambda: True, time.monotonic() - 1)
    assert not poll_until(lambda: False, time.monotonic())
