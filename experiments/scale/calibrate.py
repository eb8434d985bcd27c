"""``make calibrate``: fits the scale model's coefficients, and checks them on what was left out of the fit.

Errors decide nothing; the exit code is 1 only when counters are not those that the model foretells.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from experiments.deployment import DeploymentError
from experiments.instrument.programs import InstrumentError
from experiments.isolation import is_isolated, isolate
from experiments.progress import Progress
from experiments.records.record import Summary
from experiments.run_folder import Found, Given, make_run, write_run
from experiments.scale import calibration, in_networks, prediction
from experiments.scale.rekeys import measure_rekeys
from experiments.traffic.probing import ProbingError
from topologies.emulate import EmulationError
from topologies.rig import rig as rig_plan

TOPIC = "calibrate"
_FAILURES = (EmulationError, DeploymentError, InstrumentError, ProbingError)


def run(options: argparse.Namespace) -> int:
    """Measures, fits and checks; returns the exit code. MachineError when this machine cannot."""
    if not is_isolated():
        return isolate()

    def measured(folder: Path) -> Summary:
        with Progress(_weight(options.quick)) as progress:
            return _measure(options, folder, progress)

    return make_run(TOPIC, measured, _FAILURES)


def _weight(quick: bool) -> float:
    """Returns the sum of the steps' weights."""
    return calibration.extent(quick).weight() + in_networks.weight(quick) + 3


def _measure(options: argparse.Namespace, folder: Path, progress: Progress) -> Summary:
    extent = calibration.extent(options.quick)
    given = Given(
        TOPIC,
        rig_plan(tuple(calibration.SERVERS), extent.groups).to_json(),
        {"quick": options.quick, "idle_ns": calibration.IDLE_NS},
        options.seed,
    )
    chance = random.Random(options.seed)
    on_rig = calibration.measure_on_rig(extent, chance, progress)
    networks = in_networks.measure_networks(options.quick, chance, progress)
    progress.step("rekeys, the fit and the report", 3)
    predicted = prediction.predict(on_rig, networks, measure_rekeys(chance))
    for kind in predicted.kinds():
        checks = predicted.of(kind)
        mean = sum(abs(check.error) for check in checks) / len(checks)
        within = sum(check.within for check in checks)
        progress.note(f"  {kind}: mean error {mean:.1%}, {within} of {len(checks)} within")
    found = Found(
        [
            *(sample for cell in on_rig for sample in cell.samples()),
            *(sample for server in networks for sample in server.samples()),
            *predicted.samples(),
        ],
        [predicted.table(), predicted.table_of_coefficients()],
        {**predicted.figures(), **dict(in_networks.figures(networks))},
        prediction.invariants(on_rig, networks),
    )
    return write_run(folder, given, found)
