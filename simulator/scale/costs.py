"""Processor time of a server from what was measured: coefficients, their intervals, and where they end.

The cost of a server in a time is a sum: so much for each frame that comes in, each copy that goes out,
each octet that the cipher works on, each octet that is moved, each rekey and each message of it, each
second that passes, and each run of datagrams that comes or leaves. A run is datagrams of one flow right
behind each other: one wake-up, one system call or one pass of the kernel's program is for all of it, so
that a datagram costs the less the longer its run is.

The coefficients are those that fit measured cells best, none below 0: non-negative least squares on
relative errors, so that cheap cells count as much as dear ones. How a cell scatters over its few blocks
does not count, since it says little of how wrong the cell is: fits to groups of up to 4 foretold those of 8
better without. What the cells cannot tell from other quantities gets no coefficient of its own: where all
frames have one size, octets are a multiple of frames, and where all come alone, runs are frames. Intervals
come from resampling the cells' blocks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.special import stdtrit

from simulator.chance import Chance
from simulator.scale.routers import Reals

QUANTITIES = (
    *("frame_in", "copy_out", "octet_sealed", "octet_moved"),
    *("rekey", "rekey_message", "second"),
    *("run_in", "run_out"),
)
UNITS = (
    *("ns/frame", "ns/copy", "ns/octet", "ns/octet"),
    *("ns/rekey", "ns/message", "ns/s"),
    *("ns/run", "ns/run"),
)
SATURATED = 0.9
"""From this utilisation on waiting grows without measure, and what was measured below says nothing."""
ALLOWED_ERROR = 0.10
"""How wrong a prediction may be, or by the measured figure's own half-width where that is larger."""
RESAMPLES = 2000
_TAIL = 2.5
_APART = 1e-6
"""How much of a quantity, as a share, no sum of the others may say, for it to get a coefficient."""


class SaturatedError(ValueError):
    """Says how busy a server would be."""


class UnfittedError(ValueError):
    """Says what nothing was measured of."""


@dataclass(frozen=True)
class Work:
    """How often a server does what costs: per frame, or per second; each may be a fraction."""

    frames_in: float = 0.0
    copies_out: float = 0.0
    octets_sealed: float = 0.0
    octets_moved: float = 0.0
    rekeys: float = 0.0
    rekey_messages: float = 0.0
    seconds: float = 0.0
    """How long it is there: what it does whether frames come or not."""
    run: float = 1.0
    """So many datagrams of one flow come, and leave to each destination, right behind each other."""

    def row(self) -> tuple[float, ...]:
        """Returns the numbers in the order of QUANTITIES."""
        return (
            self.frames_in,
            self.copies_out,
            self.octets_sealed,
            self.octets_moved,
            self.rekeys,
            self.rekey_messages,
            self.seconds,
            self.frames_in / self.run,
            self.copies_out / self.run,
        )


@dataclass(frozen=True)
class Measured:
    """One measured cell: the work of one unit, and what a unit cost in each block (ns)."""

    name: str
    work: Work
    blocks_ns: tuple[float, ...]

    @property
    def mean_ns(self) -> float:
        """The mean over the blocks."""
        return float(np.mean(self.blocks_ns))

    @property
    def half_width(self) -> float:
        """Half the 95 % interval of the mean, as a share of it, from the blocks' spread."""
        if len(self.blocks_ns) < 2:
            return 0.0
        error = float(np.std(self.blocks_ns, ddof=1)) / math.sqrt(len(self.blocks_ns))
        student = float(stdtrit(len(self.blocks_ns) - 1, 1 - _TAIL / 100))
        return student * error / self.mean_ns


@dataclass(frozen=True, eq=False)
class Prediction:
    """What something costs, in ns, with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Costs:
    """Fitted coefficients: the best ones, and those of each resampling (resamples × quantities)."""

    best: Reals
    resampled: Reals
    longest_run: float = 1.0
    """Of the cells that they were fitted to."""

    def interval(self, quantity: str) -> tuple[float, float, float]:
        """Returns a coefficient and its 95 % interval, in ns a unit."""
        at = QUANTITIES.index(quantity)
        low, high = np.percentile(self.resampled[:, at], (_TAIL, 100 - _TAIL))
        value = float(self.best[at])
        return value, min(float(low), value), max(float(high), value)

    def predict(self, work: Work) -> Prediction:
        """Returns what so much work costs, in ns; UnfittedError for longer runs than were measured."""
        if not 1 <= work.run <= self.longest_run:
            expected = f"1 to {self.longest_run:g}, no others were measured"
            raise UnfittedError(f"runs of {work.run:g} datagrams: expected {expected}")
        row = np.array(work.row())
        value = float(self.best @ row)
        low, high = np.percentile(self.resampled @ row, (_TAIL, 100 - _TAIL))
        return Prediction(value, min(float(low), value), max(float(high), value))

    def utilisation(self, work_a_second: Work) -> float:
        """Returns the share of one core that the work of a second takes; above 1 it does not get done.

        SaturatedError from SATURATED on: nothing was measured there.
        """
        share = self.predict(work_a_second).value / 1e9
        if share >= SATURATED:
            raise SaturatedError(
                f"utilisation {share:.3g}: expected less than {SATURATED}, nothing is known beyond"
            )
        return share

    def to_json(self) -> dict[str, list[float]]:
        """Returns value, low and high of each coefficient."""
        return {name: list(self.interval(name)) for name in QUANTITIES}

    @classmethod
    def from_json(cls, values: Mapping[str, Sequence[float]], longest_run: float = 1.0) -> Costs:
        """Takes up what :meth:`to_json` gave; the ends of intervals stand for all resamplings."""
        rows = np.array([[values[name][at] for name in QUANTITIES] for at in range(3)])
        return cls(rows[0], rows[1:], longest_run)


def times(work: Work, factor: float) -> Work:
    """Returns so many times the work, in as many times the time."""
    values = {name: factor * value for name, value in vars(work).items() if name != "run"}
    return Work(**values, run=work.run)


def fit(cells: Sequence[Measured], seed: int = 0) -> Costs:
    """Fits coefficients to measured cells; ValueError when there are none."""
    if not cells:
        raise ValueError("cells: expected at least one that was measured")
    work = _told_apart(np.array([cell.work.row() for cell in cells]))
    chance = Chance(seed).stream("scale", "costs")
    best = _solve(work, np.array([cell.mean_ns for cell in cells]))
    means = np.column_stack(
        [
            chance.choice(cell.blocks_ns, (RESAMPLES, len(cell.blocks_ns))).mean(axis=1)
            for cell in cells
        ]
    )
    resampled = [_solve(work, some) for some in means]
    return Costs(best, np.array(resampled), max(cell.work.run for cell in cells))


def _told_apart(work: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the cells' work (cells × quantities) with 0 for quantities that say nothing new.

    Those are sums of the ones before them in QUANTITIES: a hub's octets moved are its octets sealed and a
    header for each datagram.
    """
    kept = np.zeros_like(work)
    for at, column in enumerate(work.T):
        others = kept[:, :at]
        rest = column - others @ np.linalg.lstsq(others, column, rcond=None)[0] if at else column
        if np.linalg.norm(rest) > _APART * np.linalg.norm(column):
            kept[:, at] = column
    return kept


def _solve(work: NDArray[np.float64], costs: Reals) -> Reals:
    found, _ = nnls(work / costs[:, None], np.ones_like(costs))
    return np.asarray(found)
