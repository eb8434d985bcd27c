"""Has clients register again and again, and counts how often they get their nearest VPN server.

Patent: Fig. 16 (the nearest VPN server).
"""

from __future__ import annotations

from dataclasses import dataclass

from experiments.deployment import Deployment
from experiments.vpn_servers.faults import server_of


@dataclass(frozen=True)
class Choices:
    """How often a client was given the server that the Plan says is nearest."""

    nearest: int
    made: int

    def __add__(self, other: Choices) -> Choices:
        return Choices(self.nearest + other.nearest, self.made + other.made)


def choices(deployment: Deployment) -> Choices:
    """Looks at the servers that the clients have now."""
    plan = deployment.plan
    given = {client.name: server_of(deployment, client.name) for client in plan.clients()}
    nearest = sum(plan.nearest(client) == server for client, server in given.items())
    return Choices(nearest, len(given))


def register_again(deployment: Deployment, least: int) -> Choices:
    """Ends and starts all clients until ``least`` choices were made, and counts them."""
    made = choices(deployment)
    clients = deployment.plan.clients()
    while made.made < least:
        for client in clients:
            deployment.end(client.name)
        for client in clients:
            deployment.start(client)
        for client in clients:
            deployment.wait(client.name, "registered")
        made += choices(deployment)
    return made
