"""The order of a run that measures: a folder of its own, one isolated process, record, summary and report."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from experiments import figures as figures_of
from experiments.deployment import DeploymentError
from experiments.environment import (
    create_run_folder,
    describe_checkout,
    describe_environment,
    point_latest,
    utc_now,
)
from experiments.instrument.checks import Check
from experiments.instrument.loads import LoadError
from experiments.instrument.programs import InstrumentError
from experiments.isolation import is_isolated, isolate, orderly_termination
from experiments.progress import Progress
from experiments.record import (
    SCHEMA,
    Figure,
    Invariant,
    Record,
    Sample,
    Table,
    relative_arguments,
    summarise,
    write_record,
    write_summary,
)
from experiments.report import headline, write_report
from topologies.emulate import EmulationError
from topologies.plan import Plan

RESULTS = Path("results")
EXIT_HELD, EXIT_BROKEN = 0, 1
_FAILURES = (EmulationError, DeploymentError, InstrumentError, LoadError)


@dataclass
class Found:
    """What a run has to write down."""

    samples: list[Sample] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    figures: dict[str, Figure] = field(default_factory=dict)
    invariants: dict[str, Invariant] = field(default_factory=dict)

    def note_checks(self, checks: Sequence[Check]) -> bool:
        """Writes down what the instrument showed of itself; returns whether it is fit."""
        fit = all(check.fit for check in checks)
        self.samples += [
            Sample(f"instrument.{name}", value, "", {"check": check.name})
            for check in checks
            for name, value in check.values.items()
            if math.isfinite(value)  # a ratio to nothing is one reason to be not fit
        ]
        self.figures["instrument_fit"] = figures_of.exact(float(fit), "fit" if fit else "not fit")
        rows = tuple((one.name, "fit" if one.fit else "not fit", one.detail) for one in checks)
        self.tables.append(Table("The instrument's checks", ("check", "", "seen"), rows))
        return fit


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
    folder = create_run_folder(RESULTS, topic.name, describe_checkout())
    started = utc_now()
    try:
        with orderly_termination(), Progress(topic.steps + 1) as progress:
            begin = time.monotonic()
            found = measure(progress)
            minutes = round((time.monotonic() - begin) / 60, 1)
            found.figures["minutes"] = figures_of.exact(minutes, "min")
            progress.step("writing the report")
            _write(folder, topic, options.seed, found, started)
    except _FAILURES as error:
        print(f"{topic.name}: {error}", file=sys.stderr)
        folder.rmdir()
        return EXIT_BROKEN
    except BaseException:
        if not any(folder.iterdir()):
            folder.rmdir()
        raise
    point_latest(folder)
    held = all(invariant.held for invariant in found.invariants.values())
    print(f"results: {folder}")
    return EXIT_HELD if held else EXIT_BROKEN


def show_checks(checks: Sequence[Check], progress: Progress) -> None:
    """Says what each check of the instrument found."""
    for check in checks:
        progress.note(f"  {check.name}: {'fit' if check.fit else 'NOT FIT'}: {check.detail}")


def _write(folder: Path, topic: Topic, seed: int, found: Found, started: str) -> None:
    checkout = describe_checkout()
    record = Record(
        schema=SCHEMA,
        topo=topic.name,
        plan=topic.plan.to_json(),
        parameters=topic.parameters,
        seed=seed,
        argv=relative_arguments(sys.argv[1:], Path.cwd()),
        commit=checkout.commit,
        dirty=checkout.dirty,
        environment=describe_environment(),
        started=started,
        ended=utc_now(),
        samples=tuple(found.samples),
        tables=tuple(found.tables),
    )
    summary = summarise(topic.name, found.invariants, found.figures, {})
    write_record(folder, record)
    write_summary(folder, summary)
    write_report(folder)
    said = headline(summary)
    print(said.text)
    for fault in said.faults:
        print(f"  {fault}")
