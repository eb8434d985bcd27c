"""Static routes of a Plan, from the shortest paths through its routers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

import networkx as nx

from topologies.parts import (
    Address,
    Interface,
    Kind,
    Link,
    Network,
    Node,
    PlanError,
    Role,
    Route,
    address_in,
)

_CARRYING = (Role.ROUTER, Role.LAN)
_LINK_UNITS = 1_000_000
"""A nanosecond of delay costs as much as so many links: fewer links only decide between equals."""


def static_routes(
    graph: nx.Graph, nodes: Sequence[Node], family: int, converged: bool = False
) -> dict[str, list[Route]]:
    """Computes every node's routes to the outside networks it is not on.

    A path is the one of least delay, and of those the one of fewest links; it leads through
    routers only. A node that is no router and sends
    everything to one gateway gets one default route. PlanError where there is no path.

    Multicast routers on IPv4 speak a routing protocol, and get no route that they learn from each
    other: to networks that any of them is on, and to those that a path through another leads to.
    With ``converged`` they have those too, as if the protocol had found them.
    """
    outside = _outside(graph)
    attached = _attached(outside)
    speaking = family == 4 and not converged
    speakers = {node.name for node in nodes if node.multicast and speaking}
    roles = {node.name: node.role for node in nodes}
    return {
        node.name: _only_route(node, outside, roles, attached, family)
        or _routes_of(node, outside, nodes, attached, family, speakers)
        for node in nodes
        if outside.degree(node.name) and node.role is not Role.LAN
    }


@dataclass(frozen=True, order=True)
class PathCost:
    """What a path costs: its one-way delay first, then the number of its links."""

    delay_ns: int
    links: int


def path_costs(graph: nx.Graph, nodes: Sequence[Node], name: str) -> dict[str, PathCost]:
    """Returns what the way from a node to each other one that it reaches costs."""
    costs, _ = _paths(_outside(graph), nodes, name)
    return {end: PathCost(*divmod(cost, _LINK_UNITS)) for end, cost in costs.items()}


def _paths(
    outside: nx.Graph, nodes: Sequence[Node], name: str
) -> tuple[Mapping[str, int], Mapping[str, list[str]]]:
    """Finds the cheapest paths from a node through routers: their costs, and the nodes on them."""
    carrying = {other.name for other in nodes if other.role in _CARRYING}

    def cost(near: str, _far: str, data: Mapping[str, Link]) -> int | None:
        if near != name and near not in carrying:
            return None
        return (data["link"].delay_ns or 0) * _LINK_UNITS + 1

    found: tuple[Mapping[str, int], Mapping[str, list[str]]] = nx.single_source_dijkstra(
        outside, name, weight=cost
    )
    return found


def _outside(graph: nx.Graph) -> nx.Graph:
    """Returns the graph of the links outside."""
    outside = nx.Graph()
    outside.add_nodes_from(graph.nodes)
    outside.add_edges_from(
        (first, second, data)
        for first, second, data in graph.edges(data=True)
        if data["link"].kind is Kind.OUTSIDE
    )
    return outside


def _attached(outside: nx.Graph) -> dict[Network, list[str]]:
    """Maps each outside network to the nodes that have an address in it."""
    attached: dict[Network, list[str]] = {}
    for name in outside.nodes:
        for interface in _interfaces(outside, name):
            for address in interface.addresses:
                attached.setdefault(address.network, []).append(name)
    return attached


def _interfaces(graph: nx.Graph, name: str) -> Iterator[Interface]:
    for _, _, link in graph.edges(name, data="link"):
        yield link.interface_of(name)


def _only_route(
    node: Node,
    outside: nx.Graph,
    roles: Mapping[str, Role],
    attached: Mapping[Network, Sequence[str]],
    family: int,
) -> list[Route]:
    """Returns the default route of a node with nothing but one router; no route for any other.

    That the router reaches all networks is seen when its own routes are computed.
    """
    (first, *more) = outside.neighbors(node.name)
    if more or node.role is Role.ROUTER or roles[first] is not Role.ROUTER:
        return []
    if all(node.name in holders for holders in attached.values()):
        return []
    return [_route((node.name, first), _everything(family), outside)]


def _everything(family: int) -> Network:
    return ip_network("::/0" if family == 6 else "0.0.0.0/0")


def _routes_of(
    node: Node,
    outside: nx.Graph,
    nodes: Sequence[Node],
    attached: dict[Network, list[str]],
    family: int,
    speakers: set[str],
) -> list[Route]:
    costs, paths = _paths(outside, nodes, node.name)
    carrying = {other.name for other in nodes if other.role in _CARRYING}
    costs = {name: cost for name, cost in costs.items() if name in carrying}
    routes = []
    for network, holders in attached.items():
        if node.name in holders:
            continue
        path = _path(node.name, network, holders, costs, paths)
        if node.name not in speakers or speakers.isdisjoint((*path[1:], *holders)):
            routes.append(_route(path, network, outside))
    gateways = {(route.gateway, route.interface) for route in routes}
    if node.role is Role.ROUTER or len(gateways) != 1:
        return routes
    return [Route(_everything(family), routes[0].gateway, routes[0].interface)]


def _path(
    name: str,
    network: Network,
    holders: Sequence[str],
    costs: Mapping[str, int],
    paths: Mapping[str, list[str]],
) -> list[str]:
    """Finds the path to the nearest of those that are on a network."""
    reachable = [holder for holder in holders if holder in costs]
    if not reachable:
        raise PlanError(
            f"node {name}: routes: expected a path through routers to {network} "
            f"(of {', '.join(holders)})"
        )
    return paths[min(reachable, key=lambda holder: costs[holder])]


def _route(path: Sequence[str], network: Network, outside: nx.Graph) -> Route:
    link: Link = outside.edges[path[0], path[1]]["link"]
    interface = link.interface_of(path[0])
    return Route(network, _gateway(path, interface, outside), interface.name)


def _gateway(path: Sequence[str], interface: Interface, outside: nx.Graph) -> Address:
    """Finds the address of the first router on the path that shares a network with us."""
    for previous, name in itertools.pairwise(path):
        link: Link = outside.edges[previous, name]["link"]
        for own in interface.addresses:
            found = address_in(link.interface_of(name).addresses, own.network)
            if found is not None:
                return found
    raise PlanError(
        f"node {path[0]}: interface {interface.name}: addresses: expected one in a network of "
        f"{path[1]}"
    )
