"""The statistics, on windows that are made up."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from experiments.instrument.statistics import (
    QUICK,
    Blocks,
    difference,
    interval,
    level,
    measure_blocks,
    ratio,
)


@dataclass(frozen=True)
class Made:
    """A window that is only its cost."""

    ns_per_frame: float
    flags: tuple[str, ...] = ()


def costing(mean: float, chance: random.Random, spread: float = 0.05) -> Callable[[], Made]:
    return lambda: Made(mean * math.exp(chance.gauss(0, spread)))


def test_a_quick_comparison_has_eight_blocks_of_two_windows_each() -> None:
    made: list[str] = []

    def measure(name: str) -> Callable[[], Made]:
        def window() -> Made:
            made.append(name)
            return Made(1.0)

        return window

    blocks = measure_blocks({"a": measure("a"), "b": measure("b")}, QUICK, random.Random(1))
    assert len(blocks) == 8
    orders = [tuple(made[first : first + 4]) for first in range(0, len(made), 4)]
    assert set(orders) == {("a", "b", "b", "a"), ("b", "a", "a", "b")}


def test_the_ratio_is_found_and_its_interval_holds_it() -> None:
    chance = random.Random(7)
    variants = {"hub": costing(300, chance), "relay": costing(100, chance)}
    figure = ratio(measure_blocks(variants, 40, chance), "hub", "relay")
    assert figure.covers(3.0)
    assert figure.half_width < 0.1


def test_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    chance = random.Random(11)
    covering = 0
    for _ in range(60):
        variants = {"a": costing(100, chance), "b": costing(100, chance)}
        covering += ratio(measure_blocks(variants, 20, chance), "a", "b").covers(1.0)
    assert 51 <= covering <= 60


def test_a_drift_of_the_machine_falls_on_all_alike() -> None:
    clock = iter(range(10_000))

    def drifting(mean: float) -> Callable[[], Made]:
        return lambda: Made(mean + next(clock))

    variants = {"a": drifting(1000), "b": drifting(1000)}
    blocks = measure_blocks(variants, 10, random.Random(3))
    assert difference(blocks, "a", "b").estimate == 0.0


def test_flagged_blocks_stay_and_the_figure_is_given_without_them_too() -> None:
    flagged = iter([Made(400.0, ("steal",)) if n < 4 else Made(100.0) for n in range(16)])
    variants: dict[str, Callable[[], Made]] = {"a": lambda: next(flagged), "b": lambda: Made(100.0)}
    figure = ratio(measure_blocks(variants, QUICK, random.Random(5)), "a", "b")
    assert figure.blocks == 8
    assert figure.flagged == 2
    assert figure.estimate == pytest.approx(4 ** (2 / 8))
    assert figure.unflagged is not None
    assert figure.unflagged.estimate == 1.0
    assert figure.unflagged.blocks == 6


def in_rounds(count: int, chance: random.Random, mood: float) -> Blocks:
    """Measures a against b, equal but for a mood of each round that falls on a alone."""
    blocks = Blocks(())
    for _ in range(count):
        variants = {
            "a": costing(100 * math.exp(chance.gauss(0, mood)), chance),
            "b": costing(100, chance),
        }
        blocks = blocks.then(measure_blocks(variants, 8, chance))
    return blocks


def covering(of: int, count: int, mood: float) -> int:
    """Counts how many of so many intervals cover the truth, which is 1."""
    chance = random.Random(13)
    return sum(ratio(in_rounds(count, chance, mood), "a", "b").covers(1.0) for _ in range(of))


@pytest.mark.parametrize("mood", [0.0, 0.1])
def test_rounds_that_differ_widen_the_interval_so_that_it_holds_the_truth(mood: float) -> None:
    assert 91 <= covering(100, 5, mood) <= 100


def test_within_one_round_an_interval_says_nothing_of_another() -> None:
    assert covering(40, 1, 0.1) < 20


def test_rounds_count_the_same_however_many_blocks_they_have() -> None:
    def constant(value: float, count: int) -> Blocks:
        variants = {"a": lambda: Made(value), "b": lambda: Made(1.0)}
        return measure_blocks(variants, count, random.Random(1))

    blocks = constant(1.0, 8).then(constant(2.0, 1)).then(constant(4.0, 1))
    assert blocks.rounds == 3
    figure = ratio(blocks, "a", "b")
    assert figure.estimate == pytest.approx(2.0)
    assert figure.blocks == 10
    # Student's t for two degrees of freedom is 4.303; the logarithms are 0, 1 and 2 times that of 2.
    assert figure.high == pytest.approx(2 * 2 ** (4.303 / math.sqrt(3)), rel=1e-3)


@pytest.mark.parametrize("count", [2, 3, 8, 12])
def test_an_interval_of_few_values_is_wide_enough_too(count: int) -> None:
    chance = random.Random(count)
    every = [interval([chance.gauss(5, 1) for _ in range(count)]) for _ in range(400)]
    covering = sum(low <= 5 <= high for low, high in every)
    assert covering >= 0.92 * len(every)


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert interval([2.0, 2.0, 2.0]) == (2.0, 2.0)


def test_one_value_says_nothing_of_its_interval() -> None:
    assert interval([2.0]) == (-math.inf, math.inf)


def test_a_level_is_the_mean() -> None:
    windows = iter([Made(1.0), Made(3.0)] * 8)
    blocks = measure_blocks({"a": lambda: next(windows)}, QUICK, random.Random(1))
    assert level(blocks, "a").estimate == 2.0


def test_a_block_in_which_nothing_came_in_has_no_ratio_and_counts_as_flagged() -> None:
    windows = iter([Made(math.nan, ("lost",))] + [Made(2.0)] * 15)
    variants: dict[str, Callable[[], Made]] = {"a": lambda: next(windows), "b": lambda: Made(1.0)}
    figure = ratio(measure_blocks(variants, QUICK, random.Random(1)), "a", "b")
    assert figure.estimate == pytest.approx(2.0)
    assert (figure.blocks, figure.flagged) == (7, 1)
