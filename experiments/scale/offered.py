"""What a measured network's servers counted, and what the scale model foretells for the same frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from experiments.embodiments.vpn_servers.points import (
    FRAME_OCTETS,
    PointResult,
    ServerLoad,
    pair,
    plan_of,
)
from simulator.scale.loads import Round, loads
from simulator.scale.placement import Placement
from simulator.scale.plans import routers_of
from simulator.scale.sizes import sizes
from simulator.scale.trees import Paths


@dataclass(frozen=True)
class Counts:
    """A server's counters."""

    datagrams_in: int
    copies_out: int
    copies_to_servers: int


def counted(load: ServerLoad) -> Counts:
    """Returns what a server has counted."""
    return Counts(*(load.counts[name] for name in vars(Counts(0, 0, 0))))


def foretold(result: PointResult) -> dict[str, Counts]:
    """Returns what the model says that each server counts; only where clients are comes from the run."""
    point = result.point
    plan = plan_of(point, 6)
    routers = routers_of(plan)
    at = {name: number for number, name in enumerate(routers.names)}
    servers = [node.name for node in plan.relays or plan.servers]
    # In the order in which each sends to the next one.
    clients = list(pair(result.homes))
    placement = Placement(
        np.array([at[name] for name in clients]),
        np.array([0, len(clients)]),
        np.array([at[name] for name in servers]),
        np.array([servers.index(result.homes[name]) if plan.relays else 0 for name in clients]),
    )
    round_ = Round(result.unicast // point.clients, result.broadcasts // point.clients)
    found = loads(point.way, Paths(routers), placement, sizes(FRAME_OCTETS), round_).servers
    columns = (found.datagrams_in, found.copies_out, found.copies_to_servers)
    return {
        name: Counts(*(int(column[number]) for column in columns))
        for number, name in enumerate(servers)
    }
