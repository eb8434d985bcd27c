"""``make planes``: what a datagram costs in each data plane; ``--soak``: that none is lost in any.

Ratios decide nothing: the exit code is 1 only when counts do not come out.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from msgspec.structs import replace

from experiments.deployment import DeploymentError
from experiments.environment import (
    create_run_folder,
    describe_checkout,
    describe_environment,
    point_latest,
    utc_now,
)
from experiments.instrument.bpf_stats import BpfStats
from experiments.instrument.checks import CHEAP, Check, Subject
from experiments.instrument.loads import LOWEST_RATE, LoadError, half_load
from experiments.instrument.programs import InstrumentError
from experiments.instrument.rig import Rig, rig_up
from experiments.instrument.statistics import Rule
from experiments.isolation import MachineError, is_isolated, isolate, orderly_termination
from experiments.planes import hub, soak, tcp
from experiments.planes.cells import CELLS, MEMBERS, NULL_SOCKET, SERVERS, Cell
from experiments.planes.measure import Results, WayOf, kernel_check, measure, present, ways_of
from experiments.planes.tcp import TcpResults
from experiments.planes.ways import HUB
from experiments.progress import Progress
from experiments.record import (
    SCHEMA,
    Figure,
    Invariant,
    Record,
    Sample,
    Table,
    relative_arguments,
    summarise,
    write_record,
    write_summary,
)
from experiments.report import headline, write_report
from topologies.emulate import EmulationError
from topologies.rig import rig as rig_plan

RESULTS = Path("results")
TOPIC = "planes"
EXIT_HELD, EXIT_BROKEN = 0, 1
QUICK, FULL = Rule(3, 3), Rule(12, 12)
"""Fixed numbers of blocks: stopping when an interval is narrow favours narrow ones."""
QUICK_SECONDS, FULL_SECONDS = 0.04, 0.1
CHECK_SECONDS = 0.1
_FAILURES = (EmulationError, DeploymentError, InstrumentError, LoadError)


class Found:
    """What a run has to write down."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.tables: list[Table] = []
        self.figures: dict[str, Figure] = {}
        self.invariants: dict[str, Invariant] = {}


def run(options: argparse.Namespace) -> int:
    """Measures or soaks; returns the exit code. MachineError when this machine cannot."""
    if not is_isolated():
        return isolate()
    folder = create_run_folder(RESULTS, TOPIC, describe_checkout())
    started = utc_now()
    try:
        with orderly_termination(), Progress(_steps(options.soak, options.quick)) as progress:
            what = _soak if options.soak else _measure
            found = what(options.quick, options.seed, progress)
            progress.step("writing the report")
            _write(folder, options, found, started)
    except _FAILURES as error:
        print(f"{TOPIC}: {error}", file=sys.stderr)
        folder.rmdir()
        return EXIT_BROKEN
    except BaseException:
        if not any(folder.iterdir()):
            folder.rmdir()
        raise
    point_latest(folder)
    held = all(invariant.held for invariant in found.invariants.values())
    print(f"results: {folder}")
    return EXIT_HELD if held else EXIT_BROKEN


def _steps(soaked: bool, quick: bool) -> int:
    if soaked:
        return len(soak.PLANES) + 2
    return len(CELLS) + 4 + hub.is_there() + tcp.steps(quick)


def _measure(quick: bool, seed: int, progress: Progress) -> Found:
    chance = random.Random(seed)
    progress.step("servers and members")
    with ExitStack() as stack:
        rig = stack.enter_context(rig_up(SERVERS, (MEMBERS,)))
        stats = stack.enter_context(BpfStats())
        _expect_kernel(rig)
        ways = ways_of(rig, stats)
        if hub.is_there():
            progress.step("OpenVPN's hub")
            ways[HUB] = stack.enter_context(hub.hub_up(rig.cores)).measure
        progress.step("the load: half of what the null forwarder bears")
        base = Cell("single", "broadcast").load(NULL_SOCKET, LOWEST_RATE, CHECK_SECONDS)
        rate = half_load(lambda tried: rig.measure(NULL_SOCKET, tried), base).rate
        progress.note(f"  {rate:.0f} datagrams/s, one in and two out")
        progress.step("the instrument's own checks")
        checks = _checks(rig, ways, rate, chance)
        for check in checks:
            progress.note(f"  {check.name}: {'fit' if check.fit else 'NOT FIT'}: {check.detail}")
        results = Results()
        for cell in CELLS:
            progress.step(f"cell {cell.name}: {', '.join(present(cell, ways))}")
            rig.set_wire(cell.wire)
            rule, seconds = (QUICK, QUICK_SECONDS) if quick else (FULL, FULL_SECONDS)
            results.cells.append(measure(cell, ways, rate, seconds, rule, chance))
    return _gather(results, checks, rate, tcp.measure(quick, chance, progress))


def _expect_kernel(rig: Rig) -> None:
    """Raises MachineError when a server that was to forward in the kernel does not."""
    for server in rig.servers:
        if "kernel" in server and server not in rig.in_kernel:
            raise MachineError(rig.deployment.log(server).splitlines()[-1])


def _checks(rig: Rig, ways: Mapping[str, WayOf], rate: float, chance: random.Random) -> list[Check]:
    cell = Cell("single", "unicast")
    load = cell.load("socket", rate, CHECK_SECONDS)
    subject = Subject(rig, NULL_SOCKET, "socket", load, chance)
    found = [check(subject) for check in CHEAP]
    return [*found, kernel_check(ways, cell.load("kernel", rate, CHECK_SECONDS), chance)]


def _gather(results: Results, checks: list[Check], rate: float, carried: TcpResults) -> Found:
    """Returns all figures if the instrument is fit; if not, raw samples and tables alone.

    What TCP carried does not hang on the instrument: the CPU clock is not in it.
    """
    found = Found()
    fit = all(check.fit for check in checks)
    found.invariants = results.invariants()
    found.samples = list(results.samples())
    found.samples += [
        Sample(f"instrument.{name}", value, "", {"check": check.name})
        for check in checks
        for name, value in check.values.items()
        if math.isfinite(value)
    ]
    found.samples += carried.samples()
    found.figures |= carried.figures()
    found.figures["datagrams_a_second"] = Figure(rate, rate, rate, 1, "datagrams/s")
    found.figures["instrument_fit"] = Figure(
        float(fit), float(fit), float(fit), 1, "fit" if fit else "not fit"
    )
    if fit:
        found.figures |= results.figures()
    rows = tuple((one.name, "fit" if one.fit else "not fit", one.detail) for one in checks)
    found.tables = [
        _bar_table(results, carried, fit),
        results.table(),
        carried.table(),
        Table("The instrument's checks", ("check", "", "seen"), rows),
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
        outcome = soak.run(plane, quick)
        progress.note(f"  {outcome.describe()}")
        rows.append((plane, *outcome.cells()))
        found.invariants[f"{plane}_loses_and_changes_nothing"] = outcome.invariant()
        found.figures |= outcome.figures(plane)
    found.tables = [Table("One stream through each plane", soak.COLUMNS, tuple(rows), soak.NOTE)]
    return found


def _write(folder: Path, options: argparse.Namespace, found: Found, started: str) -> None:
    checkout = describe_checkout()
    servers = soak.PLANES if options.soak else SERVERS
    record = Record(
        schema=SCHEMA,
        topo=TOPIC,
        plan=rig_plan(servers, (MEMBERS,)).to_json(),
        parameters={"quick": options.quick, "soak": options.soak},
        seed=options.seed,
        argv=relative_arguments(sys.argv[1:], Path.cwd()),
        commit=checkout.commit,
        dirty=checkout.dirty,
        environment=describe_environment(),
        started=started,
        ended=utc_now(),
        samples=tuple(found.samples),
        tables=tuple(found.tables),
    )
    summary = summarise(TOPIC, found.invariants, found.figures, {})
    write_record(folder, record)
    write_summary(folder, summary)
    write_report(folder)
    said = headline(summary)
    print(said.text)
    for fault in said.faults:
        print(f"  {fault}")
