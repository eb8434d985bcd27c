"""The stopwatch tells stages apart that run within each other, and leaves nothing behind."""

from __future__ import annotations

import pytest

from experiments.ladder.stopwatch import LONGEST, Overhead, Place, Stopwatch, exclusive, overhead

NOTHING = Overhead(0.0, 0.0)


def test_what_runs_within_a_stage_is_not_counted_there_again() -> None:
    times = {"reseal": [100, 100], "open": [30, 30], "open_cipher": [10, 10], "seal": [20] * 4}
    assert exclusive(times, NOTHING) == {
        "reseal": 200 - 60 - 80,
        "open": 60 - 20,
        "open_cipher": 20,
        "seal": 80,
    }


def test_what_the_wrappers_add_is_taken_off_where_it_was_paid() -> None:
    # A reseal of 40 ns of its own, around one open of 25, around a cipher of 10: each wrapper adds 3
    # to its own reading and 7 to what stands around it.
    times = {"reseal": [40 + 25 + 10 + 2 * 7 + 3], "open": [25 + 10 + 7 + 3], "open_cipher": [13]}
    found = exclusive(times, Overhead(3.0, 7.0))
    assert found == pytest.approx({"reseal": 40, "open": 25, "open_cipher": 10})


def test_a_call_that_was_interrupted_counts_as_the_bound() -> None:
    assert exclusive({"send": [10] * 99 + [1_000_000]}, NOTHING)["send"] == 990 + 10 * LONGEST


def test_a_stage_that_never_ran_has_no_time() -> None:
    assert exclusive({"tag": [], "decide": [5]}, NOTHING) == {"tag": 0, "decide": 5}


class Loop:
    def receive(self) -> int:
        return 1

    @classmethod
    def parse(cls, value: int) -> int:
        return value + 1


def test_functions_are_as_before_when_it_is_off() -> None:
    loop = Loop()
    watch = Stopwatch([Place(loop, "receive", "receive"), Place(Loop, "parse", "tag")])
    parse = vars(Loop)["parse"]
    watch.start()
    assert vars(loop)["receive"] is not Loop.receive
    assert (loop.receive(), Loop.parse(1)) == (1, 2)
    found = watch.stop()
    assert not watch.is_on
    assert set(found) == {"receive", "tag"}
    assert "receive" not in vars(loop)
    assert vars(Loop)["parse"] is parse


def test_it_is_not_started_twice() -> None:
    watch = Stopwatch([Place(Loop(), "receive", "receive")])
    watch.start()
    with pytest.raises(RuntimeError, match="on already"):
        watch.start()
    watch.stop()


def test_a_wrapper_adds_less_to_its_reading_than_to_its_caller() -> None:
    added = overhead()
    assert 0 <= added.inside <= added.whole < 100_000
