"""``make ladder``: what each thing that a server does for a frame costs, from nothing to a hub of 2004.

Ratios decide nothing: the exit code is 1 only when counts do not come out.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from experiments.instrument import course, statistics
from experiments.instrument.checks import CHEAP, Check, Subject, against_itself
from experiments.instrument.course import Topic
from experiments.instrument.loads import LOWEST_RATE, half_load, within_reach
from experiments.instrument.rig import Rig, rig_up
from experiments.ladder import capacity, library, sampling
from experiments.ladder.results import Results
from experiments.ladder.rungs import (
    AGAIN,
    BASE_MEMBERS,
    KERNEL,
    MEASURED_AGAIN,
    PLANES,
    PROCESSES,
    REFERENCE,
    SERVERS,
    SLOWEST,
    SOCKET,
    Cell,
    cells,
    groups,
    plane_of,
    server,
)
from experiments.planes.cells import FLOWS, Flow
from experiments.planes.measure import WayOf, kernel_check, measure, ways_of
from experiments.planes.ways import expect_kernel
from experiments.progress import Progress
from experiments.records import figures as figures_of
from experiments.run_folder import Found
from topologies.rig import rig as rig_plan

TOPIC = "ladder"
MODULE = "experiments.ladder.server"
CHECK_SECONDS = 0.1


@dataclass(frozen=True)
class Extent:
    """How much is measured: ``rounds`` of all cells, of so many blocks each, in ``sittings``.

    Each sitting starts all processes anew. All numbers are fixed: stopping when an interval is narrow
    favours narrow ones.
    """

    sittings: int
    rounds: int
    base_blocks: int
    further_blocks: int
    seconds: float
    stage_windows: int
    """In each sitting, for each process and flow."""
    sampled: tuple[Flow, ...]
    searched: tuple[Flow, ...]
    searched_planes: tuple[str, ...]
    step: float
    expected_minutes: float


QUICK = Extent(1, 3, 1, 1, 0.04, 2, ("single", "bulk"), ("single",), (SOCKET, KERNEL), 0.3, 3)
FULL = Extent(4, 4, 2, 1, 0.08, 2, FLOWS, ("single", "bulk"), PLANES, 0.08, 13)


def run(options: argparse.Namespace) -> int:
    """Measures; returns the exit code. MachineError when this machine cannot."""
    extent = QUICK if options.quick else FULL
    wanted = len(list(cells(options.quick)))
    topic = Topic(
        TOPIC,
        rig_plan(SERVERS, groups(options.quick), MODULE),
        {"quick": options.quick, "expected_minutes": extent.expected_minutes},
        extent.sittings * (1 + len(extent.sampled))
        + extent.rounds * wanted
        + len(extent.searched)
        + 2,
    )
    return course.run(
        options, topic, lambda progress: _measure(options.quick, options.seed, progress)
    )


@dataclass
class _Run:
    """What one run has at hand, and what it has found."""

    extent: Extent
    wanted: tuple[Cell, ...]
    chance: random.Random
    progress: Progress
    rates: dict[int, float] = field(default_factory=dict)
    """Frames a second by group size: sought but once."""
    checks: list[Check] = field(default_factory=list)
    results: Results = field(default_factory=Results)


def _measure(quick: bool, seed: int, progress: Progress) -> Found:
    extent = QUICK if quick else FULL
    run = _Run(extent, tuple(cells(quick)), random.Random(seed), progress)
    for sitting in range(extent.sittings):
        progress.step("servers and members")
        with rig_up(SERVERS, groups(quick), module=MODULE) as rig:
            expect_kernel(rig)
            ways = ways_of(rig)
            ways[AGAIN] = ways[MEASURED_AGAIN]
            if sitting == 0:
                _begin(rig, ways, run, quick)
            for _ in range(extent.rounds // extent.sittings):
                _round(rig, ways, run)
            _sample(rig, run)
            if sitting == extent.sittings - 1:
                _search(rig, run)
    run.results.library = library.measure()
    return _gather(run)


def _begin(rig: Rig, ways: Mapping[str, WayOf], run: _Run, quick: bool) -> None:
    """Finds the loads, then has the instrument show that it is fit."""
    run.progress.step("the load: half of what the null forwarder bears")
    for members in groups(quick):
        run.rates[members] = _rate(rig, members)
        run.progress.note(f"  {run.rates[members]:.0f} frames/s, one in and {members - 1} out")
    run.progress.step("the instrument's own checks")
    run.checks = _checks(rig, ways, run.rates[BASE_MEMBERS], run.chance, quick)
    course.show_checks(run.checks, run.progress)


def _round(rig: Rig, ways: Mapping[str, WayOf], run: _Run) -> None:
    """Measures every cell once more, in an order drawn by chance."""
    for cell in run.chance.sample(run.wanted, len(run.wanted)):
        run.progress.step(f"cell {cell.name}: {len(cell.variants)} side by side")
        rig.set_wire(cell.wire)
        blocks = run.extent.base_blocks if cell.is_base else run.extent.further_blocks
        rate = run.rates[cell.members]
        run.results.add(measure(cell, ways, rate, run.extent.seconds, blocks, run.chance))


def _rate(rig: Rig, members: int) -> float:
    """Returns half of the null forwarder's highest loss-free rate, or less for the slowest hub's sake."""
    load = Cell("single", members).load(REFERENCE, LOWEST_RATE, CHECK_SECONDS)
    half = half_load(lambda tried: rig.measure(REFERENCE, tried), load)
    return within_reach(lambda tried: rig.measure(SLOWEST, tried), half).rate


def _checks(
    rig: Rig, ways: Mapping[str, WayOf], rate: float, chance: random.Random, quick: bool
) -> list[Check]:
    load = Cell("single").load(REFERENCE, rate, CHECK_SECONDS)
    subject = Subject(rig, REFERENCE, MEASURED_AGAIN, load, chance)
    found = [check(subject) for check in CHEAP]
    if not quick:
        found.append(against_itself(subject, 24))
    return [*found, kernel_check(ways[server("relay", KERNEL)], load, chance)]


def _sample(rig: Rig, run: _Run) -> None:
    """Samples the stages of every process, in windows apart from all others."""
    for flow in run.extent.sampled:
        run.progress.step(f"stages, {flow}")
        rig.set_wire(Cell(flow).wire)
        for name in PROCESSES:
            load = Cell(flow).load(name, run.rates[BASE_MEMBERS], run.extent.seconds)
            run.results.stages += sampling.sample(rig, flow, name, load, run.extent.stage_windows)


def _search(rig: Rig, run: _Run) -> None:
    """Seeks each rung's highest load without loss."""
    rig.set_wire("segmented")
    for flow in run.extent.searched:
        run.progress.step(f"highest load without loss, {flow}")
        blocks = run.results.blocks(flow)
        for name in (one for one in SERVERS if plane_of(one) in run.extent.searched_planes):
            load = Cell(flow).load(name, LOWEST_RATE, CHECK_SECONDS)
            cost = statistics.level(blocks, name, capacity.likely_cost).estimate
            found = capacity.search(rig, flow, name, load, cost, run.extent.step)
            run.results.capacities.append(found)


def _gather(run: _Run) -> Found:
    """Returns all figures if the instrument is fit; if not, raw samples and its checks alone."""
    found, results = Found(), run.results
    fit = course.note_checks(found, run.checks)
    found.invariants = results.invariants()
    found.samples += results.samples()
    for members, rate in run.rates.items():
        found.figures[f"frames_a_second.n{members}"] = figures_of.exact(rate, "frames/s")
    if fit:
        found.figures |= results.figures()
        found.tables = [*results.tables(), *found.tables]
    return found
