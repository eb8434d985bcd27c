"""``make sweep``: all combinations of seeds, topologies, ways and sizes, each worked out once.

Exit codes: 0 all cases worked out, 1 some could not be, 2 usage, 3 no scheduler or no fit workers.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from experiments.environment import describe_checkout, describe_environment, utc_now
from experiments.isolation import MachineError, orderly_termination
from experiments.progress import Progress
from experiments.record import SCHEMA, SUMMARY_NAME, relative_arguments, write_atomically
from experiments.run_folder import RESULTS, create_run_folder, show
from experiments.sweep.cases import Case, CaseError, code_version, grid
from experiments.sweep.engines import Dask, Engine, EngineError, Processes, Serial
from experiments.sweep.store import Store
from experiments.sweep.tables import cases_csv, summary_csv

TOPIC = "sweep"
CASES = "cases"
EXIT_DONE, EXIT_FAILED, EXIT_USAGE = range(3)
_SHOWN = 5


def run(options: argparse.Namespace) -> int:
    """Works out what is not there yet, and writes the tables; returns the exit code."""
    try:
        cases, engine = _cases(options), _engine(options)
    except CaseError as error:
        print(f"{TOPIC}: {error}", file=sys.stderr)
        return EXIT_USAGE
    started, begin = utc_now(), time.monotonic()
    version = code_version()
    store = Store(RESULTS / TOPIC / CASES, version)
    missing = [case for case in cases if store.get(case) is None]
    print(f"{len(cases)} cases, {len(cases) - len(missing)} of them there already", file=sys.stderr)
    try:
        with orderly_termination():
            failed = fill(store, missing, engine, version) if missing else []
    except EngineError as error:
        raise MachineError(f"{TOPIC}: {error}") from error
    worked = [(case, fields) for case in cases if (fields := store.get(case)) is not None]
    folder = create_run_folder(RESULTS, TOPIC, describe_checkout())
    write_atomically(folder / "cases.csv", cases_csv(worked).encode())
    write_atomically(folder / "summary.csv", summary_csv(worked).encode())
    summary = {
        "schema": SCHEMA,
        "argv": relative_arguments(sys.argv[1:], Path.cwd()),
        "checkout": describe_checkout(),
        "environment": describe_environment(),
        "version": version,
        "started": started,
        "ended": utc_now(),
        "seconds": time.monotonic() - begin,
        "engine": options.engine,
        "cases": len(cases),
        "were_there": len(cases) - len(missing),
        "worked_out": len(missing) - len(failed),
        "failed": failed,
    }
    write_atomically(
        folder / SUMMARY_NAME, msgspec.json.format(msgspec.json.encode(summary), indent=1)
    )
    _tell(summary)
    show(folder)
    return EXIT_FAILED if failed else EXIT_DONE


def fill(store: Store, cases: Sequence[Case], engine: Engine, version: str) -> list[str]:
    """Has an engine work cases out and keeps each result at once; returns what did not fit."""
    failed = []
    with Progress(max(1, len(cases))) as progress:
        for count, (position, done) in enumerate(engine.run(cases, version), 1):
            if done.error:
                failed.append(done.error)
                if len(failed) <= _SHOWN:
                    progress.note(done.error)
            else:
                store.put(cases[position], done.octets)
            progress.advance(f"{count} of {len(cases)} cases")
    return sorted(failed)


def _cases(options: argparse.Namespace) -> list[Case]:
    given = {
        name: values.split(",")
        for name in ("topology", "way", "clients", "frames", "loss", "group", "servers")
        if (values := getattr(options, name)) is not None
    }
    if options.seeds is not None:
        if options.seeds < 1:
            raise CaseError(f"SEEDS={options.seeds}: expected 1 or more")
        given["seed"] = [str(seed) for seed in range(1, options.seeds + 1)]
    return grid(options.model, given)


def _engine(options: argparse.Namespace) -> Engine:
    if (options.engine == "dask") != (options.scheduler is not None):
        raise CaseError("ENGINE=dask and SCHEDULER=tcp://host:port: expected both or neither")
    if options.engine == "dask":
        return Dask(options.scheduler)
    return Serial() if options.engine == "serial" else Processes(options.workers)


def _tell(summary: dict[str, Any]) -> None:
    failed = summary["failed"]
    print(
        f"{summary['worked_out']} cases worked out in {summary['seconds']:.1f} s, "
        f"{summary['were_there']} were there, {len(failed)} failed"
    )
    for error in failed[:_SHOWN]:
        print(f"  {error}")
