"""Tests of experiments.scale.rekeys."""

from __future__ import annotations

import random

from experiments.scale.rekeys import REKEY_ROUNDS, REKEYED, measure_rekeys


def test_rekeys_are_measured_in_rounds_and_every_round_is_a_middle_one() -> None:
    found = measure_rekeys(random.Random(1))
    assert list(found) == list(REKEYED)
    for members, cell in found.items():
        assert len(cell.blocks_ns) == REKEY_ROUNDS
        assert cell.work.rekey_messages >= members
        assert min(cell.blocks_ns) > 0
