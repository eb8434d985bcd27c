"""Figures of a summary: exact counts, and means with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.instrument.statistics import interval
from experiments.records.record import Figure


def exact(value: float, unit: str) -> Figure:
    """Returns the figure of one value that is no estimate."""
    return Figure(value, value, value, 1, unit)


def mean(values: Sequence[float], unit: str) -> Figure:
    """Returns the mean of at least one value with its 95 % interval; one value is its own.

    A BCa interval may leave the mean out by a hair: it is widened to hold it.
    """
    middle = sum(values) / len(values)
    low, high = interval(values) if len(values) > 1 else (middle, middle)
    return Figure(middle, min(low, middle), max(high, middle), len(values), unit)
