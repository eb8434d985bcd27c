"""Blocks of paired windows, and what may be said of them: ratios and differences with intervals.

A block measures every variant twice, in an order drawn by chance and then backwards (ABBA), so
that a drift of the machine falls on all alike. Nothing is ever dropped: blocks with a doubtful
window are flagged, and every figure is given with and without them. Only a block in which a server
did nothing at all has no ratio to give; it counts as flagged.

Blocks that follow each other are alike: a machine keeps its mood for half a minute, and a process what
it had at its start. Over blocks of one stretch an interval says nothing of that, and is too narrow for
another stretch to come out in it. So blocks are taken in rounds, apart in time, and with ROUNDS or more
of them the interval is Student's over the rounds' means; with fewer it is a bootstrap over the blocks, and
Student's over these where they are fewer than ENOUGH.
"""

from __future__ import annotations

import math
import random as chance
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

CONFIDENCE = 0.95
RESAMPLES = 9_999
ROUNDS = 3
"""The fewest rounds that say something of how rounds differ."""
ENOUGH = 20
"""The fewest values for a bootstrap, whose 95 % intervals cover the mean in 47 % with 2, in 88 % with 12."""
QUICK = 8
"""Blocks of a comparison that only has to show that something is there."""
_SEED = 20040929


class Sample(Protocol):
    """What a window must say of itself."""

    @property
    def ns_per_frame(self) -> float: ...
    @property
    def flags(self) -> tuple[str, ...]: ...


Value = Callable[[Sample], float]


@dataclass(frozen=True)
class Block:
    """Two windows of each variant, in the order of ``order`` and back."""

    order: tuple[str, ...]
    windows: Mapping[str, tuple[Sample, Sample]]
    round: int = 0

    @property
    def flags(self) -> tuple[str, ...]:
        """Names what makes any of its windows doubtful."""
        every = {flag for pair in self.windows.values() for one in pair for flag in one.flags}
        return tuple(sorted(every))

    def flags_of(self, variants: Sequence[str]) -> tuple[str, ...]:
        """Names what makes a window of these variants doubtful."""
        every = {flag for name in variants for one in self.windows[name] for flag in one.flags}
        return tuple(sorted(every))


@dataclass(frozen=True)
class Blocks:
    """All blocks of a comparison."""

    blocks: tuple[Block, ...]

    def __len__(self) -> int:
        return len(self.blocks)

    @property
    def rounds(self) -> int:
        """How many rounds there are."""
        return len({block.round for block in self.blocks})

    def then(self, later: Blocks) -> Blocks:
        """Returns these and, as one round more, others of the same variants."""
        number = 1 + max((block.round for block in self.blocks), default=-1)
        return Blocks((*self.blocks, *(replace(block, round=number) for block in later.blocks)))


@dataclass(frozen=True)
class Figure:
    """An estimate with its 95 % interval over ``blocks`` blocks, ``flagged`` of them doubtful.

    ``unflagged`` is the same without those, where enough are left and any was flagged.
    """

    estimate: float
    low: float
    high: float
    blocks: int
    flagged: int
    unflagged: Figure | None = None

    @property
    def half_width(self) -> float:
        """Half the interval's width, in the figure's own unit."""
        return (self.high - self.low) / 2

    def covers(self, value: float) -> bool:
        """Tells whether the interval holds ``value``."""
        return self.low <= value <= self.high


def measure_blocks(
    variants: Mapping[str, Callable[[], Sample]], count: int, random: chance.Random
) -> Blocks:
    """Measures so many blocks.

    The number is fixed: to stop when an interval is narrow favours narrow ones, which cover less.
    """
    names = list(variants)
    blocks: list[Block] = []
    for _ in range(count):
        order = random.sample(names, len(names))
        first = {name: variants[name]() for name in order}
        second = {name: variants[name]() for name in reversed(order)}
        blocks.append(Block(tuple(order), {name: (first[name], second[name]) for name in names}))
    return Blocks(tuple(blocks))


def ns_per_frame(window: Sample) -> float:
    """Is the value that is compared unless another is asked for."""
    return window.ns_per_frame


def ratio(blocks: Blocks, over: str, under: str, value: Value = ns_per_frame) -> Figure:
    """Returns the ratio of two variants: the geometric mean of the blocks' own ratios."""

    def paired(block: Block) -> float:
        return _mean_log(block.windows[over], value) - _mean_log(block.windows[under], value)

    figure = _figure(blocks, (over, under), paired)
    return _mapped(figure, math.exp)


def difference(blocks: Blocks, over: str, under: str, value: Value = ns_per_frame) -> Figure:
    """Returns the mean of the blocks' own differences, in the value's unit."""

    def paired(block: Block) -> float:
        return _mean(block.windows[over], value) - _mean(block.windows[under], value)

    return _figure(blocks, (over, under), paired)


def level(blocks: Blocks, variant: str, value: Value = ns_per_frame) -> Figure:
    """Returns one variant's mean, in the value's unit."""
    return _figure(blocks, (variant,), lambda block: _mean(block.windows[variant], value))


def interval(values: Sequence[float], rounds: Sequence[int] = ()) -> tuple[float, float]:
    """Returns the interval of the mean of ``values``; ``rounds`` says the round of each.

    With ROUNDS of them it is Student's over their means. Else it is Student's over fewer values than ENOUGH,
    and with so many a bootstrap, bias-corrected and accelerated.
    """
    if len(set(rounds)) >= ROUNDS:
        return _students(round_means(values, rounds))
    if len(values) < 2:
        return -math.inf, math.inf
    if max(values) - min(values) <= 1e-12 * max(map(abs, values)):
        return min(values), max(values)
    if len(values) < ENOUGH:
        return _students(values)
    import numpy
    from scipy.stats import bootstrap

    found = bootstrap(
        (numpy.asarray(values),),
        numpy.mean,
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        method="BCa",
        rng=numpy.random.default_rng(_SEED),
    ).confidence_interval
    return float(found.low), float(found.high)


def round_means(values: Sequence[float], rounds: Sequence[int]) -> list[float]:
    """Returns the mean of each round's values."""
    by_round: dict[int, list[float]] = {}
    for value, number in zip(values, rounds, strict=True):
        by_round.setdefault(number, []).append(value)
    return [sum(some) / len(some) for some in by_round.values()]


def _students(values: Sequence[float]) -> tuple[float, float]:
    from scipy.stats import t

    middle = sum(values) / len(values)
    deviation = math.sqrt(sum((one - middle) ** 2 for one in values) / (len(values) - 1))
    reach = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * deviation / math.sqrt(len(values))
    return middle - reach, middle + reach


def _figure(blocks: Blocks, variants: Sequence[str], paired: Callable[[Block], float]) -> Figure:
    if not blocks.blocks:
        raise ValueError("no blocks: expected at least one")
    every = [
        (paired(block), block.round) for block in blocks.blocks if math.isfinite(paired(block))
    ]
    if not every:
        raise ValueError("no figure: expected a block in which every server did something")
    clean = [
        (paired(block), block.round)
        for block in blocks.blocks
        if math.isfinite(paired(block)) and not block.flags_of(variants)
    ]
    flagged = len(blocks) - len(clean)
    unflagged = _estimate(clean, 0, None) if flagged and len(clean) > 1 else None
    return _estimate(every, flagged, unflagged)


def _estimate(found: Sequence[tuple[float, int]], flagged: int, unflagged: Figure | None) -> Figure:
    """Returns the mean of all values, or, with ROUNDS, of the rounds' means, which all count the same."""
    values, rounds = [value for value, _ in found], [number for _, number in found]
    means = round_means(values, rounds) if len(set(rounds)) >= ROUNDS else values
    estimate = sum(means) / len(means)
    return Figure(estimate, *interval(values, rounds), len(values), flagged, unflagged)


def _mapped(figure: Figure, change: Callable[[float], float]) -> Figure:
    without = _mapped(figure.unflagged, change) if figure.unflagged is not None else None
    return Figure(
        change(figure.estimate),
        change(figure.low),
        change(figure.high),
        figure.blocks,
        figure.flagged,
        without,
    )


def _mean(windows: Sequence[Sample], value: Value) -> float:
    return sum(map(value, windows)) / len(windows)


def _mean_log(windows: Sequence[Sample], value: Value) -> float:
    values = [value(window) for window in windows]
    if not all(one > 0 for one in values):
        return math.nan
    return sum(map(math.log, values)) / len(values)
