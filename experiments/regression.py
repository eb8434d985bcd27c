"""Runs every topology's quick experiment and tells, as JUnit XML, what no longer holds.

One test case is an invariant, a claim, or a count of the scripted probe frames: the packets that carried
them at each node, the frames each terminal got, the rows of tables. Counts are compared exactly with those
kept in results/reference; ratios and times never decide anything.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
from junitparser import Failure, JUnitXml, Skipped, TestCase, TestSuite

from experiments import subruns
from experiments.records.record import (
    COUNT,
    Claim,
    Invariant,
    RecordError,
    Summary,
    load_summary,
    write_atomically,
)

TOPOLOGIES = ("single", "subgroups", "multicast", "multiserver", "cascade")
COUNTS = Path("results/reference/counts.json")
REPORT = Path("results/regression.xml")
EXIT_HELD, EXIT_BROKEN, EXIT_USAGE, EXIT_MACHINE = range(4)

Counts = dict[str, int]


class RegressionError(RuntimeError):
    """Says which file or run does not serve."""


def run(options: argparse.Namespace) -> int:
    """Runs the command line; returns the exit code."""
    for topo in options.topos:
        if topo not in TOPOLOGIES:
            expected = ", ".join(TOPOLOGIES)
            print(f"regression: {topo}: expected some of {expected}", file=sys.stderr)
            return EXIT_USAGE
    try:
        kept = read_counts(COUNTS)
        suites = []
        for topo in options.topos or TOPOLOGIES:
            summary, code = run_one(topo)
            if code == EXIT_MACHINE:
                return EXIT_MACHINE
            if options.accept and summary is not None and summary.ok:
                kept[topo] = counts_of(summary)
            suites.append(suite_of(topo, summary, code, kept.get(topo)))
        if options.accept:
            write_atomically(COUNTS, msgspec.json.format(msgspec.json.encode(kept)) + b"\n")
    except RegressionError as error:
        print(f"regression: {error}", file=sys.stderr)
        return EXIT_USAGE
    report = JUnitXml("blindrelay")
    for suite in suites:
        report.add_testsuite(suite)
    REPORT.parent.mkdir(exist_ok=True)
    report.write(str(REPORT), pretty=True)
    return _tell(suites)


def run_one(topo: str) -> tuple[Summary | None, int]:
    """Runs one quick experiment as a user would; its summary (None: it left none) and exit code."""
    ended = subruns.run(["run", "--quick", "--topo", topo])
    if ended.folder is None:
        return None, ended.code
    try:
        return load_summary(ended.folder), ended.code
    except RecordError as error:
        raise RegressionError(str(error)) from None


def counts_of(summary: Summary) -> Counts:
    """Returns the counts of scripted frames that a summary has."""
    return {
        name.removeprefix(COUNT): round(figure.value)
        for name, figure in summary.figures.items()
        if name.startswith(COUNT)
    }


def suite_of(topo: str, summary: Summary | None, code: int, kept: Counts | None) -> TestSuite:
    """Makes the test cases of one topology."""
    suite = TestSuite(topo)
    cases: list[TestCase] = []
    if summary is None:
        cases.append(_case(topo, "run", Failure(f"ended with exit code {code} and no results")))
    else:
        cases += _invariant_cases(topo, summary.invariants)
        cases += _claim_cases(topo, summary.claims)
        cases += _count_cases(topo, counts_of(summary), kept)
    suite.add_testcases(cases)
    return suite


def read_counts(path: Path) -> dict[str, Counts]:
    """Reads the counts that are kept; raises RegressionError when the file is broken."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Counts])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        raise RegressionError(f"{path}: {error}") from None


def _invariant_cases(topo: str, invariants: Mapping[str, Invariant]) -> Iterable[TestCase]:
    for name, invariant in invariants.items():
        yield _case(topo, name, None if invariant.held else Failure(invariant.detail))


def _claim_cases(topo: str, claims: Mapping[str, Claim]) -> Iterable[TestCase]:
    """Only what is shown by structure can fail: an effect's figure may be another on each machine."""
    for name, claim in claims.items():
        if claim.verdict == "not tested":
            yield _case(topo, name, Skipped("not tested here"))
        elif claim.verdict == "refuted" and name.startswith("C"):
            yield _case(topo, name, Failure(claim.evidence))
        else:
            yield _case(topo, name, None, f"{claim.verdict}: {claim.evidence}")


def _count_cases(topo: str, counts: Counts, kept: Counts | None) -> Iterable[TestCase]:
    if kept is None:
        yield _case(topo, "counts", Failure(f"{COUNTS} has none for {topo}"))
        return
    for name in sorted(counts.keys() | kept.keys()):
        now, then = counts.get(name), kept.get(name)
        text = f"{'none' if now is None else now}, expected {'none' if then is None else then}"
        yield _case(topo, f"count {name}", None if now == then else Failure(text))


def _case(topo: str, name: str, result: Failure | Skipped | None, said: str = "") -> TestCase:
    case = TestCase(name, f"blindrelay.{topo}")
    if result is not None:
        case.result = [result]
    if said:
        case.system_out = said
    return case


def _tell(suites: Sequence[TestSuite]) -> int:
    broken = 0
    for suite in suites:
        for case in suite:
            for result in case.result:
                if isinstance(result, Failure):
                    broken += 1
                    print(f"{suite.name}: {case.name}: {result.message}")
    total = sum(1 for suite in suites for _ in suite)
    print(f"{total} checks, {broken} broken: {REPORT}")
    return EXIT_BROKEN if broken else EXIT_HELD
