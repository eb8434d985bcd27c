"""The network outside: hosts and routers of a Plan, unicast by its routes and multicast by its trees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from enum import Enum
from ipaddress import ip_network
from typing import NamedTuple

from protocol.types import IpAddress
from simulator.chance import Chance
from simulator.engine import Engine
from simulator.links import Direction
from simulator.nat import Nat, Ports
from simulator.packets import Packet
from topologies.plan import Kind, Link, Plan, PlanError, Role, Route

Receive = Callable[[Packet], None]
Tap = Callable[[int, str, Packet], None]
"""Told of a packet at an interface: time, interface, packet."""
MICROSECOND = 1_000
LEAST_DELAY = MICROSECOND
"""What a link without a delay takes, in ns: nothing is there before it was sent."""


class Way(NamedTuple):
    """The next hop to a destination."""

    interface: str
    direction: Direction
    next_node: str
    mtu: int


class Fate(Enum):
    """What becomes of a packet at a node, where it is not sent on a way."""

    OWN = "own"
    MULTICAST = "multicast"
    NO_ROUTE = "no_route"


class NetworkNode:
    """A host or router: what it forwards, and what it keeps for itself."""

    def __init__(self, plan: Plan, name: str, routes: Iterable[Route]) -> None:
        self.name = name
        self.forwards = plan.node(name).role is Role.ROUTER
        interfaces = plan.interfaces(name, Kind.OUTSIDE)
        self.addresses = {address.ip for one in interfaces for address in one.addresses}
        self.ways: dict[str, Way] = {}
        """By interface."""
        self.trees = {(route.group, route.source): route for route in plan.multicast_routes(name)}
        self.receive: Receive | None = None
        self.nat: Nat | None = None
        self.counts: Counter[str] = Counter()
        self._networks = [
            (address.network, one.name) for one in interfaces for address in one.addresses
        ]
        self._networks += [(ip_network(route.destination), route.interface) for route in routes]
        self._networks.sort(key=lambda row: -row[0].prefixlen)
        self._fates: dict[IpAddress, Way | Fate] = {}

    def fate(self, destination: IpAddress) -> Way | Fate:
        """Returns the next hop to a destination by the longest prefix, or what else becomes of it."""
        found = self._fates.get(destination)
        if found is None:
            found = self._fates[destination] = self._find(destination)
        return found

    def _find(self, destination: IpAddress) -> Way | Fate:
        if destination.is_multicast:
            return Fate.MULTICAST
        if destination in self.addresses:
            return Fate.OWN
        names = (name for network, name in self._networks if destination in network)
        name = next(names, None)
        return Fate.NO_ROUTE if name is None else self.ways[name]


class Network:
    """Carries packets between the nodes of a Plan that have an interface outside."""

    def __init__(self, plan: Plan, engine: Engine, chance: Chance) -> None:
        self.plan = plan
        self.nodes: dict[str, NetworkNode] = {}
        self.taps: dict[str, Tap] = {}
        """Who wants to see what passes an interface, either way; by the interface's name."""
        self.directions: dict[tuple[str, str], Direction] = {}
        """By the names of both ends, in the way of the packets."""
        self._engine = engine
        self._chance = chance
        routes = plan.converged_routes()
        for node in plan.nodes:
            if plan.interfaces(node.name, Kind.OUTSIDE):
                self.nodes[node.name] = NetworkNode(plan, node.name, routes.get(node.name, ()))
        for link in plan.links:
            if link.kind is Kind.OUTSIDE:
                self._lay(link, *link.ends)
                self._lay(link, *reversed(link.ends))

    def attach(self, name: str, receive: Receive) -> None:
        """Has a host's packets given to ``receive``."""
        self.nodes[name].receive = receive

    def translate(self, name: str, outside: str, ports: Ports, lifetime: int, filters: bool) -> Nat:
        """Has a router translate what leaves by its link to the node ``outside``, to its address there."""
        link = self.plan.graph.edges[name, outside]["link"]
        interface = link.interface_of(name)
        nat = Nat(interface.name, interface.addresses[0].ip, ports, lifetime, filters)
        self.nodes[name].nat = nat
        return nat

    def seen_as(self, source: str, destination: str) -> IpAddress:
        """Returns the address that a host's packets have when they come to another one."""
        address, target = self.plan.data_address(source), self.plan.data_address(destination)
        node = self.nodes[source]
        while node.name != destination:
            way = node.fate(target)
            assert isinstance(way, Way)
            if node.nat is not None and way.interface == node.nat.outside:
                address = node.nat.address
            node = self.nodes[way.next_node]
        return address

    def send(self, name: str, packet: Packet) -> None:
        """Sends a host's own packet; one to a multicast address leaves by the first interface."""
        node = self.nodes[name]
        node.counts["sent"] += 1
        fate = node.fate(packet.destination)
        if fate is Fate.MULTICAST:
            self._leave(node, next(iter(node.ways.values())), packet)
        else:
            self._forward(node, fate, packet)

    def path(self, source: str, destination: str) -> list[Direction]:
        """Returns the links on the way between two hosts; PlanError when there is no way."""
        target = self.plan.data_address(destination)
        found: list[Direction] = []
        node = self.nodes[source]
        while node.name != destination:
            way = node.fate(target)
            if not isinstance(way, Way) or len(found) > len(self.nodes):
                raise PlanError(f"{self.plan.name}: no way from {source} to {destination}")
            found.append(way.direction)
            node = self.nodes[way.next_node]
        return found

    def _lay(self, link: Link, source: str, destination: str) -> None:
        there = link.interface_of(destination).name
        node, other = self.nodes[source], self.nodes[destination]
        direction = Direction(
            self._engine,
            self._chance.stream("link", source, destination),
            lambda packet: self._arrive(other, there, packet),
            max(LEAST_DELAY, link.delay_ns or 0),
            link.rate_bits,
        )
        interface = link.interface_of(source).name
        mtu = link.interface_of(source).mtu
        node.ways[interface] = Way(interface, direction, destination, mtu)
        self.directions[source, destination] = direction

    def _arrive(self, node: NetworkNode, interface: str, packet: Packet) -> None:
        if interface in self.taps:
            self.taps[interface](self._engine.now, interface, packet)
        nat = node.nat
        if nat is not None and nat.address == packet.destination:
            inner = nat.back(packet, self._engine.now)
            if inner is None:
                return
            packet = inner
        fate = node.fate(packet.destination)
        if fate is Fate.MULTICAST:
            self._replicate(node, interface, packet)
        elif fate is Fate.OWN:
            self._keep(node, packet)
        elif not node.forwards:
            node.counts["not_mine"] += 1
        elif packet.hop_limit <= 1:
            node.counts["hop_limit"] += 1
        else:
            self._forward(node, fate, packet.one_hop_on())

    def _replicate(self, node: NetworkNode, interface: str, packet: Packet) -> None:
        """Sends a copy along each branch of the source's tree; a host takes it for itself."""
        if not node.forwards:
            self._keep(node, packet)
            return
        route = node.trees.get((packet.destination, packet.source))
        if route is None or route.incoming != interface or packet.hop_limit <= 1:
            node.counts["no_tree"] += 1
            return
        for outgoing in route.outgoing:
            self._leave(node, node.ways[outgoing], packet.one_hop_on())

    def _forward(self, node: NetworkNode, fate: Way | Fate, packet: Packet) -> None:
        if isinstance(fate, Way):
            self._leave(node, fate, packet)
        else:
            node.counts["no_route"] += 1

    def _leave(self, node: NetworkNode, way: Way, packet: Packet) -> None:
        if packet.length > way.mtu:
            node.counts["too_large"] += 1
            return
        nat = node.nat
        if nat is not None and nat.outside == way.interface:
            translated = nat.out(packet, self._engine.now)
            if translated is None:
                return
            packet = translated
        if way.interface in self.taps:
            self.taps[way.interface](self._engine.now, way.interface, packet)
        way.direction.send(packet)

    @staticmethod
    def _keep(node: NetworkNode, packet: Packet) -> None:
        node.counts["kept"] += 1
        if node.receive is None:
            node.counts["nobody_listens"] += 1
        else:
            node.receive(packet)
