"""Which loads to offer: the highest rate without loss, and half of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from experiments.instrument.window import Load, Window

SHARE = 0.5
"""The share of the null forwarder's highest loss-free rate at which everything is measured."""
LOWEST_RATE, HIGHEST_RATE = 200.0, 200_000.0
"""Copies a second between which that rate is sought."""
TRIAL_SECONDS = 0.15
PRECISION = 0.08
GUESS_LOW, GUESS_HIGH = 0.8, 8.0
LESS = 0.8
BUSY_LIMIT = 0.95
"""The share of a trial that the process may be busy: above it a longer trial would lose."""


class LoadError(RuntimeError):
    """Says which load could not be offered."""


def half_load(measure: Callable[[Load], Window], load: Load) -> Load:
    """Returns ``load`` at half of the highest rate that ``measure``'s server bears without loss.

    Raises LoadError when it does not bear even the lowest rate.
    """

    def is_borne(rate: float) -> bool:
        return bears(measure(replace(load, rate=rate, seconds=TRIAL_SECONDS)))

    lowest, highest = LOWEST_RATE / load.copies, HIGHEST_RATE / load.copies
    # At a low rate a frame costs more than at the highest, so this guess is on the low side.
    cost = measure(replace(load, rate=4 * lowest, seconds=TRIAL_SECONDS)).ns_per_frame
    found = 0.0
    if cost > 0:  # else nothing came, or the server had no processor to read it
        guess = 1e9 / cost
        high = min(GUESS_HIGH * guess, highest)
        found = loss_free_rate(is_borne, GUESS_LOW * guess, high, PRECISION)
    found = found or loss_free_rate(is_borne, lowest, highest, PRECISION)
    if not found:
        raise LoadError(f"{load}: not borne even at {lowest:.0f} frames a second")
    return replace(load, rate=SHARE * found)


def bears(window: Window) -> bool:
    """Tells whether a trial's load was borne: nothing lost, and nothing put off.

    A socket's buffer hides a short overload, so that a server also has to keep up with it.
    """
    return keeps_up(window) and not window.lost and not window.saturated


def keeps_up(window: Window) -> bool:
    """Tells whether the process could have gone on like this: it was not busy all the time."""
    return window.cpu_ns <= BUSY_LIMIT * window.seconds * 1e9


def within_reach(measure: Callable[[Load], Window], load: Load) -> Load:
    """Returns ``load``, at a lower rate if ``measure``'s server cannot keep up with it."""
    while not keeps_up(measure(replace(load, seconds=TRIAL_SECONDS))) and load.rate > LOWEST_RATE:
        load = replace(load, rate=LESS * load.rate)
    return load


TRIALS = 3


def loss_free_rate(
    is_loss_free: Callable[[float], bool], low: float, high: float, precision: float = 0.05
) -> float:
    """Returns the highest rate that a trial finds free of loss, between ``low`` and ``high``.

    A search by bisection of the logarithm, down to a step of ``precision``. A rate is given up
    only when TRIALS trials lose: others on the machine make losses, too. Returns 0.0 when even
    ``low`` loses.
    """

    def holds(rate: float) -> bool:
        return any(is_loss_free(rate) for _ in range(TRIALS))

    if not holds(low):
        return 0.0
    if is_loss_free(high):
        return high
    while high > low * (1 + precision):
        middle = math.sqrt(low * high)
        if holds(middle):
            low = middle
        else:
            high = middle
    return low
