"""The experiments' command line: ``python -m experiments COMMAND …``; ``--help`` lists the commands.

Exit codes: 0 all invariants held and no verdict contradicts what is expected, 1 otherwise, 2 usage,
3 this machine cannot (with the reason).
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.isolation import (
    MachineError,
    is_isolated,
    isolate,
    orderly_termination,
)
from nodes.command_line import Parser

if TYPE_CHECKING:
    from experiments.course import Parameters
    from experiments.deployment import Settings
    from topologies.plan import Plan

KEPT = Path("results/reference")
EXIT_HELD, EXIT_BROKEN, EXIT_USAGE, EXIT_MACHINE = range(4)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.command(options)
    except MachineError as error:
        print(f"this machine cannot: {error}", file=sys.stderr)
        return EXIT_MACHINE
    except KeyboardInterrupt:
        print("interrupted; everything is taken down", file=sys.stderr)
        return 130
    return code


def _run(options: argparse.Namespace) -> int:
    plan = _plan(options)
    simulated = options.world == "simulator"
    if plan is None or (simulated and not _can_simulate(options)):
        return EXIT_USAGE
    peers = _peers(options)
    if peers is None:
        return EXIT_USAGE
    if not simulated and not is_isolated():
        _check_control(options.control)
        return isolate(programs=_programs(plan))
    # Loaded here: usage errors and the isolating process need none of it.
    from msgspec import structs

    from experiments import multicast, single
    from experiments.capture import CaptureError
    from experiments.course import Parameters
    from experiments.deployment import DeploymentError
    from experiments.evidence.table import contradictions
    from experiments.probing import ProbingError
    from experiments.progress import Progress
    from experiments.record import Summary
    from experiments.run_folder import make_run, write_files
    from experiments.simulation import course as simulation
    from experiments.subgroups import course as subgroups
    from experiments.traffic import TrafficError
    from experiments.vpn_servers import course as vpn_servers
    from topologies.emulate import EmulationError

    parameters = Parameters(
        options.quick,
        options.seed,
        options.capture,
        options.wire,
        _settings(options),
        peers,
        load=not (peers and options.peers_only),
    )
    courses = {1: single, 2: subgroups, 3: multicast, 4: vpn_servers, 5: vpn_servers}
    course = simulation if simulated else courses[plan.embodiment]
    failures: tuple[type[Exception], ...] = (
        *(EmulationError, DeploymentError, ProbingError, TrafficError, CaptureError),
        simulation.WorldError,
    )

    def measured(folder: Path) -> Summary:
        summary: Summary
        with Progress(_steps(course, parameters)) as progress:
            record, summary = course.run(plan, parameters, folder, progress)
            if contradictions(summary.claims):
                summary = structs.replace(summary, ok=False)
            progress.step("writing the report")
            write_files(folder, record, summary)
            return summary

    return make_run(plan.name, measured, failures)


def _can_simulate(options: argparse.Namespace) -> bool:
    """Tells whether the simulator has what is asked for; MachineError without the decoder."""
    for name, value, expected in (
        ("CONTROL", options.control, "tls"),
        ("DATAPLANE", options.dataplane, None),
        ("PEERS", options.peers or None, None),
    ):
        if value != expected:
            said = f"WORLD=simulator: {name}={value}: expected {expected or 'none'}"
            print(f"{said}: there are no machines in it", file=sys.stderr)
            return False
    if shutil.which("tshark") is None:
        raise MachineError("missing program: tshark, which decodes the world's capture")
    return True


def _cli(options: argparse.Namespace) -> int:
    plan = _plan(options)
    if plan is None:
        return EXIT_USAGE
    if not is_isolated():
        _check_control(options.control)
        return isolate(programs=_programs(plan))
    from experiments.deployment import DeploymentError, deploy
    from topologies.emulate import EmulationError, emulate

    settings = _settings(options)
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


def _instrument(options: argparse.Namespace) -> int:
    from experiments.instrument import command

    return command.run(options)


def _ladder(options: argparse.Namespace) -> int:
    from experiments.ladder import command

    return command.run(options)


def _planes(options: argparse.Namespace) -> int:
    from experiments.planes import command

    return command.run(options)


def _startup(options: argparse.Namespace) -> int:
    from experiments.startup import command

    return command.run(options)


def _simbench(options: argparse.Namespace) -> int:
    from experiments.simulation import benchmark

    return benchmark.run(options)


def _ns3(options: argparse.Namespace) -> int:
    from experiments.ns3 import command

    return command.run(options)


def _sweep(options: argparse.Namespace) -> int:
    from experiments.sweep import command

    return command.run(options)


def _calibrate(options: argparse.Namespace) -> int:
    from experiments.scale import calibrate

    return calibrate.run(options)


def _scale(options: argparse.Namespace) -> int:
    from experiments.scale import command

    return command.run(options)


def _regression(options: argparse.Namespace) -> int:
    from experiments import regression

    for topo in options.topos:
        if topo not in regression.TOPOLOGIES:
            names = ", ".join(regression.TOPOLOGIES)
            print(f"regression: {topo}: expected some of {names}", file=sys.stderr)
            return EXIT_USAGE
    return regression.run(options)


def _report(options: argparse.Namespace) -> int:
    from experiments import overview
    from experiments.record import RecordError, load_record, write_samples
    from experiments.report import write_report

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


def _claims(options: argparse.Namespace) -> int:
    from experiments.evidence import command

    return command.run(options)


def _compare(options: argparse.Namespace) -> int:
    from experiments import compare

    return compare.run(options)


def _plan(options: argparse.Namespace) -> Plan | None:
    """Returns the Plan that the options name, or None after saying what is wrong with them."""
    from topologies.branches import with_room_for_hop_tags
    from topologies.catalog import CATALOG, WITH_SERVERS
    from topologies.graphml import SUFFIX
    from topologies.plan import PlanError

    from_file = options.topo.endswith(SUFFIX)
    if options.topo not in CATALOG and not from_file:
        names = ", ".join(sorted(CATALOG))
        print(f"TOPO={options.topo}: expected one of {names}, or a file {SUFFIX}", file=sys.stderr)
        return None
    counts = {
        name: count
        for name in ("clients", "servers")
        if (count := getattr(options, name)) is not None
    }
    may = () if from_file else ("clients", "servers")[: 1 + (options.topo in WITH_SERVERS)]
    for name in counts.keys() - set(may):
        print(f"TOPO={options.topo}: --{name}: expected none", file=sys.stderr)
        return None
    try:
        plan = _planned(options, counts)
    except PlanError as error:
        print(error, file=sys.stderr)
        return None
    if plan.multicast_routers and options.hop_tags != "off":
        print(
            f"TOPO={options.topo}: --hop-tags: expected off: no relay carries a frame",
            file=sys.stderr,
        )
        return None
    return with_room_for_hop_tags(plan) if options.hop_tags != "off" else plan


def _peers(options: argparse.Namespace) -> tuple[str, ...] | None:
    """Returns the other VPNs to measure beside ours, or None after saying what is wrong with them."""
    if not options.peers:
        if options.peers_only:
            print("--peers-only: expected --peers beside it", file=sys.stderr)
            return None
        return ()
    from experiments.peers.catalog import PeersError, parse

    if options.topo != "single":
        print(f"TOPO={options.topo}: --peers: expected none: they run in single", file=sys.stderr)
        return None
    try:
        return parse(options.peers)
    except PeersError as error:
        print(error, file=sys.stderr)
        return None


def _steps(course: Any, parameters: Parameters) -> int:
    """Returns how many steps a run has, with those that peers add and without a load left out."""
    steps: int = course.steps(parameters.quick)
    if not parameters.load:
        from experiments import load_run

        steps -= load_run.steps(parameters.quick)
    if parameters.peers:
        from experiments.peers import comparison

        steps += comparison.steps(parameters.peers, parameters.quick)
    return steps


def _planned(options: argparse.Namespace, counts: dict[str, int]) -> Plan:
    from topologies.branches import MAXIMUM_CLIENTS, check_range
    from topologies.catalog import CATALOG
    from topologies.graphml import SUFFIX, read_plan

    if getattr(options, "world", "emulator") == "emulator" and "clients" in counts:
        check_range(options.topo, "clients", counts["clients"], 2, MAXIMUM_CLIENTS)
    if options.topo.endswith(SUFFIX):
        return read_plan(Path(options.topo), options.terminals, options.family)
    return CATALOG[options.topo](terminals=options.terminals, family=options.family, **counts)


def _settings(options: argparse.Namespace) -> Settings:
    """Returns what the options say about the processes."""
    from experiments.deployment import Settings

    return Settings(
        strip=options.strip,
        dataplane=options.dataplane,
        control=options.control,
        hop_tags=options.hop_tags,
    )


def _check_control(control: str) -> None:
    """Raises MachineError when the control channel needs packages that are missing."""
    from nodes.ike.machine import missing_packages

    missing = missing_packages() if control == "ike" else ()
    if missing:
        raise MachineError(f"CONTROL=ike: missing Debian packages: {' '.join(missing)}")


def _programs(plan: Plan) -> dict[str, str]:
    """Returns the programs that this topology needs beside those of every topology."""
    from experiments.link_cuts import PROGRAMS
    from topologies.routers import programs

    if not plan.multicast_routers:
        return {}
    return programs(plan) | (PROGRAMS if plan.family == 4 else {})


def _somebody_far(plan: Plan) -> str:
    """Returns the address of a terminal on another LAN of the first one's group."""
    vpn_id = plan.clients()[0].vpn_id
    there = plan.terminals_of(plan.clients(vpn_id)[1].name)[0]
    return str(plan.lan_interface(there.name).addresses[0].ip)


def _not_negative(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text}: expected 0 or more")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected 1 or more")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m experiments", description=__doc__)
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="runs an experiment and writes its results")
    _add_network(run)
    run.add_argument("--quick", action="store_true", help="fewer frames: within 90 s")
    run.add_argument("--seed", type=int, default=1, help="what chance begins with")
    run.add_argument("--capture", action="store_true", help="keeps the captures and their keys")
    run.add_argument(
        "--wire",
        default="segmented",
        choices=("segmented", "whole"),
        help="whether batches pass as single datagrams, as on a real wire",
    )
    run.add_argument(
        "--peers", default="", metavar="NAMES", help="openvpn,tinc,fastd,n2n,softether or all"
    )
    run.add_argument(
        "--peers-only",
        action="store_true",
        help="with --peers: without the relay's load against a hub, which takes longest",
    )
    run.add_argument(
        "--world",
        default="emulator",
        choices=("emulator", "simulator"),
        help="real processes in namespaces (as root), or the same protocol in a world of events",
    )
    run.set_defaults(command=_run)
    instrument = commands.add_parser(
        "instrument", help="checks what load is measured with: fit or not fit, and why"
    )
    instrument.add_argument("--quick", action="store_true", help="8 blocks of A/A, come what may")
    instrument.add_argument(
        "--series", type=int, default=1, metavar="N", help="A/A comparisons to make and count"
    )
    instrument.set_defaults(command=_instrument)
    ladder = commands.add_parser(
        "ladder",
        help="measures forwarder, relays and hubs rung by rung in each data plane: about 13 minutes",
    )
    ladder.add_argument("--quick", action="store_true", help="few blocks: within 3 minutes")
    ladder.add_argument("--seed", type=int, default=1, help="what chance begins with")
    ladder.set_defaults(command=_ladder)
    planes = commands.add_parser(
        "planes", help="measures the data planes against each other, and the kernel's forwarding"
    )
    planes.add_argument("--quick", action="store_true", help="few rounds: within 90 s")
    planes.add_argument(
        "--soak", action="store_true", help="a long stream through each: none lost, none changed"
    )
    planes.add_argument("--seed", type=int, default=1, help="what chance begins with")
    planes.set_defaults(command=_planes)
    startup = commands.add_parser(
        "startup", help="measures how long clients take until they are in their group"
    )
    startup.add_argument("--quick", action="store_true", help="2 starts each: within 2 minutes")
    startup.add_argument("--clients", type=_number_of_clients, help="2 to 64 (default: several)")
    startup.add_argument("--control", choices=("tls", "ike"), help="default: both")
    startup.add_argument("--seed", type=int, default=1, help="what chance begins with")
    startup.set_defaults(command=_startup)
    simbench = commands.add_parser("simbench", help="measures how fast the simulator is")
    simbench.add_argument("--quick", action="store_true", help="200 clients instead of 1,000")
    simbench.set_defaults(command=_simbench)
    ns3 = commands.add_parser(
        "ns3", help="compares our queues in arrays with ns-3: the same answers, and what they take"
    )
    ns3.add_argument("--quick", action="store_true", help="short runs: within a minute")
    ns3.add_argument("--seed", type=_not_negative, default=1, help="what chance begins with")
    ns3.set_defaults(command=_ns3)
    _add_sweep(commands.add_parser("sweep", help="works many cases out, each once"))
    calibrate = commands.add_parser(
        "calibrate", help="fits the scale model's costs, and checks them on what was left out"
    )
    calibrate.add_argument("--quick", action="store_true", help="few blocks: within 2 minutes")
    calibrate.add_argument("--seed", type=int, default=1, help="what chance begins with")
    calibrate.set_defaults(command=_calibrate)
    _add_scale(commands)
    cli = commands.add_parser("cli", help="opens Mininet's command line in the running network")
    _add_network(cli)
    cli.set_defaults(command=_cli)
    regression = commands.add_parser(
        "regression", help="runs all quick experiments; JUnit XML and exact counts"
    )
    regression.add_argument("topos", nargs="*", metavar="TOPO", help="only these topologies")
    regression.add_argument(
        "--accept", action="store_true", help="keeps this run's counts as those to compare with"
    )
    regression.set_defaults(command=_regression)
    report = commands.add_parser(
        "report", help="writes a run's report again from its record, or one over all kept runs"
    )
    report.add_argument(
        "run", type=Path, nargs="?", help="a folder such as results/single/latest (none: all kept)"
    )
    report.set_defaults(command=_report)
    claims = commands.add_parser(
        "claims",
        help="runs what shows each claim, and judges them: CLAIMS.md says what is expected",
    )
    claims.add_argument(
        "rows", nargs="*", metavar="ROW", help="only these rows, as C2 or E1.cipher"
    )
    claims.add_argument("--quick", action="store_true", help="quick runs: within 10 minutes")
    claims.add_argument(
        "--kept",
        type=Path,
        metavar="FOLDER",
        help="runs nothing and judges the runs that a folder such as results/reference has",
    )
    claims.add_argument(
        "--document", action="store_true", help="runs nothing and writes CLAIMS.md anew"
    )
    claims.set_defaults(command=_claims)
    compare = commands.add_parser(
        "compare",
        help="sets two runs of one kind side by side: do intervals overlap, are counts equal",
    )
    compare.add_argument("run_a", type=Path, help="a run's folder")
    compare.add_argument("run_b", type=Path, help="another's")
    compare.set_defaults(command=_compare)
    commands.metavar = "|".join(commands.choices)
    return parser


def _number_of_clients(text: str) -> int:
    """Reads how many clients to start."""
    if not text.isdecimal() or not 2 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"expected a number from 2 to 64, got {text}")
    return int(text)


def _add_sweep(sweep: argparse.ArgumentParser) -> None:
    sweep.add_argument("--model", default="scale", help="what works a case out: scale or world")
    sweep.add_argument("--seeds", type=int, metavar="N", help="seeds 1 to N")
    for name, what in (
        ("topology", "names of networks"),
        ("way", "ways of forwarding"),
        ("clients", "numbers of clients"),
        ("frames", "numbers of frames"),
        ("loss", "shares of packets lost on each link"),
        ("group", "sizes of a group"),
        ("servers", "numbers of VPN servers"),
    ):
        sweep.add_argument(f"--{name}", metavar="A,B,...", help=what)
    sweep.add_argument("--engine", default="process", choices=("process", "dask", "serial"))
    sweep.add_argument("--scheduler", metavar="ADDRESS", help="of Dask, as tcp://10.0.0.1:8786")
    sweep.add_argument("--workers", type=_positive, metavar="N", help="processes (default: cores)")
    sweep.set_defaults(command=_sweep)


def _add_scale(commands: argparse._SubParsersAction[Parser]) -> None:
    scale = commands.add_parser(
        "scale", help="works out what servers and links of a large network carry"
    )
    scale.add_argument("--clients", type=int, default=1_000_000, help="clients in all groups")
    scale.add_argument("--group-size", type=int, default=16, help="clients of a group")
    scale.add_argument("--servers", type=int, default=16, help="VPN servers")
    scale.add_argument(
        "--network",
        default="backbone/world",
        help="one of topohub's, a GraphML file, or internet:, waxman: or barabasi: and a number",
    )
    scale.add_argument("--seed", type=int, default=1, help="what chance begins with")
    scale.add_argument("--quick", action="store_true", help="fewer points in the pictures")
    scale.set_defaults(command=_scale)


def _add_network(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--topo", default="single", help="a topology's name or a GraphML file")
    parser.add_argument("--clients", type=int, help="clients of VPN 1001")
    parser.add_argument("--servers", type=int, help="VPN servers, where there are several")
    parser.add_argument("--terminals", type=int, default=2, help="terminals on each LAN")
    parser.add_argument("--family", type=int, default=6, choices=(4, 6), help="IP outside")
    parser.add_argument("--strip", default="keep", choices=("keep", "patent"))
    parser.add_argument(
        "--hop-tags",
        default="off",
        choices=("off", "required"),
        help="whether relays drop datagrams without the tag of their hop",
    )
    parser.add_argument(
        "--control",
        default="tls",
        choices=("tls", "ike"),
        help="what protects registration: TLS, or an SA that strongSwan's charon sets up by IKE",
    )
    parser.add_argument(
        "--dataplane",
        choices=("socket", "batch", "kernel"),
        help="how the server moves datagrams (default: the best sockets that the machine has)",
    )


if __name__ == "__main__":
    sys.exit(main())
