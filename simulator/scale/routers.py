"""A network of routers as arrays: directed arcs, their delays, places on the map."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import networkx as nx
import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Reals = NDArray[np.float64]

DELAY_NS_PER_KM = 5_000
"""Light in fibre: about 200,000 km a second."""
LINK_COST_BITS = 12
"""The cost of a path is its delay shifted by so many bits, plus its number of links."""
LONGEST_DELAY_NS = 1 << 40
_EXACT = 1 << 53
"""Below it a float64 holds every integer, and so shortest paths are exact."""


class NetworkError(ValueError):
    """Says what is wrong with a network, and what was expected."""


@dataclass(frozen=True, eq=False)
class Routers:
    """Routers 0 … n-1 and their links, each as two arcs.

    Arcs are in the order of head, then tail. ``tails``, ``heads``, ``delays`` (ns) and ``reverse`` (the
    arc of the other direction) have one entry an arc; ``positions`` is n × 2 (degrees east, north),
    not a number where unknown; ``access`` says which routers clients may hang on.
    """

    name: str
    names: tuple[Hashable, ...]
    tails: Integers
    heads: Integers
    delays: Integers
    reverse: Integers
    positions: Reals
    access: NDArray[np.bool_]
    left_out: int = 0
    """Routers without a way to the largest part of the network."""

    @property
    def count(self) -> int:
        """How many routers there are."""
        return len(self.names)

    @property
    def arcs(self) -> int:
        """How many arcs there are: two for each link."""
        return len(self.tails)

    @property
    def links(self) -> Integers:
        """The arcs that stand for their links: one of the two of each, from the lower router."""
        return np.flatnonzero(self.tails < self.heads)


def from_graph(graph: nx.Graph, name: str, place_types: frozenset[str] = frozenset()) -> Routers:
    """Makes arrays of the largest connected part of an undirected graph.

    An edge's delay is its ``delay_ns``, or comes from its ``dist`` in km, or is 0; ``pos`` of a node is
    (longitude, latitude). With ``place_types`` only nodes of these ``type``s take clients, if there are
    any. Of parallel edges the fastest counts. NetworkError for a delay that is none.
    """
    if graph.number_of_nodes() < 2 or graph.number_of_edges() < 1:
        raise NetworkError(f"{name}: expected two routers and a link between them")
    if graph.is_directed():
        graph = graph.to_undirected()
    part = max(nx.connected_components(graph), key=len)
    chosen = [node for node in graph.nodes if node in part]
    index = {node: number for number, node in enumerate(chosen)}
    fastest: dict[tuple[int, int], int] = {}
    for one, other, data in graph.edges(data=True):
        if one == other or one not in index:
            continue
        ends = min(index[one], index[other]), max(index[one], index[other])
        delay = _delay(f"{name}: link {one} to {other}", data)
        fastest[ends] = min(delay, fastest.get(ends, delay))
    lower, upper = np.array(list(fastest), dtype=np.int64).T
    delays = np.array(list(fastest.values()), dtype=np.int64)
    tails, heads = np.r_[lower, upper], np.r_[upper, lower]
    order = np.lexsort((tails, heads))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    half = len(lower)
    opposite = np.r_[np.arange(half, 2 * half), np.arange(half)]
    return Routers(
        name=name,
        names=tuple(chosen),
        tails=tails[order],
        heads=heads[order],
        delays=np.r_[delays, delays][order],
        reverse=rank[opposite[order]],
        positions=np.array([_position(graph.nodes[node]) for node in chosen], dtype=np.float64),
        access=_access(graph, chosen, place_types),
        left_out=graph.number_of_nodes() - len(chosen),
    )


def path_costs(routers: Routers) -> Reals:
    """Returns each arc's cost: its delay, and one for the link, which decides between equal delays."""
    costs = (routers.delays << LINK_COST_BITS) + 1
    longest = int(costs.max()) * min(routers.count, 1 << LINK_COST_BITS)
    if longest >= _EXACT and int(np.sort(costs)[-routers.count :].sum()) >= _EXACT:
        raise NetworkError(f"{routers.name}: delays: expected paths of less than 30 minutes")
    return costs.astype(np.float64)


def _delay(what: str, data: dict[str, object]) -> int:
    value = data.get("delay_ns")
    if value is None:
        kilometres = data.get("dist", 0.0)
        value = float(kilometres) * DELAY_NS_PER_KM if isinstance(kilometres, (int, float)) else -1
    if not isinstance(value, (int, float)) or not 0 <= value < LONGEST_DELAY_NS:
        raise NetworkError(f"{what}: expected a delay from 0 ns to 18 minutes, got {value!r}")
    return round(value)


def _position(data: dict[str, object]) -> tuple[float, float]:
    place = data.get("pos")
    if isinstance(place, (list, tuple)) and len(place) == 2:
        return float(place[0]), float(place[1])
    return float("nan"), float("nan")


def _access(
    graph: nx.Graph, chosen: list[Hashable], place_types: frozenset[str]
) -> NDArray[np.bool_]:
    places = np.array([graph.nodes[node].get("type") in place_types for node in chosen], dtype=bool)
    return places if places.any() else np.ones(len(chosen), dtype=bool)
