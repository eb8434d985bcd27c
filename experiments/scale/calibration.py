"""Measures what servers cost on the instrument's rig, and what rekeys cost, for fitting and for checking.

Each server's process is alone on its core, and idle for the same time before each frame in all cells: the
longer it was, the more a frame costs.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from experiments.embodiments.subgroups.costs import RekeyCost, rekey_costs
from experiments.instrument.rig import Rig, rig_up
from experiments.instrument.window import Load, Window
from experiments.progress import Progress
from experiments.records.record import Sample
from experiments.relay_load.cells import Cell
from simulator.scale.costs import Costs, Measured, Work, fit
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
UNICAST_GROUPS = (4, 16, 32)
IDLE_NS = 120_000
"""Between two frames: long enough that each is sent, comes and is served by itself."""
REKEYED = (2, 3, 4, 6, 8, 16, 32)
"""Members that stay when one leaves."""
_FIRST_RATE = 1_000.0
_PILOTS = 2


@dataclass(frozen=True)
class Extent:
    """How much is measured: ``rounds`` of all cells in ``sittings``, in a round so many windows of each.

    Each sitting starts all processes anew.
    """

    sittings: int
    rounds: int
    windows: int
    seconds: float
    groups: tuple[int, ...]
    unicast_sizes: tuple[int, ...]

    def weight(self) -> float:
        """Returns how long that takes, as progress is told."""
        return self.sittings * _STARTS + self.rounds * self.windows * _PASSES + _PILOT


FULL = Extent(4, 4, 4, 0.1, GROUPS, SIZES)
QUICK = Extent(1, 3, 3, 0.05, QUICK_GROUPS, (LEFT_OUT_SIZE,))
_STARTS, _PASSES, _PILOT = 8, 9, 4


def extent(quick: bool) -> Extent:
    """Returns how much is measured."""
    return QUICK if quick else FULL


@dataclass(frozen=True)
class CellOnRig:
    """A cell with what its windows have shown in each round; ``wrong`` are copies missing or too many."""

    server: str
    cell: Cell
    rate: float
    rounds: tuple[tuple[Window, ...], ...]

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
        """The cost of a frame in each round: the middle one of its sound windows.

        What disturbs a window, an interrupt or another guest of the host, only adds to it, and can double it:
        a mean would tell of that. A round without sound windows tells nothing.
        """
        costs = (
            [window.ns_per_frame for window in windows if is_sound(window)]
            for windows in self.rounds
        )
        middles = tuple(statistics.median(some) for some in costs if some)
        return Measured(self.name, work_in(self.cell, self.what), middles)

    @property
    def windows(self) -> list[Window]:
        """All windows."""
        return [window for windows in self.rounds for window in windows]

    @property
    def sound(self) -> list[Window]:
        """The windows in which the load was offered as planned and taken."""
        return [window for window in self.windows if is_sound(window)]

    @property
    def wrong(self) -> int:
        """How many copies there were too few or too many in these."""
        return sum(abs(window.missing_copies) for window in self.sound)

    def samples(self) -> Iterator[Sample]:
        """Yields every window as raw values."""
        for number, windows in enumerate(self.rounds):
            for index, window in enumerate(windows):
                labels = {
                    "cell": self.name,
                    "round": str(number),
                    "window": str(index),
                    "flags": " ".join(window.flags),
                }
                yield Sample("window.cpu", window.cpu_ns, "ns", labels)
                yield Sample("window.frames_in", window.frames_in, "frames", labels)
                yield Sample("window.copies_out", window.copies_out, "datagrams", labels)


def is_sound(window: Window) -> bool:
    """Tells whether a window's load was offered as planned and taken."""
    return window.frames_in > 0 and set(window.flags) <= {"copies", "steal"}


def work_in(cell: Cell, what: str) -> Work:
    """Returns the work of a relay or hub for one frame of a cell."""
    way: Way = "hub" if what == "hub" else "single"
    return work_of(way, 1.0, cell.copies, sizes(cell.size))


def cells(some: Extent) -> list[Cell]:
    """Lists the cells: broadcast frames in all groups and of all sizes, unicast frames in few groups."""
    broadcast = [Cell("broadcast", group, size) for group in some.groups for size in SIZES]
    few = [group for group in some.groups if group in UNICAST_GROUPS]
    return broadcast + [
        Cell("unicast", group, size) for group in few for size in some.unicast_sizes
    ]


@dataclass
class _Run:
    """What a run has at hand, and what it has found."""

    extent: Extent
    chosen: list[tuple[str, Cell]]
    chance: random.Random
    progress: Progress
    rates: dict[tuple[str, Cell], float] = field(default_factory=dict)
    """Frames a second; sought but once."""
    rounds: dict[tuple[str, Cell], list[tuple[Window, ...]]] = field(default_factory=dict)


def measure_on_rig(some: Extent, chance: random.Random, progress: Progress) -> list[CellOnRig]:
    """Measures all cells in rounds, each pass in an order of its own, so that a drift falls on all alike."""
    chosen = [(server, cell) for server in SERVERS for cell in cells(some)]
    run = _Run(some, chosen, chance, progress)
    for _ in range(some.sittings):
        progress.step("servers and members", _STARTS)
        with rig_up(tuple(SERVERS), some.groups) as rig:
            if not run.rates:
                progress.step("the load", _PILOT)
                run.rates = _rates(rig, run)
            for _ in range(some.rounds // some.sittings):
                _round(rig, run)
    return [
        CellOnRig(server, cell, run.rates[server, cell], tuple(run.rounds[server, cell]))
        for server, cell in chosen
    ]


def _round(rig: Rig, run: _Run) -> None:
    """Measures every cell once more, in so many passes."""
    windows: dict[tuple[str, Cell], list[Window]] = {key: [] for key in run.chosen}
    for _ in range(run.extent.windows):
        number = len(run.rounds.get(run.chosen[0], ()))
        run.progress.step(f"round {number + 1}: {len(run.chosen)} cells", _PASSES)
        for server, cell in run.chance.sample(run.chosen, len(run.chosen)):
            load = _load(cell, run.rates[server, cell], run.extent.seconds)
            windows[server, cell].append(rig.measure(server, load))
    for key, some in windows.items():
        run.rounds.setdefault(key, []).append(tuple(some))


def _rates(rig: Rig, run: _Run) -> dict[tuple[str, Cell], float]:
    """Returns for each cell the rate at which its server is idle for the wanted time before each frame.

    As a fit to few small cells foretells: a window or two of each cell would give each a rate of its own
    chance. The second fit is to cells at the rates of the first.
    """
    rates = dict.fromkeys(run.chosen, _FIRST_RATE)
    for _ in range(_PILOTS):
        for server, what in SERVERS.items():
            costs = _pilot(
                rig, server, {cell: rates[one, cell] for one, cell in rates if one == server}
            )
            for one, cell in run.chosen:
                if one == server:
                    cost = costs.predict(work_in(cell, what)).value
                    rates[one, cell] = 1e9 / (IDLE_NS + cost)
    return rates


def _pilot(rig: Rig, server: str, rates: Mapping[Cell, float]) -> Costs:
    """Fits a server's costs to three windows of few cells each."""
    found = []
    for cell, rate in rates.items():
        if cell.cast == "broadcast" and cell.members in (2, LARGEST_FITTED):
            load = _load(cell, rate, QUICK.seconds)
            windows = [rig.measure(server, load) for _ in range(3)]
            costs = [window.ns_per_frame for window in windows if window.frames_in]
            if costs:
                work = work_in(cell, SERVERS[server])
                found.append(Measured("", work, (statistics.median(costs),)))
    return fit(found)


def _load(cell: Cell, rate: float, seconds: float) -> Load:
    return Load(cell.members, cell.size, cell.cast, rate, seconds)


def measure_rekeys() -> Mapping[int, Measured]:
    """Measures the key server's rekeys by their number of messages; needs neither network nor root."""
    rekey_costs(REKEYED[-1:])  # the first ones cost more
    return {cost.members: _rekey(cost) for cost in rekey_costs(REKEYED)}


def _rekey(cost: RekeyCost) -> Measured:
    work = Work(rekeys=1.0, rekey_messages=float(cost.messages))
    name = f"a fresh SA for {cost.members} members"
    return Measured(name, work, tuple(float(one) for one in cost.cpu_ns))
