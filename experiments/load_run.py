"""The load measurement of a run: the rig, the instrument's checks, and then, if it is fit, the cells."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from experiments.cells import BASE_GROUP, BASE_SIZE, GROUPS, Cell, cells
from experiments.instrument.checks import CHEAP, Check, Subject, find_load
from experiments.instrument.loads import LoadError
from experiments.instrument.programs import InstrumentError
from experiments.instrument.rig import rig_up
from experiments.instrument.settings import Wire
from experiments.instrument.statistics import QUICK, full
from experiments.isolation import MachineError
from experiments.progress import Progress
from experiments.record import Claim, Figure, Sample, Table
from experiments.relay_load import (
    AGAIN,
    VARIANTS,
    Price,
    Results,
    half_rate,
    measure,
    price,
)

CHECK_SECONDS = 0.2
PRICE_BLOCKS = 80


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
    return 3 + len(list(cells(quick)))


def run(quick: bool, seed: int, wire: Wire, dataplane: str | None, progress: Progress) -> LoadRun:
    """Measures all cells, or none when the instrument is not fit or cannot be had.

    What a run has shown of its invariants stands, whatever becomes of the measurement.
    """
    try:
        return _measure_all(quick, seed, wire, dataplane, progress)
    except (MachineError, InstrumentError, LoadError) as error:
        progress.note(f"  no load is measured: {error}")
        return LoadRun(failure=str(error))


def _measure_all(
    quick: bool, seed: int, wire: Wire, dataplane: str | None, progress: Progress
) -> LoadRun:
    chance = random.Random(seed)
    rule = QUICK if quick else full(("hub", "relay"), (AGAIN, "relay"))
    run = LoadRun()
    progress.step("load: servers and members")
    with rig_up(VARIANTS, GROUPS, wire, dataplane=dataplane) as rig:
        progress.step("load: the instrument's own checks")
        load = find_load(rig, "null", BASE_GROUP, BASE_SIZE, CHECK_SECONDS)
        subject = Subject(rig, "null", "relay", load, chance)
        run.checks = [check(subject) for check in CHEAP]
        if run.unfit:
            return run
        progress.step("load: what a decision costs")
        base = Cell("unicast", BASE_GROUP, BASE_SIZE)
        # Without a look inside, a frame's size hardly matters: one search serves all sizes.
        rates = {("unicast", BASE_GROUP): half_rate(rig.measure, base)}
        run.price = price(
            rig.measure, base, rates["unicast", BASE_GROUP], 8 if quick else PRICE_BLOCKS, chance
        )
        for cell in cells(quick):
            progress.step(f"load: {cell.describe()}")
            kind = (str(cell.cast), cell.members)
            if kind not in rates:
                rates[kind] = half_rate(rig.measure, cell)
            result = measure(cell, rig.measure, rates[kind], rule, chance)
            run.results.cells.append(result)
            ratio = result.ratio("hub", "relay")
            progress.note(
                f"  hub over relay {ratio.estimate:.3f}, 95 % half-width {ratio.half_width:.1%}, "
                f"{ratio.blocks} blocks, {ratio.flagged} flagged"
            )
    return run
