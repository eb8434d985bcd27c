"""The highest load without loss of each rung: a search around what its cost at half load makes likely."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from experiments.instrument.loads import bears, loss_free_rate
from experiments.instrument.rig import Rig
from experiments.instrument.statistics import Sample
from experiments.instrument.window import Load
from experiments.planes.ways import Measured

LOW, HIGH = 0.7, 1.6
"""The search's bounds, as shares of the rate at which the cost at half load would fill the core."""
LOWER = 0.4
TRIAL_SECONDS, BATCH_TRIAL_SECONDS = 0.15, 0.1
MOST_FRAMES = 60_000
"""Sealed beforehand for one trial, at most: they stand in the generator's memory."""


@dataclass
class Capacity:
    """What was found: 0 when not even the lowest rate was borne."""

    flow: str
    server: str
    rate: float = 0.0
    at_least: bool = False
    """Whether it may well be more: the generator could not offer that, or nobody tried."""
    trials: list[tuple[float, bool]] = field(default_factory=list)
    """Every rate that was tried, and whether it was borne."""


def likely_cost(sample: Sample) -> float:
    """Returns what a frame cost whoever has most to do with it: the process, or its sender, in ns."""
    assert isinstance(sample, Measured)
    return max(sample.ns_per_frame, sample.window.sender_ns / max(1, sample.window.sent))


def search(
    rig: Rig, flow: str, server: str, load: Load, ns_per_frame: float, step: float
) -> Capacity:
    """Returns the highest rate that a server bears without loss, down to steps of ``step``.

    A trial's load is borne when nothing is lost and the process is not busy all the time.
    """
    found = Capacity(flow, server)

    def is_borne(rate: float) -> bool:
        seconds = TRIAL_SECONDS if load.burst == 1 else BATCH_TRIAL_SECONDS
        seconds = max(load.burst / rate, min(seconds, MOST_FRAMES / rate))
        window = rig.measure(server, replace(load, rate=rate, seconds=seconds))
        borne = bears(window)
        found.trials.append((rate, borne))
        if not borne:
            found.at_least = window.saturated and not window.lost
        return borne

    guess = 1e9 / ns_per_frame
    found.rate = loss_free_rate(is_borne, LOW * guess, HIGH * guess, step)
    found.rate = found.rate or loss_free_rate(is_borne, LOWER * LOW * guess, LOW * guess, step)
    found.at_least = found.at_least or found.rate == HIGH * guess
    return found
