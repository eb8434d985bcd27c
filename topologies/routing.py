"""Static routes of a Plan, from the shortest paths through its routers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
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


def static_routes(graph: nx.Graph, nodes: Sequence[Node], family: int) -> dict[str, list[Route]]:
    """Computes every node's routes to the outside networks it is not on.

    A path costs one per link and leads through routers only. A node that is no router and sends
    everything to one gateway gets one default route. PlanError where there is no path.
    """
    outside = nx.Graph()
    outside.add_nodes_from(graph.nodes)
    outside.add_edges_from(
        (first, second, data)
        for first, second, data in graph.edges(data=True)
        if data["link"].kind is Kind.OUTSIDE
    )
    attached = _attached(outside)
    return {
        node.name: _routes_of(node, outside, nodes, attached, family)
        for node in nodes
        if outside.degree(node.name) and node.role is not Role.LAN
    }


def without_learnt(
    routes: dict[str, list[Route]], graph: nx.Graph, nodes: Sequence[Node]
) -> dict[str, list[Route]]:
    """Leaves out what multicast routers learn from each other when they speak a routing protocol.

    Those are their routes to a gateway that is a multicast router too.
    """
    speakers = {node.name for node in nodes if node.multicast}
    towards_speaker = {
        (name, graph.edges[name, other]["link"].interface_of(name).name)
        for name in speakers
        for other in graph.neighbors(name)
        if other in speakers
    }
    return {
        name: [route for route in found if (name, route.interface) not in towards_speaker]
        for name, found in routes.items()
    }


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


def _routes_of(
    node: Node,
    outside: nx.Graph,
    nodes: Sequence[Node],
    attached: dict[Network, list[str]],
    family: int,
) -> list[Route]:
    carrying = [other.name for other in nodes if other.role in _CARRYING]
    paths = nx.single_source_shortest_path(outside.subgraph([node.name, *carrying]), node.name)
    routes = [
        _route(node.name, network, holders, outside, paths)
        for network, holders in attached.items()
        if node.name not in holders
    ]
    gateways = {(route.gateway, route.interface) for route in routes}
    if node.role is Role.ROUTER or len(gateways) != 1:
        return routes
    everything = ip_network("::/0" if family == 6 else "0.0.0.0/0")
    return [Route(everything, routes[0].gateway, routes[0].interface)]


def _route(
    name: str,
    network: Network,
    holders: Sequence[str],
    outside: nx.Graph,
    paths: dict[str, list[str]],
) -> Route:
    reachable = [holder for holder in holders if holder in paths]
    if not reachable:
        raise PlanError(
            f"node {name}: routes: expected a path through routers to {network} "
            f"(of {', '.join(holders)})"
        )
    path = min((paths[holder] for holder in reachable), key=len)
    link: Link = outside.edges[path[0], path[1]]["link"]
    interface = link.interface_of(name)
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
