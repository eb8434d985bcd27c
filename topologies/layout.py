"""Where a drawing of a Plan puts each node."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import networkx as nx

from topologies.parts import Node, Role

Position = tuple[float, float]

_CLIENT_ARC_DEGREES = 270.0
_CLIENT_RADIUS = 1.0
_LAN_RADIUS = 1.7
_TERMINAL_RADIUS = 2.4
_ROUTER_RADIUS = 0.45
_SITE_RADIUS = 0.55
_SERVER_HEIGHT = 1.2
_DIGITS = 4


def positions(graph: nx.Graph, nodes: Sequence[Node]) -> dict[str, Position]:
    """Places routers in the middle, servers above, clients around, LANs and terminals outside.

    VPN servers beside the representative stand among the clients of their router. One unit is the
    distance from the middle to a client; x grows to the right and y upwards.
    """
    placed: dict[str, Position] = {}
    roles = {node.name: node.role for node in nodes}
    routers = _names(nodes, Role.ROUTER)
    around = _names(nodes, Role.CLIENT)
    if relays := _names(nodes, Role.RELAY):
        around = _by_router(graph, routers, relays + around)
    sector = _CLIENT_ARC_DEGREES / max(len(around), 1)
    # The arc starts at the upper left and leaves the top to the servers.
    first = 90 + (360 - _CLIENT_ARC_DEGREES) / 2 + sector / 2
    angles = {name: first + index * sector for index, name in enumerate(around)}
    if relays:
        _place_sites(placed, graph, routers, angles)
    else:
        _place_routers(placed, routers)
    _place_servers(placed, _names(nodes, Role.SERVER))
    for name, angle in angles.items():
        placed[name] = _polar(_CLIENT_RADIUS, angle)
        for lan in _neighbours(graph, roles, name, Role.LAN):
            placed.setdefault(lan, _polar(_LAN_RADIUS, angle))
            _place_terminals(placed, _neighbours(graph, roles, lan, Role.TERMINAL), angle, sector)
    _place_rest(placed, nodes)
    return {node.name: placed[node.name] for node in nodes}


def _place_routers(placed: dict[str, Position], routers: Sequence[str]) -> None:
    if len(routers) == 1:
        placed[routers[0]] = (0.0, 0.0)
        return
    for index, name in enumerate(routers):
        placed[name] = _polar(_ROUTER_RADIUS, 90 + 360 * index / len(routers))


def _by_router(graph: nx.Graph, routers: Sequence[str], names: Sequence[str]) -> list[str]:
    """Sorts nodes by the router that they hang on."""

    def place(name: str) -> int:
        linked = [index for index, router in enumerate(routers) if graph.has_edge(router, name)]
        return linked[0] if linked else len(routers)

    return sorted(names, key=place)


def _place_sites(
    placed: dict[str, Position],
    graph: nx.Graph,
    routers: Sequence[str],
    angles: Mapping[str, float],
) -> None:
    """Puts each router before those that hang on it, and routers of routers in the middle."""
    middle = []
    for router in routers:
        hanging = [angles[name] for name in graph.neighbors(router) if name in angles]
        if hanging:
            placed[router] = _polar(_SITE_RADIUS, sum(hanging) / len(hanging))
        else:
            middle.append(router)
    for index, name in enumerate(middle):
        radius = _ROUTER_RADIUS / 2 if len(middle) > 1 else 0.0
        placed[name] = _polar(radius, 90 + 360 * index / len(middle))


def _place_servers(placed: dict[str, Position], servers: Sequence[str]) -> None:
    for index, name in enumerate(servers):
        placed[name] = (round(index - (len(servers) - 1) / 2, _DIGITS), _SERVER_HEIGHT)


def _place_terminals(
    placed: dict[str, Position], terminals: Sequence[str], angle: float, sector: float
) -> None:
    step = sector / max(len(terminals), 1)
    for index, name in enumerate(terminals):
        offset = (index - (len(terminals) - 1) / 2) * step
        placed.setdefault(name, _polar(_TERMINAL_RADIUS, angle + offset))


def _place_rest(placed: dict[str, Position], nodes: Sequence[Node]) -> None:
    """Puts what hangs on no client in a row below everything else."""
    rest = [node.name for node in nodes if node.name not in placed]
    for index, name in enumerate(rest):
        placed[name] = (round(index - (len(rest) - 1) / 2, _DIGITS), -_TERMINAL_RADIUS - 0.6)


def _names(nodes: Sequence[Node], role: Role) -> list[str]:
    return [node.name for node in nodes if node.role is role]


def _neighbours(graph: nx.Graph, roles: dict[str, Role], name: str, role: Role) -> list[str]:
    return [other for other in graph.neighbors(name) if roles[other] is role]


def _polar(radius: float, degrees: float) -> Position:
    angle = math.radians(degrees)
    # Adding 0.0 turns a negative zero into zero, so that the JSON is the same everywhere.
    return (
        round(radius * math.cos(angle), _DIGITS) + 0.0,
        round(radius * math.sin(angle), _DIGITS) + 0.0,
    )
