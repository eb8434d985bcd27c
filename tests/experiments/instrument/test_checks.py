"""What a check says when the machine gives it nothing to judge by."""

from __future__ import annotations

import pytest

from experiments.instrument.canaries import share
from experiments.instrument.checks import Soaked, agreed, received
from experiments.instrument.commands import Sent
from experiments.instrument.course import note_checks
from experiments.run_folder import Found


@pytest.mark.parametrize(
    ("loaded", "free", "fit", "words"),
    [
        (Soaked(100, 40, 60), Soaked(100, 0, 100), True, "CPU clock over soaker 1.000"),
        (Soaked(100, 20, 60), Soaked(100, 0, 100), False, "CPU clock over soaker 0.500"),
        (Soaked(100, 40, 110), Soaked(100, 0, 100), False, "less busy with load"),
        (Soaked(100, 40, 0), Soaked(100, 0, 0), False, "somebody else"),
    ],
)
def test_clock_and_soaker_agree_or_it_says_why_not(
    loaded: Soaked, free: Soaked, fit: bool, words: str
) -> None:
    check = agreed(loaded, free)
    assert (check.fit, words in check.detail) == (fit, True)
    found = Found()
    assert note_checks(found, [check]) is fit
    assert found.tables[0].rows[0][0] == "agreement"


MS = 1_000_000


def samples(*runs: range) -> list[tuple[int, int, int]]:
    """Gives a spinner's samples in these milliseconds: two loops in each that it runs."""
    moments = [moment for run in runs for moment in run]
    return [(at * MS, index * MS, 2 * index) for index, at in enumerate(moments)]


def sent(begin_ms: int) -> Sent:
    return Sent(100, 0, begin_ms * MS, 0.04, 0, False)


def test_a_spinner_that_hardly_ran_in_a_slice_has_no_share_there() -> None:
    loaded, free = sent(0), sent(100)
    assert share(samples(range(40), range(100, 140)), loaded, free) == pytest.approx(1)
    for ran in ([range(40)], [range(3), range(100, 140)], [range(40), range(137, 160)], []):
        assert share(samples(*ran), loaded, free) is None


@pytest.mark.parametrize(
    ("ratios", "fit", "words"),
    [
        ([0.99, 1.0, 1.01], True, "100.0% of its work under load: untouched"),
        ([0.5, 0.5, 1.0], False, "50.0% of its work under load: it pays"),
        ([None, 1.0, 1.01], True, "untouched; it hardly ran in 1 of 3 pairs"),
        ([None, None, 1.0], False, "somebody else keeps the core busy in 2 of 3 pairs"),
        ([None, None, None], False, "somebody else keeps the core busy in 3 of 3 pairs"),
    ],
)
def test_where_others_take_the_spinners_core_the_instrument_is_not_fit(
    ratios: list[float | None], fit: bool, words: str
) -> None:
    check = received(ratios)
    assert (check.fit, words in check.detail) == (fit, True), check
    found = Found()
    assert note_checks(found, [check]) is fit
    assert found.figures["instrument_fit"].value == float(fit)
