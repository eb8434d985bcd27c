"""The order of a run that measures in one isolated process, and what the instrument shows of itself."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.deployment import DeploymentError
from experiments.instrument.checks import Check
from experiments.instrument.loads import LoadError
from experiments.instrument.programs import InstrumentError
from experiments.isolation import is_isolated, isolate
from experiments.progress import Progress
from experiments.records import figures as figures_of
from experiments.records.record import Sample, Summary, Table
from experiments.run_folder import Found, Given, make_run, write_run
from topologies.emulate import EmulationError
from topologies.plan import Plan

_FAILURES = (EmulationError, DeploymentError, InstrumentError, LoadError)


@dataclass(frozen=True)
class Topic:
    """What is measured: the name of its results, its network, its options for the record, its steps."""

    name: str
    plan: Plan
    parameters: dict[str, str | int | float | bool | None]
    steps: int


def run(options: argparse.Namespace, topic: Topic, measure: Callable[[Progress], Found]) -> int:
    """Measures and writes it down; returns the exit code. MachineError when this machine cannot.

    The code is 1 only when something did not come up or counts do not come out: no ratio decides.
    """
    if not is_isolated():
        return isolate()
    given = Given(topic.name, topic.plan.to_json(), topic.parameters, options.seed)

    def measured(folder: Path) -> Summary:
        with Progress(topic.steps + 1) as progress:
            begin = time.monotonic()
            found = measure(progress)
            minutes = round((time.monotonic() - begin) / 60, 1)
            found.figures["minutes"] = figures_of.exact(minutes, "min")
            progress.step("writing the report")
            return write_run(folder, given, found)

    return make_run(topic.name, measured, _FAILURES)


def show_checks(checks: Sequence[Check], progress: Progress) -> None:
    """Says what each check of the instrument found."""
    for check in checks:
        progress.note(f"  {check.name}: {'fit' if check.fit else 'NOT FIT'}: {check.detail}")


def note_checks(found: Found, checks: Sequence[Check]) -> bool:
    """Writes down what the instrument showed of itself; returns whether it is fit."""
    fit = all(check.fit for check in checks)
    found.samples += [
        Sample(f"instrument.{name}", value, "", {"check": check.name})
        for check in checks
        for name, value in check.values.items()
        if math.isfinite(value)  # a ratio to nothing is one reason to be not fit
    ]
    found.figures["instrument_fit"] = figures_of.exact(float(fit), "fit" if fit else "not fit")
    rows = tuple((one.name, "fit" if one.fit else "not fit", one.detail) for one in checks)
    found.tables.append(Table("The instrument's checks", ("check", "", "seen"), rows))
    return fit
