"""``make report``: one page over all runs of a folder, results/reference unless told otherwise.

It is made of the runs' records and summaries alone, and needs nothing but itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments.evidence import table as claims_table
from experiments.evidence.document import figure as expected_figure
from experiments.evidence.judge import Judgement, judge
from experiments.records import headlines
from experiments.records.record import (
    Figure,
    Record,
    RecordError,
    Summary,
    Table,
    load_record,
    load_summary,
    write_atomically,
)
from experiments.reports.losses import losses
from experiments.reports.pages import render
from experiments.reports.report import REPORT_NAME, inline, load_units, pictures, topology

TABLES = (
    *("The ladder", "Where the gap comes from", "What was asked for", "Relay against hub"),
    *("Beside what people run instead", "What each server carries, holds and costs"),
)
"""Titles of the tables of records that the page shows."""


@dataclass(frozen=True)
class Section:
    """One run on the page: its drawings (SVG, caption), its topology (SVG, words, units), its tables."""

    name: str
    record: Record
    summary: Summary
    drawings: tuple[tuple[str, str], ...]
    network: tuple[str, str, str]
    tables: tuple[Table, ...]

    @property
    def made(self) -> str:
        """Says what made it, when and at which commit."""
        record = self.record
        changed = " with uncommitted changes" if record.dirty else ""
        return f"{record.started[:16].replace('T', ' ')} UTC, commit {record.commit}{changed}"

    @property
    def command(self) -> str:
        """Returns the command line, as arguments of ``python -m experiments``."""
        return " ".join(self.record.argv)

    @property
    def headline(self) -> dict[str, Figure]:
        """Returns the estimated figures that stand for the run."""
        return headlines.ratios(self.record.topo, self.summary.figures)

    @property
    def exact(self) -> int:
        """Counts the figures that are exact."""
        return sum(one.low == one.high for one in self.summary.figures.values())


def write(folder: Path) -> Path:
    """Writes the page into the folder; RecordError when there is no run in it, or a broken one."""
    with tempfile.TemporaryDirectory(prefix="overview-") as scratch:
        sections = list(_sections(folder, Path(scratch)))
    if not sections:
        raise RecordError(f"{folder}: expected folders of runs, with record.json or record.json.gz")
    summaries = {section.name: section.summary for section in sections}
    html = render(
        "overview.html",
        sections=sections,
        judgements=_judgements(summaries),
        figure=expected_figure,
        losses=list(losses(summaries)),
        machines=_machines(sections),
        title="all kept runs",
    )
    path = folder / REPORT_NAME
    write_atomically(path, html.encode())
    return path


def _sections(folder: Path, scratch: Path) -> Iterator[Section]:
    for place in _ordered(folder):
        record, summary = load_record(place), load_summary(place)
        own = scratch / place.name
        own.mkdir()
        drawn = [one for some in pictures(record, summary, own).values() for one in some]
        yield Section(
            place.name,
            record,
            summary,
            tuple((inline(one), one.caption) for one in drawn),
            (*topology(record, own), load_units(record)),
            tuple(one for one in record.tables if one.title in TABLES),
        )


_FIRST = (
    *("claims", "ladder", "planes", "peers", "single"),
    *("subgroups", "multicast", "multiserver", "cascade"),
)


def _ordered(folder: Path) -> list[Path]:
    """Returns the runs of a folder, loads first, then by embodiment, then all others by name."""
    places = folder.iterdir() if folder.is_dir() else ()
    found = [
        place
        for place in places
        if any((place / f"record.json{ending}").exists() for ending in ("", ".gz"))
    ]

    def rank(place: Path) -> tuple[int, str]:
        return (_FIRST.index(place.name) if place.name in _FIRST else len(_FIRST)), place.name

    return sorted((place for place in found if place.name != "claims"), key=rank)


def _judgements(summaries: Mapping[str, Summary]) -> list[Judgement]:
    """Judges every row of the table of claims by the runs that are there."""
    return [judge(row, summaries, {}) for row in claims_table.load().rows]


def _machines(sections: list[Section]) -> dict[str, list[str]]:
    """Returns what the runs ran on, and which ran there."""
    found: dict[str, list[str]] = {}
    for section in sections:
        one = section.record.environment
        said = f"{one.cpu_model}, {one.cores} cores; {one.kernel}; Python {one.python}"
        found.setdefault(said, []).append(section.name)
    return found
