"""What ``make claims`` leaves: record, summary, JUnit XML and a page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from junitparser import Failure, JUnitXml, Skipped, TestCase, TestSuite

from experiments.evidence.document import figure
from experiments.evidence.judge import Judgement
from experiments.evidence.made import Made
from experiments.evidence.table import Claims
from experiments.records.record import (
    CLAIMS,
    Claim,
    Figure,
    Sample,
    Table,
    summarise,
    write_atomically,
    write_record,
    write_summary,
)
from experiments.reports.pages import render
from experiments.reports.report import REPORT_NAME
from experiments.run_folder import Found, Given, record_of

TOPIC = "claims"
JUNIT_NAME = "junit.xml"


def write(
    folder: Path, claims: Claims, judgements: Sequence[Judgement], made: Made, given: Given
) -> None:
    """Writes all of it into a run's folder."""
    found = Found(
        list(_samples(judgements, made)),
        [_rows(judgements), _runs(claims, made, quick=bool(given.parameters["quick"]))],
        dict(_figures(judgements)),
        made.invariants(),
    )
    record = record_of(given, found)
    verdicts = {
        one.row.name: Claim(one.verdict, one.evidence)
        for one in judgements
        if one.row.name in CLAIMS
    }
    against = any(one.contradicts for one in judgements)
    summary = summarise(TOPIC, found.invariants, found.figures, verdicts, contradicted=against)
    write_record(folder, record)
    write_summary(folder, summary)
    write_atomically(folder / JUNIT_NAME, junit(judgements))
    page = render(
        "claims.html",
        record=record,
        summary=summary,
        judgements=judgements,
        figure=figure,
        runs=record.tables[1],
        broken=made.broken(),
        title="claims",
    )
    write_atomically(folder / REPORT_NAME, page.encode())


def junit(judgements: Sequence[Judgement]) -> bytes:
    """Makes one test case of each row: it fails when its verdict is the opposite of the expected."""
    suite = TestSuite(TOPIC)
    for one in judgements:
        case = TestCase(one.row.name, f"blindrelay.{TOPIC}")
        case.system_out = f"{one.verdict}, {one.said}: {one.evidence}"
        if one.contradicts:
            case.result = [Failure(f"{one.verdict}, expected {one.row.expected}: {one.evidence}")]
        elif one.verdict == "inconclusive":
            case.result = [Skipped(f"inconclusive: {one.evidence}")]
        suite.add_testcase(case)
    report = JUnitXml("blindrelay")
    report.add_testsuite(suite)
    octets: bytes = report.tostring()  # type: ignore[no-untyped-call]
    return octets


def _samples(judgements: Sequence[Judgement], made: Made) -> Iterator[Sample]:
    for one in judgements:
        for value in one.values:
            labels = {"row": one.row.name, "figure": value.name}
            for name in ("value", "low", "high"):
                number = getattr(value, name)
                if math.isfinite(number):
                    yield Sample(f"claim.{name}", number, "", labels)
    for name, seconds in made.seconds.items():
        yield Sample("run.seconds", seconds, "s", {"run": name})


def _figures(judgements: Sequence[Judgement]) -> Iterator[tuple[str, Figure]]:
    """Yields the figures of the rows that rest on one alone."""
    for one in judgements:
        if len(one.values) == 1:
            (value,) = one.values
            if math.isfinite(value.low) and math.isfinite(value.high):
                yield one.row.name, Figure(value.value, value.low, value.high, 1, "")


def _rows(judgements: Sequence[Judgement]) -> Table:
    columns = ("claim", "says", "verdict", "", "found", "expected", "expected figure")
    rows = tuple(
        (
            one.row.name,
            one.row.says,
            one.verdict,
            one.said,
            one.evidence,
            one.row.expected,
            figure(one.row),
        )
        for one in judgements
    )
    return Table("Claims and what came of them", columns, rows)


def _runs(claims: Claims, made: Made, quick: bool) -> Table:
    rows = []
    for name, one in claims.runs.items():
        if name in made.folders or name in made.gone:
            folder = made.folders.get(name)
            seconds = f"{made.seconds[name]:.0f}" if name in made.seconds else "–"
            said = str(folder) if folder is not None else made.gone[name]
            rows.append((name, one.command(quick), seconds, said))
    return Table("The runs", ("run", "command", "seconds", "results"), tuple(rows))
