"""The load measurement of a run: the rig, the instrument's checks, and then, if it is fit, the cells."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from experiments.instrument.checks import CHEAP, Check, Subject, find_load
from experiments.instrument.loads import LoadError
from experiments.instrument.programs import InstrumentError
from experiments.instrument.rig import Rig, rig_up
from experiments.instrument.settings import Wire
from experiments.isolation import MachineError
from experiments.progress import Progress
from experiments.records.record import Claim, Figure, Sample, Table
from experiments.relay_load.cells import BASE_GROUP, BASE_SIZE, GROUPS, Cell, cells
from experiments.relay_load.measure import (
    VARIANTS,
    Price,
    Results,
    half_rate,
    measure,
    price,
)

CHECK_SECONDS = 0.2


@dataclass(frozen=True)
class Extent:
    """How much is measured: ``rounds`` of all cells, of so many blocks each, in ``sittings``.

    Each sitting starts all processes anew. All numbers are fixed: stopping when an interval is narrow
    favours narrow ones.
    """

    sittings: int
    rounds: int
    blocks: int


QUICK, FULL = Extent(1, 5, 2), Extent(5, 5, 8)


@dataclass
class LoadRun:
    """What the instrument said of itself, and what it measured if it was fit."""

    checks: list[Check] = field(default_factory=list)
    failure: str = ""
    """Why nothing was measured, where the rig could not be had."""
    price: Price | None = None
    results: Results = field(default_factory=Results)

    @property
    def unfit(self) -> list[Check]:
        """The checks that failed: with one of them, no figure is published."""
        return [check for check in self.checks if not check.fit]

    def figures(self) -> dict[str, Figure]:
        """Returns the price of a decision and the cells' figures."""
        return {**(self.price.figures() if self.price else {}), **self.results.figures()}

    def samples(self) -> Iterator[Sample]:
        """Yields every window, and every figure of the checks."""
        for check in self.checks:
            for name, value in check.values.items():
                if math.isfinite(value):  # a ratio to nothing is one reason to be not fit
                    yield Sample(f"instrument.{name}", value, "", {"check": check.name})
        yield from self.results.samples()

    def tables(self) -> Iterator[Table]:
        """Yields the cells side by side, and the checks."""
        if self.results.cells:
            yield self.results.table()
        rows = tuple(
            (check.name, "fit" if check.fit else "not fit", check.detail) for check in self.checks
        )
        yield Table("The instrument's checks", ("check", "", "seen"), rows)

    def verdict(self) -> Claim:
        """Returns E1."""
        if self.failure:
            return Claim("inconclusive", f"not measured: {self.failure}")
        if self.unfit:
            said = "; ".join(f"{check.name}: {check.detail}" for check in self.unfit)
            return Claim("inconclusive", f"the instrument is not fit: {said}")
        return self.results.verdict()


def steps(quick: bool) -> int:
    """Returns how many steps of a run this is."""
    extent = QUICK if quick else FULL
    return 1 + extent.sittings + extent.rounds * (1 + len(list(cells(quick))))


def run(quick: bool, seed: int, wire: Wire, dataplane: str | None, progress: Progress) -> LoadRun:
    """Measures all cells, or none when the instrument is not fit or cannot be had.

    Relay and hub are on the same sockets, also where the run's servers forward in the kernel: only the
    cipher may differ, and a hub's cannot be there (what the kernel saves: `experiments.planes`).

    What a run has shown of its invariants stands, whatever becomes of the measurement.
    """
    try:
        sockets = None if dataplane == "kernel" else dataplane
        return _measure_all(quick, random.Random(seed), wire, sockets, progress)
    except (MachineError, InstrumentError, LoadError) as error:
        progress.note(f"  no load is measured: {error}")
        return LoadRun(failure=str(error))


def _measure_all(
    quick: bool, chance: random.Random, wire: Wire, sockets: str | None, progress: Progress
) -> LoadRun:
    """Measures in rounds: each has all cells in an order drawn by chance."""
    extent, run = QUICK if quick else FULL, LoadRun()
    rates: dict[tuple[str, int], float] = {}
    for sitting in range(extent.sittings):
        progress.step("load: servers and members")
        with rig_up(VARIANTS, GROUPS, wire, dataplane=sockets) as rig:
            if sitting == 0:
                progress.step("load: the instrument's own checks")
                load = find_load(rig, "null", BASE_GROUP, BASE_SIZE, CHECK_SECONDS)
                subject = Subject(rig, "null", "relay", load, chance)
                run.checks = [check(subject) for check in CHEAP]
                for check in run.unfit:
                    progress.note(f"  not fit, no load is measured: {check.name}: {check.detail}")
                if run.unfit:
                    return run
            for _ in range(extent.rounds // extent.sittings):
                _round(rig, run, rates, extent, list(cells(quick)), chance, progress)
    for result in run.results.cells:
        ratio = result.ratio("hub", "relay")
        progress.note(
            f"  {result.cell.describe()}: hub over relay {ratio.estimate:.3f} ({ratio.low:.3f} to "
            f"{ratio.high:.3f}), {ratio.blocks} blocks, {ratio.flagged} flagged"
        )
    return run


def _round(
    rig: Rig,
    run: LoadRun,
    rates: dict[tuple[str, int], float],
    extent: Extent,
    wanted: list[Cell],
    chance: random.Random,
    progress: Progress,
) -> None:
    """Measures what a decision costs and every cell once more; ``rates`` are sought but once."""
    progress.step("load: what a decision costs")
    base = Cell("unicast", BASE_GROUP, BASE_SIZE)
    rate = _rate(rig, base, rates)
    run.price = price(rig.measure, base, rate, extent.blocks, chance, run.price)
    known = {result.cell: result for result in run.results.cells}
    for cell in chance.sample(wanted, len(wanted)):
        progress.step(f"load: {cell.describe()}")
        rate = _rate(rig, cell, rates)
        known[cell] = measure(cell, rig.measure, rate, extent.blocks, chance, known.get(cell))
    run.results.cells = [known[cell] for cell in wanted]


def _rate(rig: Rig, cell: Cell, rates: dict[tuple[str, int], float]) -> float:
    """Returns the rate to measure at: without a look inside, one search serves all sizes of a frame."""
    kind = (str(cell.cast), cell.members)
    if kind not in rates:
        rates[kind] = half_rate(rig.measure, cell)
    return rates[kind]
