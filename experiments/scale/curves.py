"""Loads against numbers of clients, groups and servers: the figures that the scale model's pictures show."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache

import networkx as nx
import numpy as np

from experiments.embodiments.vpn_servers.points import (
    BROADCAST_RATE,
    FRAME_OCTETS,
    ROUND_SECONDS,
    UNICAST_RATE,
    USUAL,
)
from experiments.records import figures as figures_of
from experiments.records.record import Figure, Invariant, Sample
from experiments.scale.coefficients import IN_NETWORKS
from experiments.scale.drawings import CRITERIA, EMULATED, WINS
from simulator.scale.costs import Costs, SaturatedError, Work
from simulator.scale.loads import SEVERAL_SERVERS, WAYS, Round, ServerLoads, Way, loads
from simulator.scale.model import Field, Result, Scenario, evaluate, evaluate_at, work_of
from simulator.scale.placement import Placement
from simulator.scale.routers import Routers, from_graph
from simulator.scale.sizes import sizes
from simulator.scale.trees import Paths

ONE_GROUP_SERVERS = 3
"""Where the emulator says nothing of how many servers there are."""
ONE_GROUP = (4, *(round(10 ** (step / 4)) for step in range(3, 25)))
"""Clients of the one group, up to a million."""
QUICK_LARGEST = 10_000
_POINT = re.compile(r"(?P<what>busiest_datagrams|busiest_cpu)\.(?P<way>\w+)\.(?P<servers>\d+)x\d+")
"""The name of a figure of the emulator's."""
_WITH_SERVERS: tuple[Way, ...] = ("single", "multiserver", "cascade")


@dataclass(frozen=True)
class Grid:
    """Where the ways are compared: so many clients, in groups so large, with so many servers."""

    clients: int
    groups: tuple[int, ...]
    servers: tuple[int, ...]

    def within(self, routers: Routers) -> Grid:
        """Returns the grid with no more servers than routers that have clients."""
        most = int(routers.access.sum())
        return replace(self, servers=tuple(one for one in self.servers if one <= most))


FULL_GRID = Grid(20_000, (2, 4, 8, 16, 32, 64, 128, 256), (1, 2, 4, 8, 16, 32, 64))
QUICK_GRID = Grid(2_000, (2, 8, 32, 128), (1, 4, 16))


# -- one group, the same frames offered however many clients it has


def one_group(
    costs: Mapping[str, Costs], largest: int, several: int = ONE_GROUP_SERVERS
) -> Iterator[tuple[str, Figure]]:
    """Yields what the busiest server carries, and its processor, where the load is that of the emulator.

    For groups of up to ``largest`` clients; ``several`` are the servers of ways that have some.
    """
    packet = sizes(FRAME_OCTETS)
    of_relay = costs.get(IN_NETWORKS)
    for way in _WITH_SERVERS:
        servers = several if way in SEVERAL_SERVERS else 1
        for clients in ONE_GROUP:
            if not servers <= clients <= largest:
                continue
            unicast = of_one_group(way, servers, clients, Round(1, 0))
            broadcast = of_one_group(way, servers, clients, Round(0, 1))
            shares = UNICAST_RATE / clients, BROADCAST_RATE / clients
            taken = unicast.datagrams_in * shares[0] + broadcast.datagrams_in * shares[1]
            sent = unicast.copies_out * shares[0] + broadcast.copies_out * shares[1]
            busiest = int((taken + sent).argmax())
            name = f"{way}.{servers}x{clients}"
            handled = float(taken[busiest] + sent[busiest])
            yield f"one_group.{name}", figures_of.exact(handled, "datagrams/s")
            if of_relay is None:
                continue
            work = work_of(way, float(taken[busiest]), float(sent[busiest]), packet)
            yield from _processor(f"one_group_processor.{name}", of_relay, work)


def _processor(name: str, costs: Costs, work: Work) -> Iterator[tuple[str, Figure]]:
    """Yields a second's processor time, unless that is beyond what is known."""
    each_second = replace(work, seconds=1.0)
    try:
        costs.utilisation(each_second)
    except SaturatedError:
        return
    found = costs.predict(each_second)
    value, low, high = (part / 1e6 for part in (found.value, found.low, found.high))
    yield name, Figure(value, low, high, 1, "ms/s")


@cache
def of_one_group(way: Way, servers: int, clients: int, round_: Round) -> ServerLoads:
    """Returns the servers' loads where clients go to them in turn; links do not matter."""
    paths = Paths(from_graph(nx.star_graph(servers), "star"))
    homes = np.arange(clients) % servers
    starts = np.array([0, clients])
    placement = Placement(homes + 1, starts, np.arange(1, servers + 1), homes)
    return loads(way, paths, placement, sizes(FRAME_OCTETS), round_).servers


def emulated(
    kept: Mapping[str, Figure], several: int = ONE_GROUP_SERVERS
) -> Iterator[tuple[str, Figure]]:
    """Yields an emulator's points out of its record's figures: what its busiest server carried and cost.

    Of the ways with several servers those with so many.
    """
    names = {"busiest_datagrams": "one_group", "busiest_cpu": "one_group_processor"}
    for name, figure in kept.items():
        point = _POINT.fullmatch(name)
        if point is None:
            continue
        if int(point["servers"]) == (several if point["way"] in SEVERAL_SERVERS else 1):
            yield f"{EMULATED}.{names[point['what']]}.{name.partition('.')[2]}", figure


def servers_measured(kept: Iterable[str]) -> int:
    """Returns the number of servers that an emulator's figures, by their names, have most points of."""
    points = Counter(
        int(point["servers"])
        for point in map(_POINT.fullmatch, kept)
        if point is not None and point["way"] in SEVERAL_SERVERS and int(point["servers"]) > 1
    )
    return points.most_common(1)[0][0] if points else ONE_GROUP_SERVERS


def emulated_as_foretold(points: Mapping[str, Figure]) -> Invariant:
    """Tells whether the emulator counted what the model says for the very frames that it was offered.

    By cascade that depends on who is where, which these records do not say: ``make calibrate`` checks it.
    """
    wrong, seen = [], 0
    for name, figure in points.items():
        parts = name.split(".")
        if parts[1] != "one_group" or parts[2] == "cascade":
            continue
        way: Way = "single" if parts[2] == "single" else "multiserver"
        servers, clients = map(int, parts[3].split("x"))
        if clients % servers:
            continue
        sent = Round(*USUAL.frames(clients))
        expected = int(of_one_group(way, servers, clients, sent).handled.max())
        seen += 1
        if round(figure.value * ROUND_SECONDS) != expected:
            wrong.append(
                f"{name}: {figure.value:g} a second, expected {expected / ROUND_SECONDS:g}"
            )
    return Invariant(
        not wrong, f"{seen} points of kept records; unequal: {'; '.join(wrong) or 'none'}"
    )


# -- a large network


def by_clients(scenario: Scenario, quick: bool) -> Iterator[tuple[str, Figure]]:
    """Yields loads for fewer clients than the scenario's."""
    steps = 1 if quick else 2
    clients = scenario.clients
    while (clients := round(clients / 10 ** (1 / steps))) >= max(100, 2 * scenario.group_size):
        yield from of_clients(evaluate(replace(scenario, clients=clients)))


def of_clients(result: Result) -> Iterator[tuple[str, Figure]]:
    """Yields the loads of one number of clients, in datagrams or packets a second."""
    scenario = result.scenario
    for way, outcome in result.outcomes.items():
        for what in ("busiest_server", "busiest_link"):
            value = outcome.fields[what].value
            if value:
                name = f"{what}_by_clients.{way}.{scenario.clients}"
                yield name, figures_of.exact(value * scenario.rounds_a_second, "packets/s")


def comparison(scenario: Scenario, grid: Grid) -> Iterator[Sample]:
    """Yields what each way comes to by every criterion, over group sizes and numbers of servers."""
    for group in grid.groups:
        base = replace(scenario, clients=grid.clients, group_size=group, servers=max(grid.servers))
        whole = evaluate(replace(base, ways=("single", "multicast")))
        found: dict[Way, Mapping[str, Field]] = {
            way: one.fields for way, one in whole.outcomes.items()
        }
        for servers in grid.servers:
            some = _fewer_servers(whole, servers)
            here = replace(base, servers=servers, ways=("multiserver", "cascade"))
            outcomes = evaluate_at(here, whole.paths, some, {}).outcomes
            fields = found | {way: one.fields for way, one in outcomes.items()}
            for way in WAYS:
                if way == "hub":
                    continue
                for criterion in CRITERIA:
                    field = fields[way][criterion]
                    if field.value is not None:
                        labels = {"way": way, "group": str(group), "servers": str(servers)}
                        yield Sample(f"{WINS}{criterion}", field.value, field.unit, labels)


def _fewer_servers(result: Result, servers: int) -> Placement:
    """Returns the placement with the first of the servers only: they were chosen one after the other."""
    placement = result.placement
    sites = placement.servers[:servers]
    homes = np.argmin(result.paths.delays(sites), axis=0)[placement.routers]
    return Placement(placement.routers, placement.starts, sites, homes)
