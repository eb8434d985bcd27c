"""``make startup``: from the start of clients to their being in their group, with TLS and with IKE.

Times decide nothing: the exit code is 1 only when a process does not come up or end in order.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.deployment import DeploymentError
from experiments.isolation import MachineError, is_isolated, isolate
from experiments.observation.capture import CaptureError
from experiments.progress import Progress
from experiments.records.record import Summary
from experiments.run_folder import Found, Given, make_run, write_run
from experiments.startup import results
from experiments.startup.measure import CONTROLS, Control, Start, Starts, plan_of
from nodes.database import passwords
from nodes.ike.machine import missing_packages
from topologies.emulate import EmulationError, emulate

TOPIC = "startup"
QUICK_CLIENTS: tuple[int, ...] = (3, 32)
FULL_CLIENTS: tuple[int, ...] = (3, 32, 64)
MOST_BY_IKE = 32
"""More clients start by IKE only when they are asked for: each has a charon of its own."""
QUICK_REPETITIONS, FULL_REPETITIONS = 2, 10


def run(options: argparse.Namespace) -> int:
    """Measures; returns the exit code. MachineError when this machine cannot."""
    controls = _controls(options.control)
    if not is_isolated():
        return isolate()
    counts = _counts(options, controls)
    repetitions = QUICK_REPETITIONS if options.quick else FULL_REPETITIONS
    given = _given(options, counts)

    def measured(folder: Path) -> Summary:
        with Progress(len(counts) * (repetitions + 1) + 1) as progress:
            starts = _measure(counts, repetitions, options.seed, progress)
            progress.step("writing the report")
            return _write(folder, given, starts)

    return make_run(TOPIC, measured, (EmulationError, DeploymentError, CaptureError))


def _counts(
    options: argparse.Namespace, controls: tuple[Control, ...]
) -> dict[int, tuple[Control, ...]]:
    """Returns how many clients are started, and by which controls."""
    if options.clients:
        return {options.clients: controls}
    wanted = {
        count: tuple(one for one in controls if one == "tls" or count <= MOST_BY_IKE)
        for count in (QUICK_CLIENTS if options.quick else FULL_CLIENTS)
    }
    return {count: by for count, by in wanted.items() if by}


def _controls(wanted: Control | None) -> tuple[Control, ...]:
    """Returns what to measure; MachineError when IKE is asked for and cannot be had."""
    missing = missing_packages()
    if wanted == "ike" and missing:
        raise MachineError(f"CONTROL=ike: missing Debian packages: {' '.join(missing)}")
    if wanted is not None:
        return (wanted,)
    if missing:
        print(
            f"{TOPIC}: without IKE: missing Debian packages: {' '.join(missing)}", file=sys.stderr
        )
        return ("tls",)
    return CONTROLS


def _measure(
    counts: Mapping[int, tuple[Control, ...]],
    repetitions: int,
    seed: int,
    progress: Progress,
) -> list[Start]:
    """Starts each number of clients so often by each control, in random order within a repetition."""
    chance = random.Random(seed)
    starts = []
    for count, controls in counts.items():
        progress.step(f"a network for {count} clients")
        with (
            tempfile.TemporaryDirectory(prefix="blindrelay-", dir="/run") as private,
            emulate(plan_of(count)) as network,
        ):
            each = Starts(network, Path(private), controls)
            for repetition in range(repetitions):
                progress.step(f"{count} clients, start {repetition + 1} of {repetitions}")
                for control in chance.sample(controls, len(controls)):
                    starts.append(each.start(control, repetition))
                    progress.note(f"  {control}: ready after {starts[-1].ready_after:.2f} s")
    return starts


def _given(options: argparse.Namespace, counts: Mapping[int, tuple[Control, ...]]) -> Given:
    parameters = {
        "password_checks": passwords.describe(),
        "quick": options.quick,
        "control": options.control,
        "clients": options.clients,
    }
    return Given(TOPIC, plan_of(min(counts)).to_json(), parameters, options.seed)


def _write(folder: Path, given: Given, starts: Sequence[Start]) -> Summary:
    figures = results.figures(starts)
    bars = results.bars(figures)
    found = Found(
        [sample for start in starts for sample in start.samples()],
        [results.table(starts)],
        {**figures, **bars},
        results.invariants(starts),
    )
    summary = write_run(folder, given, found)
    for line in results.bar_lines(bars):
        print(line)
    return summary
