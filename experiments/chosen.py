"""What the options of a run mean: its network, its processes' settings, its peers, and whether it can be had.

Loaded before a run is isolated: what takes long is imported where it is needed.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.isolation import MachineError

if TYPE_CHECKING:
    from experiments.deployment import Settings
    from experiments.embodiments.course import Parameters
    from topologies.plan import Plan


def plan_of(options: argparse.Namespace) -> Plan | None:
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


def peers_of(options: argparse.Namespace) -> tuple[str, ...] | None:
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


def steps_of(course: Any, parameters: Parameters) -> int:
    """Returns how many steps a run has, with those that peers add and without a load left out."""
    steps: int = course.steps(parameters.quick)
    if not parameters.load:
        from experiments.relay_load import course as load_run

        steps -= load_run.steps(parameters.quick)
    if parameters.peers:
        from experiments.peers import comparison

        steps += comparison.steps(parameters.peers, parameters.quick)
    return steps


def _planned(options: argparse.Namespace, counts: dict[str, int]) -> Plan:
    from topologies.branches import check_range
    from topologies.catalog import CATALOG, EMULATED_CLIENTS
    from topologies.graphml import SUFFIX, read_plan

    if getattr(options, "world", "emulator") == "emulator" and "clients" in counts:
        check_range(options.topo, "clients", counts["clients"], *EMULATED_CLIENTS[options.topo])
    if options.topo.endswith(SUFFIX):
        return read_plan(Path(options.topo), options.terminals, options.family)
    return CATALOG[options.topo](terminals=options.terminals, family=options.family, **counts)


def settings_of(options: argparse.Namespace) -> Settings:
    """Returns what the options say about the processes."""
    from experiments.deployment import Settings

    return Settings(
        strip=options.strip,
        dataplane=options.dataplane,
        control=options.control,
        hop_tags=options.hop_tags,
    )


def check_control(control: str) -> None:
    """Raises MachineError when the control channel needs packages that are missing."""
    from nodes.ike.machine import missing_packages

    missing = missing_packages() if control == "ike" else ()
    if missing:
        raise MachineError(f"CONTROL=ike: missing Debian packages: {' '.join(missing)}")


def programs_of(plan: Plan) -> dict[str, str]:
    """Returns the programs that this topology needs beside those of every topology."""
    from experiments.embodiments.multicast.link_cuts import PROGRAMS
    from topologies.routers import programs

    if not plan.multicast_routers:
        return {}
    return programs(plan) | (PROGRAMS if plan.family == 4 else {})


def can_simulate(options: argparse.Namespace) -> bool:
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
