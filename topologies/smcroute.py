"""Multicast routers: SMCRoute sets the Plan's multicast routes in the kernels of its routers.

One daemon runs for each router, in its namespace and with files of its own, so that several routers
and several networks fit on one machine.

Patent: Fig. 13 part 1301.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from topologies.daemons import MulticastRoutingError, Start
from topologies.parts import MulticastRoute
from topologies.plan import Plan

PROGRAMS = {"smcrouted": "smcroute"}
"""Programs that multicast routers run, and the Debian packages that have them."""
READY_SECONDS = 60.0
_POLL_SECONDS = 0.02


def configuration(routes: Sequence[MulticastRoute]) -> str:
    """Returns the daemon's configuration: the interfaces that take part, then the routes."""
    interfaces = {name for route in routes for name in (route.incoming, *route.outgoing)}
    lines = [f"phyint {name} enable" for name in sorted(interfaces)]
    lines += [
        f"mroute from {route.incoming} source {route.source} group {route.group} "
        f"to {' '.join(route.outgoing)}"
        for route in routes
    ]
    return "\n".join(lines) + "\n"


def start_routers(plan: Plan, folder: Path, start: Start, pid: Callable[[str], int]) -> None:
    """Starts every multicast router's daemon and waits until its kernel has all its routes.

    Files are kept in ``folder``; ``pid`` gives a process in a node's namespaces.
    MulticastRoutingError when a daemon ends or takes longer than READY_SECONDS.
    """
    running = {
        name: _start(name, routes, folder, start)
        for name in plan.multicast_routers
        if (routes := plan.multicast_routes(name))
    }
    deadline = time.monotonic() + READY_SECONDS
    for name, process in running.items():
        wanted = {(route.group, route.source) for route in plan.multicast_routes(name)}
        while installed(pid(name)) != wanted:
            if process.poll() is not None or time.monotonic() > deadline:
                words = (folder / f"{name}.log").read_text(errors="replace").strip()
                raise MulticastRoutingError(
                    f"node {name}: expected {len(wanted)} multicast routes: {words}"
                )
            time.sleep(_POLL_SECONDS)


def installed(pid: int) -> set[tuple[IPv6Address, IPv6Address]]:
    """Reads the (group, source) pairs that the kernel forwards where the process ``pid`` is."""
    lines = Path(f"/proc/{pid}/net/ip6_mr_cache").read_text().splitlines()[1:]
    rows = [line.split() for line in lines]
    # An entry with interface -1 is one that waits for a route.
    return {(IPv6Address(row[0]), IPv6Address(row[1])) for row in rows if int(row[2]) >= 0}


def _start(
    name: str, routes: Sequence[MulticastRoute], folder: Path, start: Start
) -> subprocess.Popen[Any]:
    settings = folder / f"{name}.conf"
    settings.write_text(configuration(routes), encoding="utf-8")
    argv = ["smcrouted", "-N", "-n", "-f", str(settings), "-i", name]
    argv += ["-P", str(folder / f"{name}.pid"), "-u", str(folder / f"{name}.sock")]
    with (folder / f"{name}.log").open("wb") as log:
        return start(name, argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
