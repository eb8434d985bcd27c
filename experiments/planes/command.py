"""``make planes``: what a datagram costs in each data plane; ``--soak``: that none is lost in any.

Ratios decide nothing: the exit code is 1 only when counts do not come out.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Mapping
from contextlib import ExitStack

from msgspec.structs import replace

from experiments import figures as figures_of
from experiments.instrument import course
from experiments.instrument.bpf_stats import BpfStats
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
from experiments.record import Table
from experiments.run_folder import Found
from topologies.rig import rig as rig_plan

TOPIC = "planes"
QUICK_BLOCKS, FULL_BLOCKS = 3, 12
QUICK_SECONDS, FULL_SECONDS = 0.04, 0.1
CHECK_SECONDS = 0.1


def run(options: argparse.Namespace) -> int:
    """Measures or soaks; returns the exit code. MachineError when this machine cannot."""
    servers = soak.PLANES if options.soak else SERVERS
    topic = Topic(
        TOPIC,
        rig_plan(servers, (MEMBERS,)),
        {"quick": options.quick, "soak": options.soak},
        _steps(options.soak, options.quick),
    )
    what = _soak if options.soak else _measure
    return course.run(options, topic, lambda progress: what(options.quick, options.seed, progress))


def _steps(soaked: bool, quick: bool) -> int:
    if soaked:
        return len(soak.PLANES) + 1
    return len(CELLS) + 3 + hub.is_there() + tcp.steps(quick)


def _measure(quick: bool, seed: int, progress: Progress) -> Found:
    chance = random.Random(seed)
    progress.step("servers and members")
    with ExitStack() as stack:
        rig = stack.enter_context(rig_up(SERVERS, (MEMBERS,)))
        stats = stack.enter_context(BpfStats())
        expect_kernel(rig)
        ways = ways_of(rig, stats)
        ways[FORWARDING] = ForwardingWay(rig, ROUTER).measure
        if hub.is_there():
            progress.step("OpenVPN's hub")
            ways[HUB] = stack.enter_context(hub.hub_up(rig.cores)).measure
        progress.step("the load: half of what the null forwarder bears")
        base = Cell("single", "broadcast").load(NULL_SOCKET, LOWEST_RATE, CHECK_SECONDS)
        rate = half_load(lambda tried: rig.measure(NULL_SOCKET, tried), base).rate
        progress.note(f"  {rate:.0f} datagrams/s, one in and two out")
        progress.step("the instrument's own checks")
        checks = _checks(rig, ways, rate, chance)
        course.show_checks(checks, progress)
        results = Results()
        for cell in CELLS:
            progress.step(f"cell {cell.name}: {', '.join(present(cell, ways))}")
            rig.set_wire(cell.wire)
            blocks = QUICK_BLOCKS if quick else FULL_BLOCKS
            seconds = QUICK_SECONDS if quick else FULL_SECONDS
            results.cells.append(measure(cell, ways, rate, seconds, blocks, chance))
    return _gather(results, checks, rate, tcp.measure(quick, chance, progress))


def _checks(rig: Rig, ways: Mapping[str, WayOf], rate: float, chance: random.Random) -> list[Check]:
    cell = Cell("single", "unicast")
    load = cell.load("socket", rate, CHECK_SECONDS)
    subject = Subject(rig, NULL_SOCKET, "socket", load, chance)
    found = [check(subject) for check in CHEAP]
    load = cell.load("kernel", rate, CHECK_SECONDS)
    return [*found, kernel_check(ways["kernel"], load, chance)]


def _gather(results: Results, checks: list[Check], rate: float, carried: TcpResults) -> Found:
    """Returns all figures if the instrument is fit; if not, raw samples and tables alone.

    What TCP carried does not hang on the instrument: the CPU clock is not in it.
    """
    found = Found()
    fit = course.note_checks(found, checks)
    found.invariants = results.invariants()
    found.samples += results.samples()
    found.samples += carried.samples()
    found.figures |= carried.figures()
    found.figures["datagrams_a_second"] = figures_of.exact(rate, "datagrams/s")
    if fit:
        found.figures |= results.figures()
    found.tables = [
        _bar_table(results, carried, fit),
        results.table(),
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
