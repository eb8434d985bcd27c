"""A Plan's network and clients as the arrays of the scale model, so that both can be held against each other.

Every node with an interface outside is a router of the model; a client's traffic starts at its own.
"""

from __future__ import annotations

import networkx as nx
import numpy as np

from simulator.scale.placement import Placement
from simulator.scale.routers import Routers, from_graph
from topologies.plan import Kind, Plan


def routers_of(plan: Plan) -> Routers:
    """Returns the nodes outside in the Plan's order, and their links."""
    graph = nx.Graph()
    graph.add_nodes_from(
        node.name for node in plan.nodes if plan.interfaces(node.name, Kind.OUTSIDE)
    )
    for link in plan.links:
        if link.kind is Kind.OUTSIDE:
            graph.add_edge(*link.ends, delay_ns=link.delay_ns or 0)
    return from_graph(graph, plan.name)


def placement_of(plan: Plan, routers: Routers) -> Placement:
    """Returns where a Plan's clients and servers are; groups and clients in the Plan's order."""
    index = {name: number for number, name in enumerate(routers.names)}
    servers = [node.name for node in plan.relays or plan.servers]
    members = [plan.clients(group.vpn_id) for group in plan.groups]
    members = [some for some in members if some]
    clients = [node.name for some in members for node in some]
    homes = [servers.index(plan.nearest(name)) if plan.relays else 0 for name in clients]
    return Placement(
        np.array([index[name] for name in clients]),
        np.cumsum([0, *(len(some) for some in members)]),
        np.array([index[name] for name in servers]),
        np.array(homes),
    )
