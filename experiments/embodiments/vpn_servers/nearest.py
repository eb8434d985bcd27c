"""Has clients register again and again, and counts how often they get their nearest VPN server.

Patent: Fig. 16 (the nearest VPN server).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from experiments.deployment import Deployment
from experiments.embodiments.vpn_servers.faults import server_of
from protocol.management.servers import EQUALLY_NEAR
from topologies.plan import Node, Plan
from topologies.sites import swap_delays

_NANOSECONDS = 1_000
"""In a microsecond."""


@dataclass(frozen=True)
class Choices:
    """How often a client was given the server that the Plan says is nearest."""

    nearest: int
    made: int

    def __add__(self, other: Choices) -> Choices:
        return Choices(self.nearest + other.nearest, self.made + other.made)


@dataclass(frozen=True)
class Exchange:
    """Two VPN servers in each other's place, and the clients that have another nearest one there."""

    one: str
    other: str
    plan: Plan
    clients: Sequence[str]


def equally_near(plan: Plan, client: str) -> frozenset[str]:
    """Names the VPN servers that a client may be given: the nearest, and those as good as that.

    The Plan's delays are one way; the representative compares round trips.
    """
    delays = plan.delays(client)
    reach = 2 * min(delays.values()) + EQUALLY_NEAR * _NANOSECONDS
    return frozenset(name for name, delay in delays.items() if 2 * delay <= reach)


def choosers(plan: Plan) -> list[Node]:
    """Lists the clients that are not equally near to all VPN servers."""
    everyone = {relay.name for relay in plan.relays}
    return [client for client in plan.clients() if equally_near(plan, client.name) < everyone]


def exchange(plan: Plan) -> Exchange | None:
    """Finds the two VPN servers whose exchange gives most clients a nearer one; None if it gives none.

    Clients with a server that is among the nearest before and after are not counted.
    """
    found = (
        _exchanged(plan, one.name, other.name)
        for one, other in itertools.combinations(plan.relays, 2)
    )
    best = max(found, key=lambda each: len(each.clients), default=None)
    return best if best is not None and best.clients else None


def _exchanged(plan: Plan, one: str, other: str) -> Exchange:
    there = swap_delays(plan, one, other)
    names = [client.name for client in plan.clients()]
    changed = [
        name for name in names if equally_near(plan, name).isdisjoint(equally_near(there, name))
    ]
    return Exchange(one, other, there, changed)


def choices(deployment: Deployment, clients: Sequence[Node]) -> Choices:
    """Looks at the servers that clients have now."""
    right = [
        server_of(deployment, client.name) in equally_near(deployment.plan, client.name)
        for client in clients
    ]
    return Choices(sum(right), len(right))


def register_again(deployment: Deployment, least: int) -> Choices:
    """Ends and starts the clients that have a choice until ``least`` were made, and counts them.

    There are none when every client is equally near to all servers.
    """
    clients = choosers(deployment.plan)
    made = choices(deployment, clients)
    while clients and made.made < least:
        for client in clients:
            deployment.end(client.name)
        for client in clients:
            deployment.start(client)
        for client in clients:
            deployment.wait(client.name, "registered")
        made += choices(deployment, clients)
    return made
