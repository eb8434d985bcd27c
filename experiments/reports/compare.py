"""``make compare RUN_A=… RUN_B=…``: two runs of one kind side by side, by their headline figures.

Exit codes: 0 when every headline figure's intervals overlap and all counts that both have are equal, 1 when
not, 2 when the runs cannot be compared. A count that one run alone has, of an older version say, is told of.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from experiments.records import headlines
from experiments.records.environment import describe_checkout
from experiments.records.record import (
    Figure,
    Record,
    RecordError,
    Summary,
    load_record,
    load_summary,
    write_atomically,
)
from experiments.reports.pages import render
from experiments.run_folder import RESULTS, create_run_folder

PAGE_NAME = "compare.html"
EXIT_AGREE, EXIT_DIFFER, EXIT_USAGE = range(3)
_MUST_BE_EQUAL = ("quick", "soak", "network", "clients", "group_size", "servers")
"""Parameters without which two runs measure different things."""


class CompareError(ValueError):
    """Says in one line why two runs cannot be compared."""


@dataclass(frozen=True)
class Run:
    """A run with the name that the user gave for it."""

    name: str
    record: Record
    summary: Summary


@dataclass(frozen=True)
class Pair:
    """One figure of both runs; None where a run does not have it."""

    name: str
    one: Figure | None
    other: Figure | None
    exact: bool

    @property
    def shared(self) -> bool:
        """Tells whether both runs have it."""
        return self.one is not None and self.other is not None

    @property
    def agrees(self) -> bool:
        """Tells whether counts are equal, or intervals have a value in common."""
        if self.one is None or self.other is None:
            return False
        if self.exact:
            return self.one.value == self.other.value
        return self.one.low <= self.other.high and self.other.low <= self.one.high

    @property
    def said(self) -> str:
        """Says how they agree."""
        if self.one is None or self.other is None:
            return "only in A" if self.other is None else "only in B"
        if self.exact:
            return "equal" if self.agrees else "differ"
        return "overlap" if self.agrees else "do not overlap"


@dataclass(frozen=True)
class Comparison:
    """What two runs have in common and what not; a difference is (what, in A, in B)."""

    one: Run
    other: Run
    ratios: tuple[Pair, ...]
    counts: tuple[Pair, ...]
    differences: tuple[tuple[str, str, str], ...]

    @property
    def agree(self) -> bool:
        """Tells whether all headline figures agree, and all counts that both runs have."""
        return all(pair.agrees for pair in (*self.ratios, *self.shared_counts))

    @property
    def shared_counts(self) -> tuple[Pair, ...]:
        """Returns the counts that both runs have."""
        return tuple(pair for pair in self.counts if pair.shared)

    def headline(self) -> str:
        """Says it in one sentence."""
        parts = []
        if self.ratios:
            overlap = sum(pair.agrees for pair in self.ratios)
            parts.append(f"{overlap} of {len(self.ratios)} intervals overlap")
        if self.counts:
            equal = sum(pair.agrees for pair in self.shared_counts)
            parts.append(f"{equal} of {len(self.shared_counts)} counts are equal")
        for letter, alone in (("A", "other"), ("B", "one")):
            count = sum(getattr(pair, alone) is None for pair in self.counts)
            if count:
                noun = "count is" if count == 1 else "counts are"
                parts.append(f"{count} {noun} in {letter} alone and not compared")
        if self.one.record.seed != self.other.record.seed:
            parts.append("seeds differ, so that counts are not compared")
        return f"{'; '.join(parts)}."


def run(options: argparse.Namespace) -> int:
    """Runs the command line; returns the exit code."""
    try:
        found = compare(load(options.run_a), load(options.run_b))
    except (CompareError, RecordError) as error:
        print(f"compare: {error}", file=sys.stderr)
        return EXIT_USAGE
    folder = create_run_folder(RESULTS, "compare", describe_checkout())
    page = render("compare.html", found=found, title=f"two runs of {found.one.record.topo}")
    write_atomically(folder / PAGE_NAME, page.encode())
    for line in text(found):
        print(line)
    print(f"results: {folder}")
    return EXIT_AGREE if found.agree else EXIT_DIFFER


def load(folder: Path) -> Run:
    """Loads a run; raises RecordError."""
    return Run(str(folder), load_record(folder), load_summary(folder))


def compare(one: Run, other: Run) -> Comparison:
    """Sets two runs side by side; raises CompareError when they are of different kinds."""
    _expect_comparable(one, other)
    kind = one.record.topo
    figures = one.summary.figures, other.summary.figures
    ratios = tuple(_pairs(*(headlines.ratios(kind, each) for each in figures), exact=False))
    counts = tuple(_pairs(*(headlines.counts(kind, each) for each in figures), exact=True))
    if not ratios and not counts:
        raise CompareError(f"cannot compare two runs of {kind}: neither has a headline figure")
    if not any(pair.shared for pair in (*ratios, *counts)):
        raise CompareError(f"cannot compare two runs of {kind}: they share no headline figure")
    if one.record.seed != other.record.seed:
        counts = ()
    differences = tuple(_differences(one.record, other.record))
    return Comparison(one, other, ratios, counts, differences)


def text(found: Comparison) -> Iterator[str]:
    """Yields what a person reads: every ratio, the counts that differ, what else is different."""
    yield f"A: {_described(found.one)}"
    yield f"B: {_described(found.other)}"
    for pair in found.ratios:
        yield f"{pair.name}: {shown(pair.one)} | {shown(pair.other)}: {pair.said}"
    for pair in found.counts:
        if not pair.agrees:
            yield f"{pair.name}: {shown(pair.one)} | {shown(pair.other)}: {pair.said}"
    for what, here, there in found.differences:
        yield f"different: {what}: {here} | {there}"
    yield found.headline()


def shown(figure: Figure | None) -> str:
    """Writes a figure with its interval, unless it is exact."""
    if figure is None:
        return "none"
    value = f"{figure.value:.10g}" if figure.low == figure.high else f"{figure.value:.4g}"
    if figure.low == figure.high:
        return value
    return f"{value} ({figure.low:.4g} to {figure.high:.4g})"


def _described(run: Run) -> str:
    record = run.record
    changed = ", uncommitted changes" if record.dirty else ""
    return f"{run.name}: {record.topo}, {record.started}, commit {record.commit}{changed}"


def _expect_comparable(one: Run, other: Run) -> None:
    here, there = one.record, other.record
    if here.topo != there.topo:
        raise CompareError(
            f"cannot compare {here.topo} with {there.topo}: expected runs of one kind"
        )
    for name in _MUST_BE_EQUAL:
        pair = here.parameters.get(name), there.parameters.get(name)
        if pair[0] != pair[1]:
            raise CompareError(
                f"cannot compare runs with {name} = {pair[0]} and {pair[1]}: expected it the same"
            )
    if here.plan != there.plan:
        raise CompareError("cannot compare runs of different networks: expected the same plan")


def _pairs(
    here: Mapping[str, Figure], there: Mapping[str, Figure], *, exact: bool
) -> Iterator[Pair]:
    for name in [*here, *(name for name in there if name not in here)]:
        yield Pair(name, here.get(name), there.get(name), exact)


def _differences(here: Record, there: Record) -> Iterator[tuple[str, str, str]]:
    """Yields what was not the same about machine, commit, settings."""
    one, other = _flat(here), _flat(there)
    for name in [*one, *(name for name in other if name not in one)]:
        if one.get(name) != other.get(name):
            yield name, str(one.get(name, "none")), str(other.get(name, "none"))


def _flat(record: Record) -> dict[str, Any]:
    found: dict[str, Any] = {"commit": record.commit, "dirty": record.dirty, "seed": record.seed}
    found |= {f"parameter {name}": value for name, value in record.parameters.items()}
    for name, value in msgspec.to_builtins(record.environment).items():
        if isinstance(value, dict):
            found |= {f"{name} {key}": one for key, one in value.items()}
        else:
            found[name] = value
    return found
