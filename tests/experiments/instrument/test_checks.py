"""What a check says when the machine gives it nothing to judge by."""

from __future__ import annotations

import pytest

from experiments.instrument.checks import Soaked, agreed
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
