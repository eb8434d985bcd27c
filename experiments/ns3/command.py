"""``make ns3``: ns-3 and our arrays with the same scenarios: equal answers, and what a transmission takes.

The figure is packet transmissions (a packet crossing a link) per second of one core. Times decide nothing:
the exit code is 1 only when loads differ, or latencies by more than 1 %.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from experiments.environment import (
    create_run_folder,
    describe_checkout,
    describe_environment,
    point_latest,
    utc_now,
)
from experiments.instrument.statistics import Rule, measure_blocks
from experiments.isolation import orderly_termination
from experiments.ns3 import programs
from experiments.ns3.arrays import Outcome
from experiments.ns3.comparison import COLUMNS, NS, Compared, Run
from experiments.ns3.scenario import fan_out
from experiments.progress import Progress
from experiments.record import (
    SCHEMA,
    Record,
    Table,
    relative_arguments,
    summarise,
    write_record,
    write_summary,
)
from experiments.report import headline, write_report

RESULTS = Path("results")
TOPIC = "ns3"
EXIT_HELD, EXIT_BROKEN = 0, 1
SHAPES: Mapping[str, tuple[int, ...]] = {
    "wide": (8, 8, 8),
    "deep": (2, 2, 2, 2, 2, 2, 2, 2),
    "flat": (512,),
}
"""Children of each node, the relay's first; the last ones are clients."""
QUICK_TRANSMISSIONS, FULL_TRANSMISSIONS = 300_000, 1_000_000
QUICK, FULL = Rule(3, 3), Rule(8, 8)


def run(options: argparse.Namespace) -> int:
    """Compares and measures; returns the exit code. MachineError where ns-3 is missing."""
    with tempfile.TemporaryDirectory(prefix="blindrelay-") as private, orderly_termination():
        program = programs.compile_fanout(Path(private))
        folder = create_run_folder(RESULTS, TOPIC, describe_checkout())
        started = utc_now()
        try:
            with Progress(2 * len(SHAPES) + 1) as progress:
                found = [
                    _compare(name, program, Path(private), options, progress) for name in SHAPES
                ]
                progress.step("writing the report")
                return _write(folder, found, options, started)
        finally:
            if not any(folder.iterdir()):
                folder.rmdir()


def _compare(
    name: str, program: Path, private: Path, options: argparse.Namespace, progress: Progress
) -> Compared:
    progress.step(f"{name}: the same answers")
    fan = SHAPES[name]
    wanted = QUICK_TRANSMISSIONS if options.quick else FULL_TRANSMISSIONS
    frames = max(1, wanted // _copies_on_links(fan))
    found = Compared(name, " x ".join(map(str, fan)), fan_out(fan, frames, options.seed))
    path = private / f"{name}.txt"
    found.scenario.write(path)
    shape = (frames, len(found.scenario.clients))
    for scheduler in programs.SCHEDULERS:
        theirs = programs.run_ns3(program, path, shape, scheduler)
        found.pilots[scheduler] = theirs.seconds
    found.compare(programs.run_arrays(path, shape), theirs)
    found.scheduler = min(found.pilots, key=lambda one: found.pilots[one])
    progress.note(f"  {'; '.join(one.detail for _, one in found.invariants())}")
    progress.step(f"{name}: the times")
    variants: dict[str, Callable[[], Run]] = {
        "ns3": partial(
            _timed, found, lambda: programs.run_ns3(program, path, shape, found.scheduler)
        ),
        "arrays": partial(_timed, found, lambda: programs.run_arrays(path, shape)),
    }
    rule = QUICK if options.quick else FULL
    found.blocks = measure_blocks(variants, rule, random.Random(options.seed))
    progress.note(f"  ns-3 with its {found.scheduler}Scheduler; {found.said()}")
    return found


def _copies_on_links(fan: tuple[int, ...]) -> int:
    """Returns about how many links the copies of one frame cross together."""
    return int(np.prod(fan)) * len(fan)


def _timed(found: Compared, simulate: Callable[[], Outcome]) -> Run:
    outcome = simulate()
    if outcome.transmissions != found.transmissions:
        raise AssertionError("a simulator did something else than before")
    return Run(outcome.seconds * NS / outcome.transmissions)


def _write(folder: Path, every: list[Compared], options: argparse.Namespace, started: str) -> int:
    note = (
        "Transmissions per second of CPU time, without set-up. ns-3 has neither IP nor sockets nor traces "
        "here, and the fastest of its schedulers for the scenario; runs of both are interleaved."
    )
    checkout = describe_checkout()
    record = Record(
        schema=SCHEMA,
        topo=TOPIC,
        plan={},
        parameters={
            "quick": options.quick,
            "ns3": programs.version(),
            **{f"{one.name}.scheduler": one.scheduler for one in every},
        },
        seed=options.seed,
        argv=relative_arguments(sys.argv[1:], Path.cwd()),
        commit=checkout.commit,
        dirty=checkout.dirty,
        environment=describe_environment(),
        started=started,
        ended=utc_now(),
        samples=tuple(sample for one in every for sample in one.samples()),
        tables=(Table("ns-3 and arrays", COLUMNS, tuple(one.row() for one in every), note),),
    )
    invariants = dict(pair for one in every for pair in one.invariants())
    figures = {key: value for one in every for key, value in one.figures().items()}
    summary = summarise(TOPIC, invariants, figures, {})
    write_record(folder, record)
    write_summary(folder, summary)
    write_report(folder)
    point_latest(folder)
    for one in every:
        print(f"{one.name}: {one.said()}")
    said = headline(summary)
    print("\n".join((said.text, *(f"  {fault}" for fault in said.faults))))
    print(f"results: {folder}")
    return EXIT_HELD if summary.ok else EXIT_BROKEN
