"""``make planes``: what a datagram costs in each data plane; ``--soak``: that none is lost in any.

Ratios decide nothing: the exit code is 1 only when counts do not come out.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from msgspec.structs import replace

from experiments.instrument import course
from experiments.instrument.checks import CHEAP, Check, Subject
from experiments.instrument.course import Topic
from experiments.instrument.loads import LOWEST_RATE, half_load
from experiments.instrument.rig import Rig, rig_up
from experiments.planes import hub, soak, tcp
from experiments.planes.cells import CELLS, MEMBERS, NULL_SOCKET, ROUTER, SERVERS, Cell
from experiments.planes.measure import Results, WayOf, kernel_check, measure, present, ways_of
from experiments.planes.tcp import TcpResults
from experiments.planes.ways import FORWARDING, HUB, ForwardingWay, expect_kernel
from experiments.progress import Progress
from experiments.records import figures as figures_of
from experiments.records.record import Table
from experiments.run_folder import Found
from topologies.rig import rig as rig_plan

TOPIC = "planes"
MODULE = "experiments.planes.server"
CHECK_SECONDS = 0.1


@dataclass(frozen=True)
class Extent:
    """How much is measured: ``rounds`` of all cells, a block of each, in ``sittings``.

    Each sitting starts all processes anew. All numbers are fixed: stopping when an interval is narrow
    favours narrow ones. ``seconds`` is the length of a window.
    """

    sittings: int
    rounds: int
    seconds: float


QUICK = Extent(1, 3, 0.04)
FULL = Extent(6, 6, 0.1)


def run(options: argparse.Namespace) -> int:
    """Measures or soaks; returns the exit code. MachineError when this machine cannot."""
    servers = soak.PLANES if options.soak else SERVERS
    topic = Topic(
        TOPIC,
        rig_plan(servers, (MEMBERS,), "nodes.server" if options.soak else MODULE),
        {"quick": options.quick, "soak": options.soak},
        _steps(options.soak, options.quick),
    )
    what = _soak if options.soak else _measure
    return course.run(options, topic, lambda progress: what(options.quick, options.seed, progress))


def _steps(soaked: bool, quick: bool) -> int:
    if soaked:
        return len(soak.PLANES) + 1
    extent = QUICK if quick else FULL
    starts = extent.sittings * (1 + hub.is_there())
    return starts + 2 + extent.rounds * len(CELLS) + tcp.steps(quick)


@dataclass
class _Run:
    """What one run has at hand, and what it has found."""

    extent: Extent
    chance: random.Random
    progress: Progress
    rate: float = 0.0
    """Datagrams a second, the same for all: sought but once."""
    checks: list[Check] = field(default_factory=list)
    results: Results = field(default_factory=Results)


def _measure(quick: bool, seed: int, progress: Progress) -> Found:
    run = _Run(QUICK if quick else FULL, random.Random(seed), progress)
    for sitting in range(run.extent.sittings):
        with _ways_up(progress) as (rig, ways):
            if sitting == 0:
                _begin(rig, ways, run)
            for _ in range(run.extent.rounds // run.extent.sittings):
                _round(rig, ways, run)
    return _gather(run, tcp.measure(quick, run.chance, progress))


@contextmanager
def _ways_up(progress: Progress) -> Iterator[tuple[Rig, dict[str, WayOf]]]:
    """Starts all that is measured, and takes it down."""
    progress.step("servers and members")
    with ExitStack() as stack:
        rig = stack.enter_context(rig_up(SERVERS, (MEMBERS,), module=MODULE))
        expect_kernel(rig)
        ways = ways_of(rig)
        ways[FORWARDING] = ForwardingWay(rig, ROUTER).measure
        if hub.is_there():
            progress.step("OpenVPN's hub")
            ways[HUB] = stack.enter_context(hub.hub_up(rig.cores)).measure
        yield rig, ways


def _begin(rig: Rig, ways: Mapping[str, WayOf], run: _Run) -> None:
    """Finds the load, then has the instrument show that it is fit."""
    run.progress.step("the load: half of what the null forwarder bears")
    base = Cell("single", "broadcast").load(NULL_SOCKET, LOWEST_RATE, CHECK_SECONDS)
    run.rate = half_load(lambda tried: rig.measure(NULL_SOCKET, tried), base).rate
    run.progress.note(f"  {run.rate:.0f} datagrams/s, one in and two out")
    run.progress.step("the instrument's own checks")
    run.checks = _checks(rig, ways, run.rate, run.chance)
    course.show_checks(run.checks, run.progress)


def _round(rig: Rig, ways: Mapping[str, WayOf], run: _Run) -> None:
    """Measures every cell once more, in an order drawn by chance."""
    for cell in run.chance.sample(CELLS, len(CELLS)):
        run.progress.step(f"cell {cell.name}: {', '.join(present(cell, ways))}")
        rig.set_wire(cell.wire)
        found = measure(cell, ways, run.rate, run.extent.seconds, 1, run.chance)
        run.results.add(found)


def _checks(rig: Rig, ways: Mapping[str, WayOf], rate: float, chance: random.Random) -> list[Check]:
    cell = Cell("single", "unicast")
    load = cell.load("socket", rate, CHECK_SECONDS)
    subject = Subject(rig, NULL_SOCKET, "socket", load, chance)
    found = [check(subject) for check in CHEAP]
    load = cell.load("kernel", rate, CHECK_SECONDS)
    return [*found, kernel_check(ways["kernel"], load, chance)]


def _gather(run: _Run, carried: TcpResults) -> Found:
    """Returns all figures if the instrument is fit; if not, raw samples and tables alone.

    What TCP carried does not hang on the instrument: the CPU clock is not in it.
    """
    found, results = Found(), run.results
    fit = course.note_checks(found, run.checks)
    found.invariants = results.invariants()
    found.samples += results.samples()
    found.samples += carried.samples()
    found.figures |= carried.figures()
    found.figures["datagrams_a_second"] = figures_of.exact(run.rate, "datagrams/s")
    if fit:
        found.figures |= results.figures()
    found.tables = [
        _bar_table(results, carried, fit),
        results.table(),
        *([results.price_table()] if fit else []),
        carried.table(),
        *found.tables,
    ]
    for bar, figure, word in results.bars():
        said = word if fit else "not judged, the instrument is not fit"
        print(f"{bar.name}: {figure.value:.3f}, at most {bar.limit:.3g}: {said}")
    for wire, tcp_bar, figure, word in carried.bars():
        print(f"{tcp_bar.name}.{wire}: {figure.value:.2f}, at least {tcp_bar.times:g}: {word}")
    return found


def _bar_table(results: Results, carried: TcpResults, fit: bool) -> Table:
    """Returns all bars: costs first, then what TCP carried."""
    table = results.bar_table(fit)
    rows = tuple(
        (
            f"{bar.name}.{wire}",
            f"{bar.ours} over {bar.theirs}",
            f"at least {bar.times:g}",
            f"{figure.value:.2f}",
            f"{figure.low:.2f} to {figure.high:.2f}",
            figure.n,
            word,
        )
        for wire, bar, figure, word in carried.bars()
    )
    return replace(table, rows=(*table.rows, *rows))


def _soak(quick: bool, _seed: int, progress: Progress) -> Found:
    found = Found()
    rows = []
    for plane in soak.PLANES:
        progress.step(f"soak: {plane}")
        outcome = soak.run(plane, quick, progress.note)
        rows.append((plane, *outcome.cells()))
        found.invariants |= outcome.invariants(plane)
        found.figures |= outcome.figures(plane)
    found.tables = [Table("One stream through each plane", soak.COLUMNS, tuple(rows), soak.NOTE)]
    return found
