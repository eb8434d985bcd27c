"""``make instrument``: shows that the instrument is fit here, and that it notices when it is not.

The same checks run in the right set-up and in two spoiled ones. Exit code 0 when the right one is
fit and a measured check finds each spoiled one out, 1 otherwise.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from experiments.deployment import DeploymentError
from experiments.instrument import checks
from experiments.instrument.checks import Check, Subject
from experiments.instrument.loads import LoadError
from experiments.instrument.programs import InstrumentError
from experiments.instrument.rig import Rig, rig_up
from experiments.instrument.statistics import QUICK
from experiments.isolation import is_isolated, isolate, orderly_termination
from experiments.records.environment import describe_checkout, describe_environment, utc_now
from experiments.run_folder import RESULTS, create_run_folder, remove_if_empty, show
from topologies.emulate import EmulationError

TOPIC = "instrument"
SCHEMA_VERSION = 1
SEED = 1
REFERENCE, MEASURED = "null", "relay"
MEMBERS, FRAME_SIZE, WINDOW_SECONDS = 8, 512, 0.1
AGAINST_ITSELF = 24
"""Blocks: few make an interval cover less."""
EXIT_FIT, EXIT_UNFIT = 0, 1


@dataclass(frozen=True)
class SetUp:
    """One set-up: what it is, which measured check must find it out (None: it must be fit)."""

    name: str
    spoiled_for: str | None
    checks: tuple[Check, ...]

    @property
    def fit(self) -> bool:
        """Tells whether every check holds."""
        return all(check.fit for check in self.checks)

    @property
    def as_expected(self) -> bool:
        """Tells whether it is fit as it must be, or found out as it must be."""
        if self.spoiled_for is None:
            return self.fit
        return any(check.name == self.spoiled_for and not check.fit for check in self.checks)

    def why(self) -> str:
        """Says fit, or what speaks against it."""
        faults = "; ".join(
            f"{check.name}: {check.detail}" for check in self.checks if not check.fit
        )
        return f"not fit: {faults}" if faults else "fit"


def run(options: argparse.Namespace) -> int:
    """Runs all checks in all set-ups; returns the exit code. MachineError as `rig_up`."""
    if not is_isolated():
        return isolate()
    folder = create_run_folder(RESULTS, TOPIC, describe_checkout())
    try:
        with orderly_termination():
            with rig_up((REFERENCE, MEASURED), (MEMBERS,)) as rig:
                found = _run_all(rig, QUICK if options.quick else AGAINST_ITSELF, options.series)
            (folder / "summary.json").write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    except (EmulationError, DeploymentError, InstrumentError, LoadError) as error:
        print(f"{TOPIC}: {error}", file=sys.stderr)
        return EXIT_UNFIT
    finally:
        remove_if_empty(folder)
    show(folder)
    return EXIT_FIT if found["as_expected"] else EXIT_UNFIT


def _run_all(rig: Rig, blocks: int, series: int) -> dict[str, Any]:
    load = checks.find_load(rig, REFERENCE, MEMBERS, FRAME_SIZE, WINDOW_SECONDS)
    subject = Subject(rig, REFERENCE, MEASURED, load, random.Random(SEED))
    print(f"load: {load.rate:.0f} frames/s of {FRAME_SIZE} octets, half of what {REFERENCE} bears")
    right = _check(subject, "right set-up", None, [*checks.CHEAP, _against_itself(blocks)])
    more = _series(subject, blocks, series - 1)
    rig.set_steering(rig.cores.measured)
    try:
        steered = _check(subject, "RPS on", "receive canary", checks.CHEAP)
    finally:
        rig.set_steering(None)
    rig.set_egress_drop(False)
    try:
        passing = _check(subject, "egress drop off", "next-hop canary", checks.CHEAP)
    finally:
        rig.set_egress_drop(True)
    set_ups = (right, steered, passing)
    _show(set_ups)
    return {
        "schema_version": SCHEMA_VERSION,
        "time": utc_now(),
        "checkout": describe_checkout(),
        "environment": describe_environment(),
        "wire": rig.wire,
        "load": load,
        "as_expected": all(one.as_expected for one in set_ups),
        "set_ups": [
            {
                "name": one.name,
                "fit": one.fit,
                "as_expected": one.as_expected,
                "why": one.why(),
                "checks": one.checks,
            }
            for one in set_ups
        ],
        "against_itself": more,
    }


def _against_itself(blocks: int) -> Callable[[Subject], Check]:
    return lambda subject: checks.against_itself(subject, blocks)


def _check(
    subject: Subject,
    name: str,
    spoiled_for: str | None,
    wanted: Sequence[Callable[[Subject], Check]],
) -> SetUp:
    found = []
    for check in wanted:
        found.append(check(subject))
        print(f"{name}: {found[-1].name}: {'fit' if found[-1].fit else 'NOT FIT'}", flush=True)
    return SetUp(name, spoiled_for, tuple(found))


def _series(subject: Subject, blocks: int, count: int) -> list[Check]:
    found = []
    for number in range(count):
        found.append(checks.against_itself(subject, blocks))
        print(f"A/A {number + 2}: {found[-1].detail}", flush=True)
    if found:
        covering = sum(1 for one in found if one.values["low"] <= 1 <= one.values["high"])
        print(f"A/A: {covering} of the last {count} intervals cover 1")
    return found


def _show(set_ups: Sequence[SetUp]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("check", *(one.name for one in set_ups), show_lines=True)
    for check in set_ups[0].checks:
        table.add_row(check.name, *(_cell(one, check.name) for one in set_ups))
    console = Console()
    console.print(table)
    for one in set_ups:
        console.print(f"{one.name}: {one.why()}", markup=False, highlight=False)


def _cell(set_up: SetUp, name: str) -> str:
    for check in set_up.checks:
        if check.name == name:
            return f"{'fit' if check.fit else 'NOT FIT'}: {check.detail}"
    return ""
