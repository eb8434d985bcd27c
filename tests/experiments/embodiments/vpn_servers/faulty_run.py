"""The experiments' command line with one VPN server that is at fault: see `faulty_relay`.

What follows the common course is left out: faults on purpose, other networks, loads.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

from experiments.__main__ import main
from experiments.embodiments.vpn_servers import addition, course
from experiments.records.record import Invariant
from tests.experiments.embodiments.vpn_servers.faulty_relay import FAULTS
from topologies.catalog import CATALOG
from topologies.plan import Node, Plan

VICTIM = "b"


def with_fault(build: Callable[..., Plan], fault: str) -> Callable[..., Plan]:
    """Plans a topology with one faulty VPN server in it."""

    def built(**arguments: int) -> Plan:
        plan = build(**arguments)
        return replace(plan, nodes=tuple(_faulty(node, fault) for node in plan.nodes))

    return built


def _faulty(node: Node, fault: str) -> Node:
    if node.name != VICTIM:
        return node
    config = f"{{run}}/{VICTIM}.toml"
    module = "tests.experiments.embodiments.vpn_servers.faulty_relay"
    return replace(node, command=("{python}", "-m", module, fault, "--config", config))


def leave_the_rest_out() -> None:
    """Ends a run after what all experiments have in common."""
    addition.ServersAddition.after = lambda *_: {}  # type: ignore[method-assign]
    course.points_of = lambda *_: []
    course._swapped = lambda *_: Invariant(True, "left out")


if __name__ == "__main__":
    (chosen,) = (fault for fault in FAULTS if fault in sys.argv)
    sys.argv.remove(chosen)
    leave_the_rest_out()
    for topology in ("multiserver", "cascade"):
        CATALOG[topology] = with_fault(CATALOG[topology], chosen)
    sys.exit(main())
