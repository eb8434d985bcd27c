"""Measures what servers cost: cells to fit the scale model's coefficients to, and cells to check them on.

On the instrument's rig each server's process is alone on its core, at one utilisation in all cells, since
what a frame costs depends on how busy a process is. In whole networks everything shares the machine.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from experiments.cells import Cell
from experiments.instrument.rig import Rig, rig_up
from experiments.instrument.window import Load, Window
from experiments.progress import Progress
from experiments.record import Sample
from experiments.scale.offered import Counts, counted, foretold
from experiments.subgroups.costs import RekeyCost, rekey_costs
from experiments.vpn_servers.points import FRAME_OCTETS, ROUND_SECONDS, Point, PointResult, measure
from simulator.scale.costs import Measured, Work
from simulator.scale.loads import Way
from simulator.scale.model import work_of
from simulator.scale.sizes import sizes

SERVERS = {"socket": "relay", "hub-socket": "hub"}
"""The rig's names of relay and hub.

They make one system call for each datagram: what batches save depends on the load, and so on the cell.
"""
LARGEST_FITTED = 8
GROUPS = (2, 3, 4, 6, 8, 16, 32)
QUICK_GROUPS = (2, 4, 8, 16, 32)
SIZES = (64, 512, 1360)
LEFT_OUT_SIZE = 512
UTILISATION = 0.3
HIGHEST_RATE = 8_000.0
"""Low enough that each frame is sent, comes and is served by itself."""
BLOCKS, QUICK_BLOCKS = 12, 4
WINDOW_SECONDS, QUICK_WINDOW_SECONDS = 0.1, 0.06
_FIRST_RATE = 400.0
ROUNDS, QUICK_ROUNDS = 4, 2
REKEYED = (2, 3, 4, 6, 8, 16, 32)
"""Members that stay when one leaves."""
Offered = tuple[Point, float]
"""A network, and which share of the usual load its clients offer."""
FITTED: tuple[Offered, ...] = tuple(
    (Point("single", 1, clients), share) for clients in (4, 8) for share in (0.2, 0.6, 1.0)
)
POINTS: tuple[Offered, ...] = (
    *FITTED,
    *((Point("single", 1, clients), 1.0) for clients in (16, 32)),
    *((Point("multiserver", 3, clients), 1.0) for clients in (8, 16)),
    *((Point("cascade", 3, clients), 1.0) for clients in (8, 16)),
)
QUICK_POINTS: tuple[Offered, ...] = (
    (Point("single", 1, 4), 0.2),
    (Point("single", 1, 8), 1.0),
    (Point("single", 1, 4), 1.0),
    (Point("multiserver", 3, 8), 1.0),
    (Point("cascade", 3, 8), 1.0),
)


@dataclass(frozen=True)
class CellOnRig:
    """A cell with what its windows have shown; ``wrong`` are copies missing or too many."""

    server: str
    cell: Cell
    rate: float
    windows: tuple[Window, ...]

    @property
    def what(self) -> str:
        """Whether it is of the relay or the hub."""
        return SERVERS[self.server]

    @property
    def name(self) -> str:
        """Names the cell."""
        return self.cell.name(self.what)

    @property
    def measured(self) -> Measured:
        """The cost of a frame in each window."""
        packet = sizes(self.cell.size)
        way: Way = "hub" if self.what == "hub" else "single"
        work = work_of(way, 1.0, self.cell.copies, packet)
        costs = tuple(window.ns_per_frame for window in self.windows if window.frames_in)
        return Measured(self.name, work, costs)

    @property
    def sound(self) -> list[Window]:
        """The windows in which the load was offered as planned and taken."""
        return [window for window in self.windows if set(window.flags) <= {"copies", "steal"}]

    @property
    def wrong(self) -> int:
        """How many copies there were too few or too many in these."""
        return sum(abs(window.missing_copies) for window in self.sound)

    def samples(self) -> Iterator[Sample]:
        """Yields every window as raw values."""
        for number, window in enumerate(self.windows):
            labels = {
                "cell": self.name,
                "block": str(number),
                "flags": " ".join(window.flags),
            }
            yield Sample("window.cpu", window.cpu_ns, "ns", labels)
            yield Sample("window.frames_in", window.frames_in, "frames", labels)
            yield Sample("window.copies_out", window.copies_out, "datagrams", labels)


def cells(quick: bool) -> list[Cell]:
    """Lists the cells: broadcast frames in all groups, unicast frames in few, of all sizes."""
    groups = QUICK_GROUPS if quick else GROUPS
    found = [Cell("broadcast", group, size) for group in groups for size in SIZES]
    casts = ((groups[2], SIZES), (16, SIZES), (32, SIZES))
    return found + [Cell("unicast", group, size) for group, some in casts for size in some]


def measure_on_rig(quick: bool, chance: random.Random, progress: Progress) -> list[CellOnRig]:
    """Measures all cells in blocks, each in an order of its own, so that a drift falls on all alike."""
    chosen = [(server, cell) for server in SERVERS for cell in cells(quick)]
    seconds = QUICK_WINDOW_SECONDS if quick else WINDOW_SECONDS
    windows: dict[tuple[str, Cell], list[Window]] = {key: [] for key in chosen}
    progress.step("servers and members", 20)
    with rig_up(tuple(SERVERS), QUICK_GROUPS if quick else GROUPS) as rig:
        rates = {(server, cell): _rate(rig, server, cell) for server, cell in chosen}
        for number in range(QUICK_BLOCKS if quick else BLOCKS):
            progress.step(f"block {number + 1}: {len(chosen)} cells", 12)
            for server, cell in chance.sample(chosen, len(chosen)):
                load = _load(cell, rates[server, cell], seconds)
                windows[server, cell].append(rig.measure(server, load))
    return [
        CellOnRig(server, cell, rates[server, cell], tuple(windows[server, cell]))
        for server, cell in chosen
    ]


def _rate(rig: Rig, server: str, cell: Cell) -> float:
    """Returns the rate at which the process is busy for the wanted share of the time."""
    rate = _FIRST_RATE
    for _ in range(2):
        window = rig.measure(server, _load(cell, rate, QUICK_WINDOW_SECONDS))
        rate = min(UTILISATION * 1e9 / window.ns_per_frame, HIGHEST_RATE)
    return rate


def _load(cell: Cell, rate: float, seconds: float) -> Load:
    return Load(cell.members, cell.size, cell.cast, rate, seconds)


@dataclass(frozen=True)
class CellInNetwork:
    """One server of a network: what it counted, what the model foretells, and its cost in each round."""

    point: Point
    share: float
    node: str
    counts: Counts
    foretold: Counts
    measured: Measured


def measure_networks(
    quick: bool, progress: Progress, offered: tuple[Offered, ...] | None = None
) -> list[CellInNetwork]:
    """Builds each network in turn, and measures all its servers while frames are offered."""
    from experiments.deployment import Settings

    found = []
    for point, share in offered or (QUICK_POINTS if quick else POINTS):
        progress.step(f"{point.describe()}, {share:.0%} of the load", 12)
        result = measure(point, Settings(), 6, QUICK_ROUNDS if quick else ROUNDS, share)
        found += list(_cells_of(result, share))
    return found


def _cells_of(result: PointResult, share: float) -> Iterator[CellInNetwork]:
    model = foretold(result)
    packet = sizes(FRAME_OCTETS)
    rounds = round(result.seconds / ROUND_SECONDS)
    for node, load in result.loads.items():
        seen = counted(load)
        work = work_of("single", seen.datagrams_in / rounds, seen.copies_out / rounds, packet)
        work = replace(work, seconds=ROUND_SECONDS)
        name = f"{result.point.describe()}, {share:.0%}, {node}"
        measured = Measured(name, work, tuple(load.cpu_ns))
        yield CellInNetwork(result.point, share, node, seen, model[node], measured)


def network_samples(found: list[CellInNetwork]) -> Iterator[Sample]:
    """Yields every raw value of the networks."""
    for cell in found:
        labels = {**cell.point.labels(cell.node), "share": str(cell.share)}
        for name, value in vars(cell.counts).items():
            yield Sample(f"point.{name}", value, "datagrams", labels)
        for index, cpu in enumerate(cell.measured.blocks_ns):
            yield Sample("point.cpu", cpu, "ns", {**labels, "round": str(index)})


def measure_rekeys() -> Mapping[int, Measured]:
    """Measures the key server's rekeys by their number of messages; needs neither network nor root."""
    rekey_costs(REKEYED[-1:])  # the first ones cost more
    return {cost.members: _rekey(cost) for cost in rekey_costs(REKEYED)}


def _rekey(cost: RekeyCost) -> Measured:
    work = Work(rekeys=1.0, rekey_messages=float(cost.messages))
    name = f"a fresh SA for {cost.members} members"
    return Measured(name, work, tuple(float(one) for one in cost.cpu_ns))
