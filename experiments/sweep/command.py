"""``make sweep``: all combinations of seeds, topologies, ways and sizes, each worked out once.

Exit codes: 0 all cases worked out, 1 some could not be, 2 usage, 3 no scheduler or no fit workers.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence

from experiments.isolation import MachineError, orderly_termination
from experiments.progress import Progress
from experiments.records import figures as figures_of
from experiments.records.environment import describe_checkout
from experiments.records.record import Figure, Invariant, Table, write_atomically
from experiments.run_folder import RESULTS, Found, Given, create_run_folder, tell, write_run
from experiments.scale.coefficients import named
from experiments.sweep.cases import KINDS, Case, CaseError, code_version, grid
from experiments.sweep.engines import Dask, Engine, EngineError, Processes, Serial
from experiments.sweep.store import Store
from experiments.sweep.tables import (
    Worked,
    cases_csv,
    headline_figures,
    headline_samples,
    summary_csv,
)
from simulator.scale.costs import UnfittedError

TOPIC = "sweep"
CASES = "cases"
EXIT_USAGE = 2
_SHOWN = 5


def run(options: argparse.Namespace) -> int:
    """Works out what is not there yet, and writes the tables; returns the exit code."""
    try:
        cases, engine = _cases(options), _engine(options)
    except CaseError as error:
        print(f"{TOPIC}: {error}", file=sys.stderr)
        return EXIT_USAGE
    version = code_version()
    given, begin = _given(options, cases, version), time.monotonic()
    store = Store(RESULTS / TOPIC / CASES, version)
    missing = [case for case in cases if store.get(case) is None]
    there = len(cases) - len(missing)
    print(f"{len(cases)} cases, {there} of them there already", file=sys.stderr)
    try:
        with orderly_termination():
            failed = fill(store, missing, engine, version) if missing else []
    except EngineError as error:
        raise MachineError(f"{TOPIC}: {error}") from error
    worked = [(case, fields) for case in cases if (fields := store.get(case)) is not None]
    amounts = {
        "cases": figures_of.exact(len(cases), "cases"),
        "were_there": figures_of.exact(there, "cases"),
        "worked_out": figures_of.exact(len(missing) - len(failed), "cases"),
        "failed": figures_of.exact(len(failed), "cases"),
        "seconds": figures_of.exact(time.monotonic() - begin, "s"),
    }
    folder = create_run_folder(RESULTS, TOPIC, describe_checkout())
    write_atomically(folder / "cases.csv", cases_csv(worked).encode())
    write_atomically(folder / "summary.csv", summary_csv(worked).encode())
    summary = write_run(folder, given, _found(options.model, worked, amounts, failed))
    _tell(amounts)
    return tell(folder, summary)


def _given(options: argparse.Namespace, cases: Sequence[Case], version: str) -> Given:
    """Returns what the record says was asked for: each axis as it was swept."""
    axes: dict[str, dict[str, None]] = {}
    for case in cases:
        for name, value in case.parameters:
            axes.setdefault(f"swept {name}", {})[str(value)] = None
    swept = {name: ",".join(values) for name, values in axes.items()}
    parameters = {"model": options.model, "engine": options.engine, "version": version, **swept}
    return Given(TOPIC, {}, parameters, seed=1)


def _found(
    model: str, worked: Worked, amounts: Mapping[str, Figure], failed: Sequence[str]
) -> Found:
    telling = KINDS[model].telling
    rows = tuple((error,) for error in failed)
    return Found(
        list(headline_samples(worked, telling)),
        [Table("What does not fit", ("case",), rows)] if failed else [],
        {**amounts, **dict(headline_figures(worked, telling))},
        {"every_case_is_worked_out": _complete(amounts, failed)},
    )


def _complete(amounts: Mapping[str, Figure], failed: Sequence[str]) -> Invariant:
    shown = "; ".join(failed[:_SHOWN])
    more = f" and {len(failed) - _SHOWN} more" if len(failed) > _SHOWN else ""
    detail = f"{amounts['cases'].value:.0f} cases" + (
        f", not these: {shown}{more}" if failed else ""
    )
    return Invariant(not failed, detail)


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
        for name in (
            *("topology", "way", "clients", "frames", "loss", "group", "servers"),
            "run_length",
        )
        if (values := getattr(options, name)) is not None
    }
    if options.dataplane is not None:
        try:
            given["dataplane"] = [named(plane) for plane in options.dataplane.split(",")]
        except UnfittedError as error:
            raise CaseError(str(error)) from error
    if options.seeds is not None:
        given["seed"] = [str(seed) for seed in range(1, options.seeds + 1)]
    return grid(options.model, given)


def _engine(options: argparse.Namespace) -> Engine:
    if (options.engine == "dask") != (options.scheduler is not None):
        raise CaseError("ENGINE=dask and SCHEDULER=tcp://host:port: expected both or neither")
    if options.engine == "dask":
        return Dask(options.scheduler)
    return Serial() if options.engine == "serial" else Processes(options.workers)


def _tell(amounts: Mapping[str, Figure]) -> None:
    print(
        f"{amounts['worked_out'].value:.0f} cases worked out in {amounts['seconds'].value:.1f} s, "
        f"{amounts['were_there'].value:.0f} were there, {amounts['failed'].value:.0f} failed"
    )
