"""The experiments' command line: ``python -m experiments COMMAND …``; ``--help`` lists the commands.

Exit codes: 0 all invariants held and no verdict contradicts what is expected, 1 otherwise, 2 usage,
3 this machine cannot (with the reason).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.chosen import (
    can_simulate,
    check_control,
    peers_of,
    plan_of,
    programs_of,
    settings_of,
    steps_of,
)
from experiments.isolation import (
    MachineError,
    is_isolated,
    isolate,
    orderly_termination,
)
from experiments.options import parse

if TYPE_CHECKING:
    from topologies.plan import Plan

KEPT = Path("results/reference")
MODULES = {
    "instrument": "experiments.instrument.command",
    "ladder": "experiments.ladder.command",
    "planes": "experiments.planes.command",
    "startup": "experiments.startup.command",
    "simbench": "experiments.simulation.benchmark",
    "ns3": "experiments.ns3.command",
    "sweep": "experiments.sweep.command",
    "calibrate": "experiments.scale.calibrate",
    "scale": "experiments.scale.command",
    "regression": "experiments.regression",
    "claims": "experiments.evidence.command",
    "compare": "experiments.reports.compare",
}
"""Whose ``run`` takes the options of a command and returns the exit code; the others are below."""
EXIT_HELD, EXIT_BROKEN, EXIT_USAGE, EXIT_MACHINE = range(4)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    assert __doc__ is not None
    options = parse(arguments, __doc__)
    own = {"run": _run, "cli": _cli, "report": _report}.get(options.command)
    try:
        # Loaded here: a command needs nothing of the others.
        code: int = (own or import_module(MODULES[options.command]).run)(options)
    except MachineError as error:
        print(f"this machine cannot: {error}", file=sys.stderr)
        return EXIT_MACHINE
    except KeyboardInterrupt:
        print("interrupted; everything is taken down", file=sys.stderr)
        return 130
    return code


def _run(options: argparse.Namespace) -> int:
    plan = plan_of(options)
    simulated = options.world == "simulator"
    if plan is None or (simulated and not can_simulate(options)):
        return EXIT_USAGE
    peers = peers_of(options)
    if peers is None:
        return EXIT_USAGE
    if not simulated and not is_isolated():
        check_control(options.control)
        return isolate(programs=programs_of(plan))
    return _run_here(plan, peers, options)


def _run_here(plan: Plan, peers: tuple[str, ...], options: argparse.Namespace) -> int:
    """Runs what was asked for in a network of its own, or in the simulator."""
    # Loaded here: usage errors and the isolating process need none of it.
    from msgspec import structs

    from experiments.deployment import DeploymentError
    from experiments.embodiments import single
    from experiments.embodiments.course import Parameters
    from experiments.embodiments.multicast import course as multicast
    from experiments.embodiments.subgroups import course as subgroups
    from experiments.embodiments.vpn_servers import course as vpn_servers
    from experiments.evidence.table import contradictions
    from experiments.observation.capture import CaptureError
    from experiments.progress import Progress
    from experiments.records.record import Summary
    from experiments.run_folder import make_run, write_files
    from experiments.simulation import course as simulation
    from experiments.traffic.probing import ProbingError
    from experiments.traffic.terminals import TrafficError
    from topologies.emulate import EmulationError

    parameters = Parameters(
        options.quick,
        options.seed,
        options.capture,
        options.wire,
        settings_of(options),
        peers,
        load=not (peers and options.peers_only),
    )
    courses = {1: single, 2: subgroups, 3: multicast, 4: vpn_servers, 5: vpn_servers}
    course = simulation if options.world == "simulator" else courses[plan.embodiment]
    failures: tuple[type[Exception], ...] = (
        *(EmulationError, DeploymentError, ProbingError, TrafficError, CaptureError),
        simulation.WorldError,
    )

    def measured(folder: Path) -> Summary:
        summary: Summary
        with Progress(steps_of(course, parameters)) as progress:
            record, summary = course.run(plan, parameters, folder, progress)
            if contradictions(summary.claims):
                summary = structs.replace(summary, ok=False)
            progress.step("writing the report")
            write_files(folder, record, summary)
            return summary

    return make_run(plan.name, measured, failures)


def _cli(options: argparse.Namespace) -> int:
    plan = plan_of(options)
    if plan is None:
        return EXIT_USAGE
    if not is_isolated():
        check_control(options.control)
        return isolate(programs=programs_of(plan))
    from experiments.deployment import DeploymentError, deploy
    from topologies.emulate import EmulationError, emulate

    settings = settings_of(options)
    try:
        with (
            orderly_termination(),
            tempfile.TemporaryDirectory(prefix="blindrelay-", dir="/run") as private,
            emulate(plan) as network,
            deploy(network, Path(private), settings),
        ):
            print(f"{plan.name} is up. Try: t1a ping -c 1 {_somebody_far(plan)}")
            server = plan.servers[0].name
            print(f"Tables: {server} {sys.executable} -m nodes.status {private}/{server}.status")
            network.cli()
    except (EmulationError, DeploymentError) as error:
        print(f"{plan.name}: {error}", file=sys.stderr)
        return EXIT_BROKEN
    return EXIT_HELD


def _report(options: argparse.Namespace) -> int:
    from experiments.records.record import RecordError, load_record, write_samples
    from experiments.reports import overview
    from experiments.reports.report import write_report

    try:
        if options.run is None:
            print(f"report: {overview.write(KEPT)}")
        else:
            print(f"report: {write_report(options.run)}")
            write_samples(options.run, load_record(options.run))
    except RecordError as error:
        print(f"report: {error}", file=sys.stderr)
        return EXIT_USAGE
    return EXIT_HELD


def _somebody_far(plan: Plan) -> str:
    """Returns the address of a terminal on another LAN of the first one's group."""
    vpn_id = plan.clients()[0].vpn_id
    there = plan.terminals_of(plan.clients(vpn_id)[1].name)[0]
    return str(plan.lan_interface(there.name).addresses[0].ip)


if __name__ == "__main__":
    sys.exit(main())
