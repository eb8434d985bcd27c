"""``make ns3``: ns-3 and our arrays with the same scenarios: equal answers, and what a transmission takes.

The figure is packet transmissions (a packet crossing a link) per second of one core. Times decide nothing:
the exit code is 1 only when loads differ, or latencies by more than 1 %.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from experiments.instrument.statistics import measure_blocks
from experiments.isolation import orderly_termination
from experiments.ns3 import programs
from experiments.ns3.arrays import Outcome
from experiments.ns3.comparison import COLUMNS, NS, Compared, Run
from experiments.ns3.scenario import fan_out
from experiments.progress import Progress
from experiments.records.environment import utc_now
from experiments.records.record import Summary, Table
from experiments.run_folder import Found, Given, make_run, write_run

TOPIC = "ns3"
SHAPES: Mapping[str, tuple[int, ...]] = {
    "wide": (8, 8, 8),
    "deep": (2, 2, 2, 2, 2, 2, 2, 2),
    "flat": (512,),
}
"""Children of each node, the relay's first; the last ones are clients."""
QUICK_TRANSMISSIONS, FULL_TRANSMISSIONS = 300_000, 1_000_000
QUICK_BLOCKS, FULL_BLOCKS = 3, 8


def run(options: argparse.Namespace) -> int:
    """Compares and measures; returns the exit code. MachineError where ns-3 is missing."""
    with tempfile.TemporaryDirectory(prefix="blindrelay-") as private, orderly_termination():
        program = programs.compile_fanout(Path(private))
        started = utc_now()

        def measured(folder: Path) -> Summary:
            with Progress(2 * len(SHAPES) + 1) as progress:
                found = [
                    _compare(name, program, Path(private), options, progress) for name in SHAPES
                ]
                progress.step("writing the report")
                return _write(folder, found, options, started)

        return make_run(TOPIC, measured)


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
    blocks = QUICK_BLOCKS if options.quick else FULL_BLOCKS
    found.blocks = measure_blocks(variants, blocks, random.Random(options.seed))
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


def _write(
    folder: Path, every: list[Compared], options: argparse.Namespace, started: str
) -> Summary:
    note = (
        "Transmissions per second of CPU time, without set-up. ns-3 has neither IP nor sockets nor traces "
        "here, and the fastest of its schedulers for the scenario; runs of both are interleaved."
    )
    parameters = {
        "quick": options.quick,
        "ns3": programs.version(),
        **{f"{one.name}.scheduler": one.scheduler for one in every},
    }
    found = Found(
        [sample for one in every for sample in one.samples()],
        [Table("ns-3 and arrays", COLUMNS, tuple(one.row() for one in every), note)],
        {key: value for one in every for key, value in one.figures().items()},
        dict(pair for one in every for pair in one.invariants()),
    )
    summary = write_run(folder, Given(TOPIC, {}, parameters, options.seed, started), found)
    for one in every:
        print(f"{one.name}: {one.said()}")
    return summary
