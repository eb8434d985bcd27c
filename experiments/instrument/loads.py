"""Which loads to offer: the highest rate without loss, and half of it."""

from __future__ import annotations

import math
from collections.abc import Callable

SHARE = 0.5
"""The share of the null forwarder's highest loss-free rate at which everything is measured."""
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
