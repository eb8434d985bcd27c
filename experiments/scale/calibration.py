"""Measures what servers cost on the instrument's rig, for fitting and for checking.

Each server is alone on its core, and idle for the same time before each frame, or run of frames, in all
cells: the longer it was, the more a frame costs. A process is measured by its CPU time. What a kernel does
at once with what comes in is paid by whoever sends: `experiments.planes.ways` tells it there.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from experiments.instrument.rig import Rig, rig_up
from experiments.instrument.window import Load
from experiments.planes.ways import Measured as Metered
from experiments.planes.ways import expect_kernel
from experiments.progress import Progress
from experiments.records.record import Sample
from experiments.relay_load.cells import Cell
from experiments.scale.coefficients import PLANES
from simulator.scale.costs import Costs, Measured, Work, fit
from simulator.scale.loads import Way
from simulator.scale.model import work_of
from simulator.scale.sizes import sizes

KERNEL = "kernel"


@dataclass(frozen=True)
class Server:
    """How a server of the rig forwards, and by which data plane."""

    forwarding: str
    plane: str

    @property
    def what(self) -> str:
        """Names its cells and coefficients."""
        return f"{self.forwarding}_{self.plane}"


SERVERS = {plane: Server("relay", plane) for plane in PLANES} | {
    f"hub-{plane}": Server("hub", plane) for plane in PLANES if plane != KERNEL
}
"""What the rig's names stand for: a relay by each plane, and a hub, which no kernel forwards for."""
LARGEST_FITTED = 8
GROUPS = (2, 4, 8, 16, 32)
QUICK_GROUPS = (2, 8, 32)
SIZES = (64, 512, 1360)
LEFT_OUT_SIZE = 512
UNICAST_GROUPS = (4, 8, 16, 32)
RUN, LEFT_OUT_RUN = 44, 8
"""Datagrams right behind each other: as many as go into one skb, and less, to check what lies between."""
RUN_SIZES = (64, 1360)
LEFT_OUT_RUN_GROUPS = (4, 8)
IDLE_NS = 120_000
"""Between two frames or runs: long enough that each comes and is served by itself."""
_FIRST_RATE = 1_000.0
"""Runs a second."""


@dataclass(frozen=True)
class Extent:
    """How much is measured: ``rounds`` of all cells in ``sittings``, in a round so many windows of each.

    Each sitting starts all processes anew. In the kernel a cell has one window a round: that is the middle of
    all calls in it already.
    """

    sittings: int
    rounds: int
    windows: int
    pilots: int
    seconds: float
    groups: tuple[int, ...]

    def weight(self) -> float:
        """Returns how long that takes, as progress is told."""
        passes = self.rounds * self.windows * _PASS * len(self.groups)
        return self.sittings * _STARTS + passes + _PILOT * self.pilots


FULL = Extent(4, 4, 3, 2, 0.06, GROUPS)
QUICK = Extent(1, 2, 1, 1, 0.04, QUICK_GROUPS)
_STARTS, _PASS, _PILOT = 10, 4.5, 12


def extent(quick: bool) -> Extent:
    """Returns how much is measured."""
    return QUICK if quick else FULL


@dataclass(frozen=True)
class CellOnRig:
    """A cell with what its windows have shown in each round; ``wrong`` are copies missing or too many."""

    server: str
    cell: Cell
    rate: float
    rounds: tuple[tuple[Metered, ...], ...]

    @property
    def plane(self) -> str:
        """Its server's data plane."""
        return SERVERS[self.server].plane

    @property
    def what(self) -> str:
        """Names whose cost it is."""
        return SERVERS[self.server].what

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
        return Measured(self.name, work_in(self.cell, self.server), middles)

    @property
    def windows(self) -> list[Metered]:
        """All windows."""
        return [window for windows in self.rounds for window in windows]

    @property
    def sound(self) -> list[Metered]:
        """The windows in which the load was offered as planned and taken."""
        return [window for window in self.windows if is_sound(window)]

    @property
    def is_told(self) -> bool:
        """Whether there is a cost: what is left above a floor may be nothing by chance."""
        return bool(self.sound) and self.measured.mean_ns > 0

    @property
    def wrong(self) -> int:
        """How many copies there were too few or too many in these."""
        return sum(abs(one.window.missing_copies) for one in self.sound)

    def samples(self) -> Iterator[Sample]:
        """Yields every window as raw values."""
        for number, windows in enumerate(self.rounds):
            for index, one in enumerate(windows):
                window = one.window
                labels = {
                    "cell": self.name,
                    "round": str(number),
                    "window": str(index),
                    "flags": " ".join(one.flags),
                }
                yield Sample("window.cpu", window.cpu_ns, "ns", labels)
                yield Sample("window.frames_in", window.frames_in, "frames", labels)
                yield Sample("window.copies_out", window.copies_out, "datagrams", labels)
                if window.sender_ns:
                    yield Sample("window.generator", window.sender_ns, "ns", labels)
                    yield Sample("window.floor", window.floor_ns, "ns", labels)


def is_sound(one: Metered) -> bool:
    """Tells whether a window's load was offered as planned and taken.

    What a kernel does within the sender's call costs no other when the call comes late.
    """
    allowed = {"copies", "steal", *(("saturated",) if one.window.sender_ns else ())}
    return one.window.frames_in > 0 and set(one.window.flags) <= allowed


def work_in(cell: Cell, server: str) -> Work:
    """Returns the work of one of the rig's servers for one frame of a cell."""
    way: Way = "hub" if SERVERS[server].forwarding == "hub" else "single"
    return work_of(way, 1.0, cell.copies, sizes(cell.size), cell.burst)


def cells(some: Extent, server: str) -> list[Cell]:
    """Lists a server's cells: broadcast frames in all groups and of all sizes, unicast frames in few groups.

    Of relays also runs. A hub opens and seals each of a run's frames.
    """
    found = [Cell("broadcast", group, size) for group in some.groups for size in SIZES]
    found += [
        Cell("unicast", group, LEFT_OUT_SIZE) for group in some.groups if group in UNICAST_GROUPS
    ]
    if SERVERS[server].forwarding == "relay":
        found += [
            Cell("broadcast", group, size, RUN) for group in some.groups for size in RUN_SIZES
        ]
        found += [
            Cell("broadcast", group, RUN_SIZES[-1], LEFT_OUT_RUN)
            for group in some.groups
            if group in LEFT_OUT_RUN_GROUPS
        ]
    return found


Window = Callable[[Load], Metered]


@dataclass
class _Run:
    """What a run has at hand, and what it has found."""

    extent: Extent
    chosen: list[tuple[str, Cell]]
    chance: random.Random
    progress: Progress
    rates: dict[tuple[str, Cell], float] = field(default_factory=dict)
    """Frames a second; sought but once."""
    rounds: dict[tuple[str, Cell], list[tuple[Metered, ...]]] = field(default_factory=dict)


def measure_on_rig(
    some: Extent, chance: random.Random, progress: Progress, servers: Mapping[str, Server] = SERVERS
) -> list[CellOnRig]:
    """Measures all cells in rounds, each pass in an order of its own, so that a drift falls on all alike."""
    chosen = [(server, cell) for server in servers for cell in cells(some, server)]
    run = _Run(some, chosen, chance, progress)
    for _ in range(some.sittings):
        progress.step("servers and members", _STARTS)
        with rig_up(tuple(servers), some.groups) as rig:
            expect_kernel(rig)
            ways = {server: _way(rig, server) for server in servers}
            if not run.rates:
                progress.step("the load", _PILOT * some.pilots)
                run.rates = _rates(ways, run)
            for _ in range(some.rounds // some.sittings):
                _round(ways, run)
    return [
        CellOnRig(server, cell, run.rates[server, cell], tuple(run.rounds[server, cell]))
        for server, cell in chosen
    ]


def _way(rig: Rig, server: str) -> Window:
    """Returns what measures a window of a server."""
    if SERVERS[server].plane != KERNEL:
        return lambda load: Metered(rig.measure(server, load))

    def measured(load: Load) -> Metered:
        # The kernel's program asks the process about a flow that it has not seen for long.
        warm = replace(load, seconds=load.burst / load.rate)
        rig.prepare(server, warm)
        rig.send(warm)
        rig.settle(rig.process(server), None)
        return Metered(rig.measure(server, load, paired=True))

    return measured


def _round(ways: Mapping[str, Window], run: _Run) -> None:
    """Measures every cell once more, in so many passes."""
    windows: dict[tuple[str, Cell], list[Metered]] = {key: [] for key in run.chosen}
    number = len(run.rounds.get(run.chosen[0], ()))
    for turn in range(run.extent.windows):
        run.progress.step(
            f"round {number + 1}: {len(run.chosen)} cells", _PASS * len(run.extent.groups)
        )
        for server, cell in run.chance.sample(run.chosen, len(run.chosen)):
            if turn and SERVERS[server].plane == KERNEL:
                continue
            load = _load(cell, run.rates[server, cell], run.extent.seconds)
            windows[server, cell].append(ways[server](load))
    for key, some in windows.items():
        run.rounds.setdefault(key, []).append(tuple(some))


def _rates(ways: Mapping[str, Window], run: _Run) -> dict[tuple[str, Cell], float]:
    """Returns for each cell the rate at which its server is idle for the wanted time before each run.

    As a fit to few small cells foretells: a window or two of each cell would give each a rate of its own
    chance. The second fit is to cells at the rates of the first. What a kernel does is within the sender's
    calls, of which there are two for each run: one is dropped at ingress.
    """
    rates = {(server, cell): _FIRST_RATE * cell.burst for server, cell in run.chosen}
    for _ in range(run.extent.pilots):
        for server, way in ways.items():
            own = [cell for one, cell in run.chosen if one == server]
            in_kernel = SERVERS[server].plane == KERNEL
            costs = None if in_kernel else _pilot(way, server, {c: rates[server, c] for c in own})
            for cell in own:
                busy = (
                    IDLE_NS
                    if costs is None
                    else costs.predict(work_in(cell, server)).value * cell.burst
                )
                rates[server, cell] = cell.burst * 1e9 / (IDLE_NS + busy)
    return rates


def _pilot(way: Window, server: str, rates: Mapping[Cell, float]) -> Costs:
    """Fits a server's costs to three windows of few cells each."""
    found = []
    for cell, rate in rates.items():
        small = cell.members in (2, LARGEST_FITTED) and cell.size == RUN_SIZES[-1]
        if cell.cast == "broadcast" and small and cell.burst != LEFT_OUT_RUN:
            windows = [way(_load(cell, rate, QUICK.seconds)) for _ in range(3)]
            costs = [one.ns_per_frame for one in windows if one.window.frames_in]
            if costs:
                work = work_in(cell, server)
                found.append(Measured("", work, (statistics.median(costs),)))
    return fit(found)


def _load(cell: Cell, rate: float, seconds: float) -> Load:
    return Load(cell.members, cell.size, cell.cast, rate, seconds, cell.burst)
