"""Measures what servers cost in whole networks: they share a core, and all else has another.

So what is measured is the servers' own. On cores for all a server would pay for its copies' way through
bridges and routers, and for waking each client, the dearer the less that had to do; and woken clients would
take the core from it in the middle of a frame's copies. The servers' core is kept awake: pauses between
frames are milliseconds here, and longer where several servers share the frames. They cost all the same, for
caches that others have used meanwhile, which the model does not tell.

A network is built anew in each sitting, all in an order drawn by chance: what a process has from its start,
and how the machine does meanwhile, is then in the figures' intervals.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass

from experiments.deployment import Settings
from experiments.embodiments.vpn_servers.points import (
    FRAME_OCTETS,
    ROUND_SECONDS,
    USUAL,
    Offer,
    Point,
    PointResult,
    measure_offers,
)
from experiments.instrument.settings import choose_cores
from experiments.progress import Progress
from experiments.records import figures as figures_of
from experiments.records.record import Figure, Sample
from experiments.scale.offered import Counts, counted, foretold
from simulator.scale.costs import Measured
from simulator.scale.model import work_of
from simulator.scale.sizes import sizes

FAMILY = 6
SETTINGS = Settings(dataplane="socket")
"""One system call for each datagram: how many share one in batches depends on the moment."""
SEVERAL = 4
"""Servers of the ways with several; clients are spread over them evenly."""
LEAST = Offer(0.2, 0.2)
COPIES = Offer(0.2, 4.0)
"""Many copies of few frames: what a copy costs is known from it without larger groups."""
Offered = tuple[Point, tuple[Offer, ...]]
"""A network, and what its clients offer, one after the other."""


def _single(clients: int) -> Point:
    return Point("single", 1, clients)


POINTS: tuple[Offered, ...] = (
    *((_single(clients), (LEAST, USUAL, COPIES)) for clients in (4, 8)),
    *((_single(clients), (USUAL,)) for clients in (16, 32)),
    *((Point("multiserver", SEVERAL, clients), (USUAL,)) for clients in (8, 16)),
    *((Point("cascade", SEVERAL, clients), (USUAL,)) for clients in (8, 16)),
)
QUICK_POINTS: tuple[Offered, ...] = (
    (_single(4), (LEAST, USUAL)),
    (_single(8), (COPIES,)),
    (Point("cascade", SEVERAL, 8), (USUAL,)),
)
SITTINGS, QUICK_SITTINGS = 3, 1
ROUNDS = 2
BUILD_WEIGHT, WEIGHT = 6, 5
"""How long a network takes to come up and each offer to be measured, as progress is told."""


@dataclass(frozen=True)
class ServerInNetwork:
    """One server of a network: what it counted, what the model foretells, and its cost in each round."""

    point: Point
    offer: Offer
    sitting: int
    node: str
    clients: int
    """How many clients it holds."""
    counts: Counts
    foretold: Counts
    cpu_ns: tuple[int, ...]

    @property
    def name(self) -> str:
        """Names the network, what is offered, and the server by what it holds."""
        name = f"{self.point.describe()}, {self.offer.describe()}"
        return name if self.point.way == "single" else f"{name}, server of {self.clients}"

    def samples(self) -> Iterator[Sample]:
        """Yields every raw value."""
        labels = {
            **self.point.labels(self.node),
            "unicast": str(self.offer.unicast),
            "broadcast": str(self.offer.broadcast),
            "sitting": str(self.sitting),
        }
        for name, value in vars(self.counts).items():
            yield Sample(f"point.{name}", value, "datagrams", labels)
        for index, cpu in enumerate(self.cpu_ns):
            yield Sample("point.cpu", cpu, "ns", {**labels, "round": str(index)})


@dataclass(frozen=True)
class CellInNetwork:
    """Servers that have done the same, as one figure."""

    point: Point
    offer: Offer
    handled: float
    """Datagrams that a server has taken and sent in a second."""
    measured: Measured


def measure_networks(
    quick: bool,
    chance: random.Random,
    progress: Progress,
    offered: Sequence[Offered] | None = None,
) -> list[ServerInNetwork]:
    """Builds each network in turn, and measures all its servers while frames are offered."""
    cores, offered = choose_cores(), offered or (QUICK_POINTS if quick else POINTS)
    found: list[ServerInNetwork] = []
    for sitting in range(QUICK_SITTINGS if quick else SITTINGS):
        for point, some in chance.sample(offered, len(offered)):
            offers = chance.sample(some, len(some))
            progress.step(point.describe(), _weight_of(point, offers))
            results = measure_offers(point, SETTINGS, FAMILY, ROUNDS, offers, cores)
            for result, offer in zip(results, offers, strict=True):
                found += _servers(result, offer, sitting)
    return found


def weight(quick: bool) -> float:
    """Returns how long that takes, as progress is told."""
    if quick:
        return QUICK_SITTINGS * sum(_weight_of(*one) for one in QUICK_POINTS)
    return SITTINGS * sum(_weight_of(*one) for one in POINTS)


def _weight_of(_: Point, offers: Sequence[Offer]) -> float:
    return BUILD_WEIGHT + WEIGHT * len(offers)


def _servers(result: PointResult, offer: Offer, sitting: int) -> Iterator[ServerInNetwork]:
    model, homes = foretold(result), list(result.homes.values())
    for node, load in result.loads.items():
        yield ServerInNetwork(
            result.point,
            offer,
            sitting,
            node,
            homes.count(node),
            counted(load),
            model[node],
            tuple(load.cpu_ns),
        )


def cells(servers: Sequence[ServerInNetwork]) -> list[CellInNetwork]:
    """Puts servers together that have done the same, smaller networks first.

    A cell's blocks are the sittings, or the rounds of a single one.
    """
    alike: dict[tuple[Point, Offer, Counts], list[ServerInNetwork]] = {}
    for server in servers:
        alike.setdefault((server.point, server.offer, server.counts), []).append(server)
    return [_cell(alike[key]) for key in sorted(alike, key=_order)]


def _order(key: tuple[Point, Offer, Counts]) -> tuple[str | float, ...]:
    point, offer, counts = key
    return (point.way, point.clients, *astuple(offer), *astuple(counts))


def _cell(servers: Sequence[ServerInNetwork]) -> CellInNetwork:
    first = servers[0]
    counts, rounds = first.counts, len(first.cpu_ns)
    work = work_of(
        "single", counts.datagrams_in / rounds, counts.copies_out / rounds, sizes(FRAME_OCTETS)
    )
    by_sitting: dict[int, list[int]] = {}
    for server in servers:
        by_sitting.setdefault(server.sitting, []).extend(server.cpu_ns)
    means = [sum(some) / len(some) for some in by_sitting.values()]
    if len(means) == 1:
        means = [
            sum(each) / len(servers) for each in zip(*(one.cpu_ns for one in servers), strict=True)
        ]
    handled = (counts.datagrams_in + counts.copies_out) / (rounds * ROUND_SECONDS)
    measured = Measured(first.name, work, tuple(means))
    return CellInNetwork(first.point, first.offer, handled, measured)


def figures(servers: Sequence[ServerInNetwork]) -> Iterator[tuple[str, Figure]]:
    """Yields what the busiest server of each network has carried and cost under the usual load."""
    busiest: dict[str, CellInNetwork] = {}
    for cell in cells(servers):
        name = cell.point.name
        if cell.offer == USUAL and (name not in busiest or cell.handled > busiest[name].handled):
            busiest[name] = cell
    for name, cell in busiest.items():
        yield f"busiest_datagrams.{name}", figures_of.exact(cell.handled, "datagrams/s")
        cost = cell.measured.mean_ns / ROUND_SECONDS / 1e6
        reach = cost * cell.measured.half_width
        blocks = len(cell.measured.blocks_ns)
        yield f"busiest_cpu.{name}", Figure(cost, cost - reach, cost + reach, blocks, "ms/s")
