"""``make calibrate``: fits the scale model's coefficients, and checks them on what was left out of the fit.

Errors decide nothing; the exit code is 1 only when counters are not those that the model foretells.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from experiments.deployment import DeploymentError
from experiments.environment import (
    create_run_folder,
    describe_checkout,
    describe_environment,
    point_latest,
    utc_now,
)
from experiments.instrument.programs import InstrumentError
from experiments.isolation import is_isolated, isolate, orderly_termination
from experiments.probing import ProbingError
from experiments.progress import Progress
from experiments.record import (
    SCHEMA,
    Record,
    relative_arguments,
    summarise,
    write_record,
    write_summary,
)
from experiments.report import headline, write_report
from experiments.scale import calibration, prediction
from topologies.emulate import EmulationError
from topologies.rig import rig as rig_plan

RESULTS = Path("results")
TOPIC = "calibrate"
EXIT_HELD, EXIT_BROKEN = 0, 1
_FAILURES = (EmulationError, DeploymentError, InstrumentError, ProbingError)


def run(options: argparse.Namespace) -> int:
    """Measures, fits and checks; returns the exit code. MachineError when this machine cannot."""
    if not is_isolated():
        return isolate()
    folder = create_run_folder(RESULTS, TOPIC, describe_checkout())
    try:
        with orderly_termination(), Progress(_weight(options.quick)) as progress:
            held = _measure(options, folder, progress)
    except _FAILURES as error:
        print(f"{TOPIC}: {error}", file=sys.stderr)
        folder.rmdir()
        return EXIT_BROKEN
    except BaseException:
        if not any(folder.iterdir()):
            folder.rmdir()
        raise
    point_latest(folder)
    print(f"results: {folder}")
    return EXIT_HELD if held else EXIT_BROKEN


def _weight(quick: bool) -> float:
    """Returns the sum of the steps' weights."""
    blocks = calibration.QUICK_BLOCKS if quick else calibration.BLOCKS
    points = calibration.QUICK_POINTS if quick else calibration.POINTS
    return 20 + 12 * blocks + 12 * len(points) + 3


def _measure(options: argparse.Namespace, folder: Path, progress: Progress) -> bool:
    started = utc_now()
    on_rig = calibration.measure_on_rig(options.quick, random.Random(options.seed), progress)
    networks = calibration.measure_networks(options.quick, progress)
    progress.step("rekeys, the fit and the report", 3)
    found = prediction.predict(on_rig, networks, calibration.measure_rekeys())
    invariants = prediction.invariants(on_rig, networks)
    for kind in found.kinds():
        checks = found.of(kind)
        mean = sum(abs(check.error) for check in checks) / len(checks)
        within = sum(check.within for check in checks)
        progress.note(f"  {kind}: mean error {mean:.1%}, {within} of {len(checks)} within")
    checkout = describe_checkout()
    samples = [sample for cell in on_rig for sample in cell.samples()]
    groups = calibration.QUICK_GROUPS if options.quick else calibration.GROUPS
    record = Record(
        schema=SCHEMA,
        topo=TOPIC,
        plan=rig_plan(tuple(calibration.SERVERS), groups).to_json(),
        parameters={"quick": options.quick, "utilisation": calibration.UTILISATION},
        seed=options.seed,
        argv=relative_arguments(sys.argv[1:], Path.cwd()),
        commit=checkout.commit,
        dirty=checkout.dirty,
        environment=describe_environment(),
        started=started,
        ended=utc_now(),
        samples=(*samples, *calibration.network_samples(networks), *found.samples()),
        tables=(found.table(), found.table_of_coefficients()),
    )
    summary = summarise(TOPIC, invariants, found.figures(), {})
    write_record(folder, record)
    write_summary(folder, summary)
    write_report(folder)
    said = headline(summary)
    print(said.text)
    for fault in said.faults:
        print(f"  {fault}")
    return summary.ok
