"""A run's folder: made, filled with record, summary and report, and told of on the last line of stdout."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from experiments.isolation import orderly_termination
from experiments.records.environment import (
    Checkout,
    describe_checkout,
    describe_environment,
    utc_now,
)
from experiments.records.record import (
    SCHEMA,
    Figure,
    Invariant,
    Record,
    Sample,
    Summary,
    Table,
    relative_arguments,
    summarise,
    write_record,
    write_summary,
)
from experiments.reports.report import headline, write_report

RESULTS = Path("results")
EXIT_HELD, EXIT_BROKEN = 0, 1


@dataclass(frozen=True)
class Given:
    """What a run was given, and when it began: make it where the run begins."""

    topo: str
    plan: dict[str, Any]
    parameters: dict[str, str | int | float | bool | None]
    seed: int
    started: str = field(default_factory=utc_now)


@dataclass
class Found:
    """What a run has to write down."""

    samples: list[Sample] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    figures: dict[str, Figure] = field(default_factory=dict)
    invariants: dict[str, Invariant] = field(default_factory=dict)


def make_run(
    topo: str,
    measure: Callable[[Path], Summary],
    failures: tuple[type[Exception], ...] = (),
) -> int:
    """Has a run fill a new folder of its own and tells of it; returns the exit code.

    One of the ``failures`` is one line and code 1. A folder in which nothing was written is taken away
    (`remove_if_empty`).
    """
    folder = create_run_folder(RESULTS, topo, describe_checkout())
    try:
        with orderly_termination():
            summary = measure(folder)
    except failures as error:
        print(f"{topo}: {error}", file=sys.stderr)
        return EXIT_BROKEN
    finally:
        remove_if_empty(folder)
    return tell(folder, summary)


def remove_if_empty(folder: Path) -> None:
    """Takes a run's folder away if nothing was written in it, and then its kind's if that is empty."""
    for one in (folder, folder.parent):
        if any(one.iterdir()):
            return
        one.rmdir()


def write_run(folder: Path, given: Given, found: Found) -> Summary:
    """Writes all that a run leaves into its folder; returns the summary."""
    record = record_of(given, found)
    summary = summarise(given.topo, found.invariants, found.figures, {})
    write_files(folder, record, summary)
    return summary


def record_of(given: Given, found: Found) -> Record:
    """Returns the record of a run that ends now, on this machine and with this command line."""
    checkout = describe_checkout()
    return Record(
        schema=SCHEMA,
        topo=given.topo,
        plan=given.plan,
        parameters=given.parameters,
        seed=given.seed,
        argv=relative_arguments(sys.argv[1:], Path.cwd()),
        commit=checkout.commit,
        dirty=checkout.dirty,
        environment=describe_environment(),
        started=given.started,
        ended=utc_now(),
        samples=tuple(found.samples),
        tables=tuple(found.tables),
    )


def write_files(folder: Path, record: Record, summary: Summary) -> None:
    """Writes record, summary and report."""
    write_record(folder, record)
    write_summary(folder, summary)
    write_report(folder)


def tell(folder: Path, summary: Summary) -> int:
    """Points ``latest`` at a run and says how it went, its folder on the last line; returns the exit code."""
    said = headline(summary)
    print(said.text)
    for fault in said.faults:
        print(f"  {fault}")
    show(folder)
    return EXIT_HELD if summary.ok else EXIT_BROKEN


def show(folder: Path) -> None:
    """Points ``latest`` at a run and prints its folder as the last line."""
    point_latest(folder)
    print(f"results: {folder}")


def create_run_folder(
    results: Path, topo: str, checkout: Checkout, now: datetime | None = None
) -> Path:
    """Makes a new folder ``<results>/<topo>/<UTC>-<commit>[-dirty]``.

    Where another run has just taken that name, the next free second's is used.
    """
    moment = now if now is not None else datetime.now(timezone.utc)
    suffix = checkout.commit + ("-dirty" if checkout.dirty else "")
    while True:
        folder = results / topo / f"{moment:%Y%m%dT%H%M%SZ}-{suffix}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            moment += timedelta(seconds=1)
        except FileNotFoundError:  # another run has just taken the empty folder of its kind away
            continue
        else:
            return folder


def point_latest(folder: Path) -> Path:
    """Points the link ``latest`` beside a run's folder at it, atomically."""
    link = folder.parent / "latest"
    temporary = folder.parent / f".latest-{folder.name}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(folder.name, target_is_directory=True)
    temporary.replace(link)
    return link
