"""Multicast routers of a Plan: SMCRoute with the Plan's trees on IPv6, FRR with its own on IPv4.

Patent: Fig. 13 part 1301.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from topologies import frr, smcroute
from topologies.daemons import Start
from topologies.plan import Plan


def programs(plan: Plan) -> dict[str, str]:
    """Returns the programs that a Plan's multicast routers run, and their Debian packages."""
    return frr.PROGRAMS if plan.family == 4 else smcroute.PROGRAMS


def start_routers(plan: Plan, folder: Path, start: Start, pid: Callable[[str], int]) -> None:
    """Starts every multicast router's daemons and waits until they are ready to forward.

    Files are kept in ``folder``; ``pid`` gives a process in a node's namespaces.
    MulticastRoutingError when a daemon ends or takes too long.
    """
    running = frr.start_routers if plan.family == 4 else smcroute.start_routers
    running(plan, folder, start, pid)
