"""Multicast routes of a Plan: a shortest-path tree for each sending client and its group.

Patent: Fig. 13 parts 1301, 1302.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import networkx as nx

from topologies.parts import Group, Kind, Link, MulticastRoute, Node, PlanError, Role


def multicast_routes(
    graph: nx.Graph,
    nodes: Sequence[Node],
    links: Sequence[Link],
    groups: Sequence[Group],
) -> dict[str, list[MulticastRoute]]:
    """Computes each multicast router's routes, in the order of groups and sending clients.

    A path costs one per link and leads through multicast routers only; among paths of one length
    the first in the Plan's order is taken. PlanError where a member cannot be reached.
    """
    routes: dict[str, list[MulticastRoute]] = {
        node.name: [] for node in nodes if node.role is Role.ROUTER and node.multicast
    }
    if not routes:
        return {}
    for group in groups:
        members = [node.name for node in nodes if _is_member(node, group)]
        for source in members:
            receivers = [name for name in members if name != source]
            tree = _tree(links, set(routes), source, receivers)
            for router, route in _routes_of_tree(graph, tree, source, group):
                routes[router].append(route)
    return routes


def with_a_way_round(links: Sequence[Link], routers: Collection[str]) -> list[Link]:
    """Lists the links between ``routers`` without any one of which all of these stay connected."""
    between = [link for link in links if set(link.ends) <= set(routers)]
    only_ways = {frozenset(ends) for ends in nx.bridges(nx.Graph(link.ends for link in between))}
    return [link for link in between if frozenset(link.ends) not in only_ways]


def _is_member(node: Node, group: Group) -> bool:
    return node.role is Role.CLIENT and node.vpn_id == group.vpn_id


def _tree(
    links: Sequence[Link], routers: set[str], source: str, receivers: Sequence[str]
) -> nx.DiGraph:
    """Joins the shortest paths from ``source`` to all ``receivers``."""
    ways = nx.DiGraph()
    for link in links:
        if link.kind is not Kind.OUTSIDE:
            continue
        for near, far in (link.ends, link.ends[::-1]):
            if (near in routers or near == source) and (far in routers or far in receivers):
                ways.add_edge(near, far)
    paths = nx.single_source_shortest_path(ways, source) if source in ways else {}
    tree = nx.DiGraph()
    for receiver in receivers:
        if receiver not in paths:
            raise PlanError(
                f"node {receiver}: multicast routes: expected a path through multicast routers "
                f"from {source}"
            )
        nx.add_path(tree, paths[receiver])
    return tree


def _routes_of_tree(
    graph: nx.Graph, tree: nx.DiGraph, source: str, group: Group
) -> list[tuple[str, MulticastRoute]]:
    def interface(node: str, towards: str) -> str:
        link: Link = graph.edges[node, towards]["link"]
        return link.interface_of(node).name

    if source not in tree:
        return []
    (first,) = tree.successors(source)
    link: Link = graph.edges[source, first]["link"]
    address = next(
        item.ip
        for item in link.interface_of(source).addresses
        if item.version == group.multicast_address.version
    )
    return [
        (
            router,
            MulticastRoute(
                group.multicast_address,
                address,
                interface(router, next(iter(tree.predecessors(router)))),
                tuple(sorted(interface(router, after) for after in tree.successors(router))),
            ),
        )
        for router in tree
        if tree.out_degree(router) and router != source
    ]
