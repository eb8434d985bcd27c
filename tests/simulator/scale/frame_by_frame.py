"""The same loads as simulator.scale.loads, one frame and one arc at a time, along networkx's paths."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

import networkx as nx
import numpy as np

from simulator.scale.loads import Round, Way
from simulator.scale.placement import Placement
from simulator.scale.routers import Routers
from simulator.scale.sizes import Sizes

Arc = tuple[int, int]


class Slow:
    """Counts what is carried, frame by frame. Its network must have no two equally short paths."""

    def __init__(self, routers: Routers, placement: Placement, sizes: Sizes) -> None:
        graph = nx.Graph()
        for tail, head, delay in zip(routers.tails, routers.heads, routers.delays, strict=True):
            graph.add_edge(int(tail), int(head), delay=int(delay))
        self.paths = dict(nx.all_pairs_dijkstra_path(graph, weight="delay"))
        self.placement, self.sizes = placement, sizes
        self.where = [int(router) for router in placement.routers]
        self.servers = [int(router) for router in placement.servers]
        self.homes = [int(home) for home in placement.homes]
        self.copies: Counter[Arc] = Counter()
        self.octets: Counter[Arc] = Counter()
        self.frames: Counter[Arc] = Counter()
        self.datagrams_in: Counter[int] = Counter()
        self.copies_out: Counter[int] = Counter()
        self.copies_to_servers: Counter[int] = Counter()

    def play(self, way: Way, round_: Round) -> None:
        """Sends every frame of a round."""
        starts = self.placement.starts
        for begin, end in itertools.pairwise(starts):
            members = range(int(begin), int(end))
            for client in members:
                following = client + 1 if client + 1 < end else int(begin)
                others = [other for other in members if other != client]
                for _ in range(round_.unicast):
                    self._send(way, client, [following], others)
                for _ in range(round_.broadcast):
                    self._send(way, client, others, others)

    def _send(self, way: Way, client: int, receivers: list[int], others: list[int]) -> None:
        if way == "multicast":
            tree = {
                arc for one in others for arc in self._arcs(self.where[client], self.where[one])
            }
            self._carry(list(tree), self.sizes.multicast)
            return
        home = self.homes[client] if way in ("multiserver", "cascade") else 0
        self._carry(list(self._arcs(self.where[client], self.servers[home])), self.sizes.to_server)
        self.datagrams_in[home] += 1
        if way != "cascade":
            self._fan_out(home, receivers)
            return
        self._fan_out(home, [one for one in receivers if self.homes[one] == home])
        further = sorted({self.homes[one] for one in receivers} - {home})
        arcs = [arc for one in further for arc in self._arcs(*self._ends(home, one))]
        self._carry(arcs, self.sizes.to_server)
        self.copies_out[home] += len(further)
        self.copies_to_servers[home] += len(further)
        for server in further:
            self.datagrams_in[server] += 1
            self._fan_out(server, [one for one in receivers if self.homes[one] == server])

    def _ends(self, one: int, other: int) -> Arc:
        return self.servers[one], self.servers[other]

    def _fan_out(self, server: int, receivers: list[int]) -> None:
        self.copies_out[server] += len(receivers)
        router = self.servers[server]
        arcs = [arc for one in receivers for arc in self._arcs(router, self.where[one])]
        self._carry(arcs, self.sizes.to_client)

    def _carry(self, arcs: list[Arc], octets: int) -> None:
        for arc in arcs:
            self.copies[arc] += 1
            self.octets[arc] += octets
        for arc in set(arcs):
            self.frames[arc] += 1

    def _arcs(self, source: int, destination: int) -> Iterator[Arc]:
        path = self.paths[source][destination]
        yield from itertools.pairwise(path)

    @staticmethod
    def by_arc(routers: Routers, counted: Counter[Arc]) -> list[int]:
        """Lists counts in the order of a network's arcs."""
        ends = zip(routers.tails.tolist(), routers.heads.tolist(), strict=True)
        return [counted[arc] for arc in ends]

    def by_server(self, counted: Counter[int]) -> list[int]:
        """Lists counts in the order of servers."""
        return [counted[number] for number in range(len(self.servers))]


def tangle(routers: int, seed: int) -> nx.Graph:
    """Draws a connected network whose paths all have different delays."""
    draw = np.random.default_rng(seed)
    graph = nx.connected_watts_strogatz_graph(routers, 4, 0.4, seed=seed)
    for _, _, data in graph.edges(data=True):
        data["delay_ns"] = int(draw.integers(1_000, 10_000_000))
    return graph
