"""Plans over a user's own graph: a GraphML file with roles, delays and rates.

The file says which machines there are and how they are linked; addresses, LANs, terminals and
command lines are added here. docs/graphml.md lists the attributes.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import networkx as nx

from topologies.branches import (
    LAN_MTU,
    MAXIMUM_CLIENTS,
    MAXIMUM_TERMINALS,
    MULTICAST_LAN_MTU,
    branch,
    check_family,
    command,
    groups_of,
    number_members,
    server_link,
)
from topologies.graphml_values import Attributes, check_known
from topologies.parts import check_name
from topologies.plan import Kind, Link, Node, Plan, PlanError, Role
from topologies.sites import MAXIMUM_SERVERS, relay_link, router_link

SUFFIX = ".graphml"
SHAPES = {"single": 1, "multicast": 3, "multiserver": 4, "cascade": 5}
"""The topologies that a file may be, and their embodiments."""
NAME_OCTETS = 10
"""The longest name of a node: interfaces are named after it, with up to five characters more."""
MAXIMUM_ROUTER_LINKS = 254
MAXIMUM_MULTICAST_LINKS = 31
"""A kernel forwards multicast between 32 interfaces at most, and one is its own."""

_ROLES = {role.value: role for role in (Role.ROUTER, Role.SERVER, Role.RELAY, Role.CLIENT)}
_STEM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_UNREADABLE = (OSError, ParseError, nx.NetworkXError, ValueError, KeyError, AttributeError)


@dataclass(frozen=True)
class _Drawn:
    """What a file says, checked one by one: nodes in its order, and edges with their link's data."""

    roles: Mapping[str, Role]
    attributes: Mapping[str, Attributes]
    edges: Sequence[tuple[str, str, int | None, int | None]]
    """Both ends, delay in ns, rate in bit/s."""
    topo: Attributes

    def of(self, role: Role) -> list[str]:
        """Lists the nodes of a role."""
        return [name for name, own in self.roles.items() if own is role]

    def uplink(self, name: str) -> str:
        """Returns the router that a node hangs on; PlanError unless it is the only neighbour."""
        ends = [
            other
            for one, two, *_ in self.edges
            for near, other in ((one, two), (two, one))
            if near == name
        ]
        if len(ends) != 1 or self.roles[ends[0]] is not Role.ROUTER:
            found = ", ".join(ends) if ends else "nothing"
            raise PlanError(f"node {name}: edges: expected one, to a router, got {found}")
        return ends[0]


def read_plan(path: Path, terminals: int = 2, family: int = 6) -> Plan:
    """Reads a GraphML file and plans the network over its graph; the Plan has the file's name.

    Clients whose node does not say otherwise get `terminals` terminals. PlanError, with the file,
    the node or edge, the attribute and what was expected, for whatever is missing or wrong.
    """
    try:
        check_family("FAMILY", family)
        if not _STEM.fullmatch(path.stem) or path.stem in SHAPES:
            raise PlanError("name: expected letters, digits, '-', '_' or '.', and no topology's")
        return _plan(path.stem, _drawn(_read(path)), terminals, family)
    except PlanError as error:
        raise PlanError(f"{path.name}: {error}") from None


def _read(path: Path) -> nx.Graph:
    if not path.is_file():
        raise PlanError("expected a file that is there")
    try:
        return nx.read_graphml(path, force_multigraph=True)
    except _UNREADABLE as error:
        raise PlanError(f"expected GraphML: {' '.join(str(error).split())}") from None


def _drawn(graph: nx.Graph) -> _Drawn:
    """Checks nodes and edges one by one."""
    defaults = {kind: graph.graph.get(f"{kind}_default", {}) for kind in ("node", "edge")}
    attributes: dict[str, Attributes] = {}
    roles: dict[str, Role] = {}
    for name, given in graph.nodes(data=True):
        check_name("node", name, NAME_OCTETS)
        own = Attributes(f"node {name}", {**defaults["node"], **given})
        check_known(own, ("role", "vpn_id", "multicast", "terminals"))
        roles[name] = _ROLES[own.choice("role", tuple(_ROLES))]
        attributes[name] = own
    edges = list(_edges(graph, defaults["edge"]))
    for one, other, *_ in edges:
        if Role.ROUTER not in (roles[one], roles[other]):
            raise PlanError(f"edge {one}-{other}: ends: expected at least one router")
    whole = Attributes("graph", graph.graph)
    check_known(whole, ("topo", "embodiment"))
    return _Drawn(roles, attributes, edges, whole)


def _edges(
    graph: nx.Graph, defaults: Mapping[str, Any]
) -> Iterator[tuple[str, str, int | None, int | None]]:
    seen: set[frozenset[str]] = set()
    for one, other, given in graph.edges(data=True):
        own = Attributes(f"edge {one}-{other}", {**defaults, **given})
        check_known(own, ("delay_ms", "rate_mbit"))
        if one == other:
            raise PlanError(f"edge {one}-{other}: ends: expected two different nodes")
        if frozenset((one, other)) in seen:
            raise PlanError(f"edge {one}-{other}: expected once, got it twice")
        seen.add(frozenset((one, other)))
        delay, rate = own.number("delay_ms", 0, 10_000), own.number("rate_mbit", 0.001, 1e6)
        yield (
            one,
            other,
            None if delay is None else round(delay * 1e6),
            None if rate is None else round(rate * 1e6),
        )


def _plan(name: str, drawn: _Drawn, terminals: int, family: int) -> Plan:
    """Plans the network of a checked file."""
    shape = _shape(drawn)
    _check_whole(drawn, shape, family)
    mtu = MULTICAST_LAN_MTU[family] if shape == "multicast" else LAN_MTU[family]
    (server,) = drawn.of(Role.SERVER)
    nodes = [
        Node(server, Role.SERVER, command=command("nodes.server", server)),
        *_routers(drawn, shape),
        *(Node(each, Role.RELAY, command=command("nodes.relay", each)) for each in _relays(drawn)),
    ]
    links = [
        server_link(family, server, drawn.uplink(server)),
        *_between_routers(drawn, family),
        *(
            relay_link(each, index, drawn.uplink(each), family)
            for index, each in enumerate(_relays(drawn))
        ),
    ]
    members = number_members("clients", list(_clients(drawn, terminals)))
    groups = groups_of(members, family)
    for group in groups:
        own = [member for member in members if member.vpn_id == group.vpn_id]
        _check_count(f"clients of VPN {group.vpn_id}", len(own), 2, MAXIMUM_CLIENTS)
    for member in members:
        more_nodes, more_links = branch(member, family, mtu, drawn.uplink(member.name))
        nodes += more_nodes
        links += more_links
    finished = tuple(_finished(links, drawn))
    return Plan(name, SHAPES[shape], family, groups, tuple(nodes), finished)


def _shape(drawn: _Drawn) -> str:
    """Returns the topology that the file names, or the one that its nodes make."""
    named = drawn.topo.choice("topo", tuple(SHAPES), required=False)
    number = drawn.topo.choice("embodiment", tuple(map(str, SHAPES.values())), required=False)
    by_number = next((each for each, own in SHAPES.items() if str(own) == number), "")
    if named and by_number and named != by_number:
        raise PlanError(f"graph: embodiment: expected {SHAPES[named]} for {named}, got {number}")
    if named or by_number:
        return named or by_number
    if _relays(drawn):
        return "multiserver"
    return "multicast" if _multicast_routers(drawn) else "single"


def _check_whole(drawn: _Drawn, shape: str, family: int) -> None:
    """Checks what the nodes and edges must be together."""
    _check_count("servers", len(drawn.of(Role.SERVER)), 1, 1)
    _check_count("clients", len(drawn.of(Role.CLIENT)), 2, MAXIMUM_CLIENTS)
    several = SHAPES[shape] >= 4
    limits = (1, MAXIMUM_SERVERS) if several else (0, 0)
    _check_count(f"relays of {shape}", len(_relays(drawn)), *limits)
    for name, role in drawn.roles.items():
        if role is not Role.ROUTER:
            drawn.uplink(name)
    graph = nx.Graph((one, other) for one, other, *_ in drawn.edges)
    (server,) = drawn.of(Role.SERVER)
    reached = nx.node_connected_component(graph, server)
    for name in drawn.roles:
        if name not in reached:
            raise PlanError(f"node {name}: edges: expected a way to {server}")
    between = [edge for edge in drawn.edges if _joins_routers(drawn, edge)]
    _check_count("edges between routers", len(between), 0, MAXIMUM_ROUTER_LINKS)
    if shape == "multicast":
        _check_multicast(drawn, graph, family)


def _check_multicast(drawn: _Drawn, graph: nx.Graph, family: int) -> None:
    routers = _multicast_routers(drawn)
    if family == 4 and routers:
        _check_meeting(routers, graph)
    for name in routers:
        if graph.degree(name) > MAXIMUM_MULTICAST_LINKS:
            raise PlanError(
                f"node {name}: edges: expected at most {MAXIMUM_MULTICAST_LINKS} at a multicast "
                f"router, got {graph.degree(name)}"
            )
    for name in drawn.of(Role.CLIENT):
        if drawn.uplink(name) not in routers:
            raise PlanError(
                f"node {drawn.uplink(name)}: multicast: expected true, because client {name} "
                "hangs on it"
            )


def _check_meeting(routers: Sequence[str], graph: nx.Graph) -> None:
    """Checks that routers which find their trees themselves all meet each other."""
    first = routers[0]
    met = nx.node_connected_component(nx.Graph(graph.subgraph(routers)), first)
    for name in routers:
        if name not in met:
            raise PlanError(
                f"node {name}: edges: expected a way to {first} through multicast routers alone"
            )


def _check_count(what: str, count: int, lowest: int, highest: int) -> None:
    if not lowest <= count <= highest:
        expected = str(lowest) if lowest == highest else f"{lowest} to {highest}"
        raise PlanError(f"{what}: expected {expected}, got {count}")


def _relays(drawn: _Drawn) -> list[str]:
    return drawn.of(Role.RELAY)


def _multicast_routers(drawn: _Drawn) -> list[str]:
    return [name for name in drawn.of(Role.ROUTER) if drawn.attributes[name].truth("multicast")]


def _routers(drawn: _Drawn, shape: str) -> Iterator[Node]:
    multicast = _multicast_routers(drawn) if shape == "multicast" else []
    return (Node(name, Role.ROUTER, multicast=name in multicast) for name in drawn.of(Role.ROUTER))


def _clients(drawn: _Drawn, terminals: int) -> Iterator[tuple[str, int, int]]:
    """Yields each client's name, VPN ID and number of terminals."""
    for name in drawn.of(Role.CLIENT):
        own = drawn.attributes[name]
        vpn_id = own.whole("vpn_id", 1, 2**32 - 1)
        if vpn_id is None:
            own.wrong("vpn_id", "a VPN ID")
        count = own.whole("terminals", 1, MAXIMUM_TERMINALS)
        yield name, vpn_id, terminals if count is None else count


def _joins_routers(drawn: _Drawn, edge: tuple[str, str, int | None, int | None]) -> bool:
    return all(drawn.roles[end] is Role.ROUTER for end in edge[:2])


def _between_routers(drawn: _Drawn, family: int) -> Iterator[Link]:
    edges = [edge for edge in drawn.edges if _joins_routers(drawn, edge)]
    return (router_link(edge[0], edge[1], i, family) for i, edge in enumerate(edges, 1))


def _finished(links: Sequence[Link], drawn: _Drawn) -> Iterator[Link]:
    """Gives links their delay and rate, and routers' interfaces names that are short enough."""
    given = {frozenset((one, two)): (delay, rate) for one, two, delay, rate in drawn.edges}
    numbers = {name: itertools.count(1) for name in drawn.of(Role.ROUTER)}
    for link in links:
        if link.kind is Kind.LAN:
            yield link
            continue
        first, second = (
            replace(interface, name=f"{end}-{next(numbers[end])}") if end in numbers else interface
            for end, interface in zip(link.ends, link.interfaces, strict=True)
        )
        delay, rate = given[frozenset(link.ends)]
        yield replace(link, interfaces=(first, second), delay_ns=delay, rate_bits=rate)
