"""The trees that routers' kernels forward by, read from their tables and followed to their ends.

Routers that speak PIM find trees of their own; these are compared with nothing planned, but must be
trees: to every other member once, over links that none of the routers refuses.

Patent: Fig. 13 parts 1301, 1302.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from topologies.frr import rendezvous_router
from topologies.plan import Kind, MulticastRoute, Plan

Routes = Mapping[str, Sequence[MulticastRoute]]
"""Every multicast router's routes."""


@dataclass(frozen=True)
class Tree:
    """What a client's packets pass: routers' interfaces; and what keeps it from being a tree."""

    interfaces: frozenset[str]
    faults: tuple[str, ...]


def read_routes(plan: Plan, pid: Callable[[str], int]) -> dict[str, tuple[MulticastRoute, ...]]:
    """Reads every multicast router's IPv4 routes; ``pid`` gives a process in a node's namespaces."""
    found = {}
    for router in plan.multicast_routers:
        tables = Path(f"/proc/{pid(router)}/net")
        found[router] = parse_routes(
            (tables / "ip_mr_vif").read_text(), (tables / "ip_mr_cache").read_text()
        )
    return found


def parse_routes(interfaces: str, cache: str) -> tuple[MulticastRoute, ...]:
    """Reads the kernel's tables of multicast interfaces and of routes, leaving out waiting ones."""
    rows = [line.split() for line in interfaces.splitlines()[1:]]
    names = {int(row[0]): row[1] for row in rows}
    routes = []
    for line in cache.splitlines()[1:]:
        group, source, incoming, *rest = line.split()
        if int(incoming) not in names:
            continue
        outgoing = sorted(names[int(word.partition(":")[0])] for word in rest[3:])
        routes.append(
            MulticastRoute(_address(group), _address(source), names[int(incoming)], tuple(outgoing))
        )
    return tuple(sorted(routes, key=lambda route: (route.group, route.source)))


def _address(digits: str) -> IPv4Address:
    """Reads an address that the kernel writes as a number in the machine's order of octets."""
    return IPv4Address(int(digits, 16).to_bytes(4, sys.byteorder))


def follow(plan: Plan, client: str, routes: Routes) -> Tree:
    """Follows a client's packets along ``routes`` to every end.

    A way out that is no link is the one of PIM's registers. At the rendezvous router itself they
    pass no link.
    """
    ends = {
        (end, interface.name): link.other_end(end)
        for link in plan.links
        if link.kind is Kind.OUTSIDE
        for end, interface in zip(link.ends, link.interfaces, strict=True)
    }
    (link,) = [link for link in plan.links_of(client) if link.kind is Kind.OUTSIDE]
    waiting = [(client, link.other_end(client))]
    interfaces: set[str] = set()
    reached: list[str] = []
    faults: list[str] = []
    visited: set[str] = set()
    while waiting:
        before, router = waiting.pop()
        if router not in plan.multicast_routers:
            reached.append(router)
            continue
        route = _route_of(plan, client, routes.get(router, ()))
        if route is None or not route.outgoing:
            faults.append(f"{router}: no way on for {client}")
        elif router in visited or ends.get((router, route.incoming)) != before:
            faults.append(f"{router}: refuses packets of {client} from {before}")
        else:
            visited.add(router)
            links = [name for name in route.outgoing if (router, name) in ends]
            interfaces |= {route.incoming, *links}
            waiting += [(router, ends[router, name]) for name in links]
            if len(links) < len(route.outgoing) and router != rendezvous_router(plan):
                faults.append(f"{router}: still sends packets of {client} in registers")
    faults += _wrong_ends(plan, client, reached)
    return Tree(frozenset(interfaces), tuple(faults))


def tree_faults(plan: Plan, routes: Routes) -> list[str]:
    """Lists what keeps clients' packets from reaching every other member of their groups once."""
    return [
        fault for client in plan.clients() for fault in follow(plan, client.name, routes).faults
    ]


def _wrong_ends(plan: Plan, client: str, reached: Sequence[str]) -> list[str]:
    members = {other.name for other in plan.clients(plan.node(client).vpn_id)} - {client}
    missing = [f"{name}: not reached from {client}" for name in sorted(members - set(reached))]
    strangers = set(reached) - members
    return missing + [f"{name}: not to be reached from {client}" for name in sorted(strangers)]


def _route_of(plan: Plan, client: str, routes: Sequence[MulticastRoute]) -> MulticastRoute | None:
    vpn_id = plan.node(client).vpn_id
    assert vpn_id is not None
    wanted = (plan.group(vpn_id).multicast_address, plan.data_address(client))
    return next((route for route in routes if (route.group, route.source) == wanted), None)
