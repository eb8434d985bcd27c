"""The experiments' command line with a server that changes one octet: see `altered_server`."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from experiments.__main__ import main
from tests.experiments.small_run import leave_load_out
from topologies.catalog import CATALOG, single
from topologies.plan import Node, Plan, Role

COMMAND = ("{python}", "-m", "tests.experiments.altered_server", "--config", "{run}/server.toml")


def altered(**arguments: Any) -> Plan:
    """Plans the topology with the altered server in it."""
    plan = single(**arguments)
    return replace(plan, nodes=tuple(_altered(node) for node in plan.nodes))


def _altered(node: Node) -> Node:
    return replace(node, command=COMMAND) if node.role is Role.SERVER else node


if __name__ == "__main__":
    leave_load_out()
    CATALOG["single"] = altered
    sys.exit(main())
