"""A Plan: a network as pure data, whole and checked, over a networkx graph.

A Plan says everything that a world needs to build it, be it Mininet's or the simulator's: nodes
with roles, links with interfaces, addresses, static routes and the processes' command lines.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import networkx as nx

from topologies.layout import Position, positions
from topologies.parts import (
    Address,
    Group,
    Interface,
    InterfaceAddress,
    Kind,
    Link,
    MulticastRoute,
    Network,
    Node,
    PlanError,
    Role,
    Route,
)
from topologies.routing import path_costs, static_routes
from topologies.trees import multicast_routes
from topologies.validation import check

__all__ = [
    "Address",
    "Group",
    "Interface",
    "InterfaceAddress",
    "Kind",
    "Link",
    "MulticastRoute",
    "Network",
    "Node",
    "Plan",
    "PlanError",
    "Role",
    "Route",
]


@dataclass(frozen=True, eq=False)
class Plan:
    """Describes one network of the patent's embodiment `embodiment` (1 to 5).

    `family` is the IP version outside (4 or 6). `graph` has the nodes' names, with the attribute
    `node` (Node) on nodes and `link` (Link) on edges. Two Plans are equal when their JSON is.
    Raises PlanError when anything does not fit together.

    Patent: Figs. 2, 13, 15, 17.
    """

    name: str
    embodiment: int
    family: int
    groups: tuple[Group, ...]
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    graph: nx.Graph = field(init=False, repr=False)
    _routes: dict[str, tuple[Route, ...]] = field(init=False, repr=False)
    _trees: dict[str, tuple[MulticastRoute, ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check(self)
        graph = nx.Graph()
        graph.add_nodes_from((node.name, {"node": node}) for node in self.nodes)
        graph.add_edges_from((*link.ends, {"link": link}) for link in self.links)
        routes = static_routes(graph, self.nodes, self.family)
        trees = multicast_routes(graph, self.nodes, self.links, self.groups)
        object.__setattr__(self, "_trees", {name: tuple(found) for name, found in trees.items()})
        object.__setattr__(self, "graph", nx.freeze(graph))
        object.__setattr__(self, "_routes", {name: tuple(found) for name, found in routes.items()})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and self.to_json() == other.to_json()

    __hash__ = object.__hash__

    def node(self, name: str) -> Node:
        """Returns the node called `name`; PlanError when there is none."""
        if name not in self.graph:
            raise PlanError(f"node {name}: expected a node of {self.name}")
        found: Node = self.graph.nodes[name]["node"]
        return found

    def with_role(self, role: Role, vpn_id: int | None = None) -> tuple[Node, ...]:
        """Returns the nodes of a role in the Plan's order, on request only those of a group."""
        return tuple(
            node
            for node in self.nodes
            if node.role is role and (vpn_id is None or node.vpn_id == vpn_id)
        )

    @property
    def servers(self) -> tuple[Node, ...]:
        """Lists the servers that clients register with."""
        return self.with_role(Role.SERVER)

    @property
    def relays(self) -> tuple[Node, ...]:
        """Lists the VPN servers beside the representative.

        Patent: Fig. 15 parts 1502-1503.
        """
        return self.with_role(Role.RELAY)

    @property
    def delivery(self) -> Literal["direct", "cascade"]:
        """Says whether a server sends to all clients itself or to the servers that hold them.

        Patent: Figs. 15, 17.
        """
        return "cascade" if self.embodiment == 5 else "direct"

    def delays(self, client: str) -> dict[str, int]:
        """Returns the one-way delay from a client to each VPN server, in ns, by name.

        It is that of the way which the Plan's routes take. PlanError for an unknown name.
        """
        self.node(client)
        costs = path_costs(self.graph, self.nodes, client)
        return {relay.name: costs[relay.name].delay_ns for relay in self.relays}

    def nearest(self, client: str) -> str:
        """Names the VPN server with the least delay from a client; of equals the Plan's first.

        PlanError when the Plan has none.
        """
        delays = self.delays(client)
        if not delays:
            raise PlanError(f"{self.name}: nodes: expected a VPN server")
        return min(delays, key=lambda name: delays[name])

    def clients(self, vpn_id: int | None = None) -> tuple[Node, ...]:
        """Lists the clients, on request only those of a group."""
        return self.with_role(Role.CLIENT, vpn_id)

    def terminals(self, vpn_id: int | None = None) -> tuple[Node, ...]:
        """Lists the terminals, on request only those of a group."""
        return self.with_role(Role.TERMINAL, vpn_id)

    def group(self, vpn_id: int) -> Group:
        """Returns a group; PlanError when there is none with this VPN ID."""
        for group in self.groups:
            if group.vpn_id == vpn_id:
                return group
        raise PlanError(f"group {vpn_id}: expected a group of {self.name}")

    def neighbours(self, name: str, role: Role) -> tuple[Node, ...]:
        """Lists the nodes of a role that are linked to `name`."""
        self.node(name)
        found = (self.node(other) for other in self.graph.neighbors(name))
        return tuple(node for node in found if node.role is role)

    def terminals_of(self, client: str) -> tuple[Node, ...]:
        """Lists the terminals on a client's LAN."""
        return tuple(
            terminal
            for lan in self.neighbours(client, Role.LAN)
            for terminal in self.neighbours(lan.name, Role.TERMINAL)
        )

    def sub_id_of(self, terminal: str) -> int:
        """Returns the Sub ID of the client on a terminal's LAN.

        Patent: Fig. 12-2.
        """
        return self.client_of(terminal).sub_id

    def client_of(self, terminal: str) -> Node:
        """Returns the client on a terminal's LAN; PlanError when there is none."""
        for lan in self.neighbours(terminal, Role.LAN):
            for client in self.neighbours(lan.name, Role.CLIENT):
                return client
        raise PlanError(f"node {terminal}: expected a terminal on a client's LAN")

    def links_of(self, name: str) -> tuple[Link, ...]:
        """Lists a node's links in the Plan's order."""
        self.node(name)
        return tuple(link for _, _, link in self.graph.edges(name, data="link"))

    def interfaces(self, name: str, kind: Kind | None = None) -> tuple[Interface, ...]:
        """Lists a node's interfaces, on request only those on one side."""
        found = (link.interface_of(name) for link in self.links_of(name))
        return tuple(item for item in found if kind is None or item.kind is kind)

    def lan_interface(self, name: str) -> Interface:
        """Returns a client's or terminal's LAN interface; PlanError when it has none."""
        for interface in self.interfaces(name, Kind.LAN):
            return interface
        raise PlanError(f"node {name}: interfaces: expected one on a LAN")

    def data_address(self, name: str) -> Address:
        """Returns the address that a server, relay or client sends and receives datagrams at.

        It is the first address outside. PlanError when there is none.

        Patent: Fig. 6-2; table 507.
        """
        for interface in self.interfaces(name, Kind.OUTSIDE):
            for address in interface.addresses:
                return address.ip
        raise PlanError(f"node {name}: addresses: expected one outside")

    def routes(self, name: str) -> tuple[Route, ...]:
        """Lists a node's static routes."""
        self.node(name)
        return self._routes.get(name, ())

    def converged_routes(self) -> dict[str, list[Route]]:
        """Returns every node's routes, with those that routers find by a routing protocol."""
        return static_routes(self.graph, self.nodes, self.family, converged=True)

    @property
    def multicast_routers(self) -> tuple[str, ...]:
        """Names the routers that forward multicast packets."""
        return tuple(self._trees)

    def multicast_routes(self, name: str) -> tuple[MulticastRoute, ...]:
        """Lists a multicast router's routes, one for each client whose packets pass it.

        Patent: Fig. 13 part 1301.
        """
        self.node(name)
        return self._trees.get(name, ())

    def command(self, name: str, python: str, run: str) -> tuple[str, ...]:
        """Returns a node's command line for this interpreter and this run's folder.

        It is empty when the node has no process.
        """
        return tuple(word.format(python=python, run=run) for word in self.node(name).command)

    def draw_positions(self) -> dict[str, Position]:
        """Returns where a drawing puts each node: x to the right, y upwards, the middle at 0, 0."""
        return positions(self.graph, self.nodes)

    def to_json(self) -> dict[str, Any]:
        """Returns everything, resolved, as JSON values; the same for the same Plan always."""
        drawn = self.draw_positions()
        return {
            "name": self.name,
            "embodiment": self.embodiment,
            "family": self.family,
            "groups": [
                {"vpn_id": group.vpn_id, "multicast_address": str(group.multicast_address)}
                for group in self.groups
            ],
            "nodes": [self._node_json(node, drawn[node.name]) for node in self.nodes],
            "links": [_link_json(link) for link in self.links],
        }

    def _node_json(self, node: Node, position: Position) -> dict[str, Any]:
        reached = node.role in (Role.SERVER, Role.RELAY, Role.CLIENT)
        return {
            "name": node.name,
            "role": node.role.value,
            "vpn_id": node.vpn_id,
            "user": node.user,
            "sub_id": node.sub_id,
            "data_address": str(self.data_address(node.name)) if reached else None,
            "command": list(node.command),
            "routes": [_route_json(route) for route in self.routes(node.name)],
            "multicast_routes": [
                _multicast_route_json(route) for route in self.multicast_routes(node.name)
            ],
            "position": list(position),
        }


def _route_json(route: Route) -> dict[str, str]:
    return {
        "destination": str(route.destination),
        "gateway": str(route.gateway),
        "interface": route.interface,
    }


def _multicast_route_json(route: MulticastRoute) -> dict[str, Any]:
    return {
        "group": str(route.group),
        "source": str(route.source),
        "incoming": route.incoming,
        "outgoing": list(route.outgoing),
    }


def _link_json(link: Link) -> dict[str, Any]:
    return {
        "ends": list(link.ends),
        "kind": link.kind.value,
        "delay_ns": link.delay_ns,
        "rate_bits": link.rate_bits,
        "interfaces": {
            end: _interface_json(interface)
            for end, interface in zip(link.ends, link.interfaces, strict=True)
        },
    }


def _interface_json(interface: Interface) -> dict[str, Any]:
    return {
        "name": interface.name,
        "mac": interface.mac,
        "addresses": [str(address) for address in interface.addresses],
        "mtu": interface.mtu,
    }
