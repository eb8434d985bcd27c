"""The options of the experiments' command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nodes.command_line import Parser, whole

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[Parser]


def parse(arguments: Sequence[str] | None, description: str) -> argparse.Namespace:
    """Reads a command line; what is wrong with it ends the process with exit code 2 and a line that says so.

    ``command`` in the answer is the command's name.
    """
    return _parser(description).parse_args(arguments)


def _parser(description: str) -> argparse.ArgumentParser:
    parser = Parser(prog="python -m experiments", description=description)
    commands = parser.add_subparsers(required=True, dest="command")
    for add in (
        _add_run,
        _add_instrument,
        _add_ladder,
        _add_planes,
        _add_startup,
        _add_simbench,
        _add_ns3,
        _add_sweep,
        _add_calibrate,
        _add_scale,
        _add_cli,
        _add_regression,
        _add_report,
        _add_claims,
        _add_compare,
    ):
        add(commands)
    commands.metavar = "|".join(commands.choices)
    return parser


def _add_run(commands: Commands) -> None:
    run = commands.add_parser("run", help="runs an experiment and writes its results")
    _add_network(run)
    run.add_argument("--quick", action="store_true", help="fewer frames: within 90 s")
    run.add_argument("--seed", type=whole(0), default=1, help="what chance begins with")
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


def _add_instrument(commands: Commands) -> None:
    instrument = commands.add_parser(
        "instrument", help="checks what load is measured with: fit or not fit, and why"
    )
    instrument.add_argument("--quick", action="store_true", help="8 blocks of A/A, come what may")
    instrument.add_argument(
        "--series", type=whole(1), default=1, metavar="N", help="A/A comparisons to make and count"
    )


def _add_ladder(commands: Commands) -> None:
    ladder = commands.add_parser(
        "ladder",
        help="measures forwarder, relays and hubs rung by rung in each data plane: about 13 minutes",
    )
    ladder.add_argument("--quick", action="store_true", help="few blocks: within 3 minutes")
    ladder.add_argument("--seed", type=whole(0), default=1, help="what chance begins with")


def _add_planes(commands: Commands) -> None:
    planes = commands.add_parser(
        "planes", help="measures the data planes against each other, and the kernel's forwarding"
    )
    planes.add_argument("--quick", action="store_true", help="few blocks: within 2 minutes")
    planes.add_argument(
        "--soak", action="store_true", help="a long stream through each: none lost, none changed"
    )
    planes.add_argument("--seed", type=whole(0), default=1, help="what chance begins with")


def _add_startup(commands: Commands) -> None:
    startup = commands.add_parser(
        "startup", help="measures how long clients take until they are in their group"
    )
    startup.add_argument("--quick", action="store_true", help="2 starts each: within 2 minutes")
    startup.add_argument("--clients", type=whole(2, 64), help="2 to 64 (default: several)")
    startup.add_argument("--control", choices=("tls", "ike"), help="default: both")
    startup.add_argument("--seed", type=whole(0), default=1, help="what chance begins with")


def _add_simbench(commands: Commands) -> None:
    simbench = commands.add_parser("simbench", help="measures how fast the simulator is")
    simbench.add_argument("--quick", action="store_true", help="200 clients instead of 1,000")


def _add_ns3(commands: Commands) -> None:
    ns3 = commands.add_parser(
        "ns3", help="compares our queues in arrays with ns-3: the same answers, and what they take"
    )
    ns3.add_argument("--quick", action="store_true", help="short runs: within a minute")
    ns3.add_argument("--seed", type=whole(0), default=1, help="what chance begins with")


def _add_calibrate(commands: Commands) -> None:
    calibrate = commands.add_parser(
        "calibrate", help="fits the scale model's costs, and checks them on what was left out"
    )
    calibrate.add_argument("--quick", action="store_true", help="few rounds: within 90 s")
    calibrate.add_argument("--seed", type=whole(0), default=1, help="what chance begins with")


def _add_cli(commands: Commands) -> None:
    cli = commands.add_parser("cli", help="opens Mininet's command line in the running network")
    _add_network(cli)


def _add_regression(commands: Commands) -> None:
    regression = commands.add_parser(
        "regression", help="runs all quick experiments; JUnit XML and exact counts"
    )
    regression.add_argument("topos", nargs="*", metavar="TOPO", help="only these topologies")
    regression.add_argument(
        "--accept", action="store_true", help="keeps this run's counts as those to compare with"
    )


def _add_report(commands: Commands) -> None:
    report = commands.add_parser(
        "report", help="writes a run's report again from its record, or one over all kept runs"
    )
    report.add_argument(
        "run", type=Path, nargs="?", help="a folder such as results/single/latest (none: all kept)"
    )


def _add_claims(commands: Commands) -> None:
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


def _add_compare(commands: Commands) -> None:
    compare = commands.add_parser(
        "compare",
        help="sets two runs of one kind side by side: do intervals overlap, are counts equal",
    )
    compare.add_argument("run_a", type=Path, help="a run's folder")
    compare.add_argument("run_b", type=Path, help="another's")


def _add_sweep(commands: Commands) -> None:
    sweep = commands.add_parser("sweep", help="works many cases out, each once")
    sweep.add_argument("--model", default="scale", help="what works a case out: scale or world")
    sweep.add_argument("--seeds", type=whole(1), metavar="N", help="seeds 1 to N")
    for name, what in (
        ("topology", "names of networks"),
        ("way", "ways of forwarding"),
        ("clients", "numbers of clients"),
        ("frames", "numbers of frames"),
        ("loss", "shares of packets lost on each link"),
        ("group", "sizes of a group"),
        ("servers", "numbers of VPN servers"),
        ("dataplane", "data planes whose processors' costs are foretold (none without)"),
        ("run-length", "numbers of frames of one sender right behind each other"),
    ):
        sweep.add_argument(f"--{name}", metavar="A,B,...", help=what)
    sweep.add_argument("--engine", default="process", choices=("process", "dask", "serial"))
    sweep.add_argument("--scheduler", metavar="ADDRESS", help="of Dask, as tcp://10.0.0.1:8786")
    sweep.add_argument("--workers", type=whole(1), metavar="N", help="processes (default: cores)")


def _add_scale(commands: Commands) -> None:
    scale = commands.add_parser(
        "scale", help="works out what servers and links of a large network carry"
    )
    scale.add_argument("--clients", type=whole(2), default=1_000_000, help="clients in all groups")
    scale.add_argument("--group-size", type=whole(2), default=16, help="clients of a group")
    scale.add_argument("--servers", type=whole(1), default=16, help="VPN servers")
    scale.add_argument(
        "--network",
        default="backbone/world",
        help="one of topohub's, a GraphML file, or internet:, waxman: or barabasi: and a number",
    )
    scale.add_argument(
        "--dataplane",
        choices=("socket", "batch", "kernel"),
        help="whose processor's costs are foretold (default: batch, where calibrated)",
    )
    scale.add_argument(
        "--run-length",
        type=whole(1),
        default=1,
        help="frames of one sender right behind each other",
    )
    scale.add_argument("--seed", type=whole(0), default=1, help="what chance begins with")
    scale.add_argument("--quick", action="store_true", help="fewer points in the pictures")


def _add_network(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--topo", default="single", help="a topology's name or a GraphML file")
    parser.add_argument("--clients", type=whole(), help="clients of VPN 1001")
    parser.add_argument("--servers", type=whole(), help="VPN servers, where there are several")
    parser.add_argument("--terminals", type=whole(), default=2, help="terminals on each LAN")
    parser.add_argument("--family", type=whole(), default=6, choices=(4, 6), help="IP outside")
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
        help="how servers move datagrams (default: the best sockets that the machine has)",
    )
