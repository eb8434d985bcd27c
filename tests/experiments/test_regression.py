"""What is a regression: a changed count, a broken invariant, a refuted claim; never a ratio."""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from junitparser import Failure, JUnitXml, Skipped, TestCase

from experiments import regression
from experiments.__main__ import main
from experiments.records.record import Claim, Figure, Invariant, Summary, summarise, write_summary
from experiments.regression import COUNTS, REPORT, TOPOLOGIES, counts_of, suite_of
from topologies.catalog import CATALOG

HELD = {"delivered": Invariant(True, "12 of 12"), "blind": Invariant(True, "not found")}
COUNTED = {"packets.a-out": 30, "rows.a.507": 4}


def exact(value: float, unit: str = "count") -> Figure:
    """Makes the figure of a count."""
    return Figure(value, value, value, 1, unit)


def summary(
    invariants: Mapping[str, Invariant] = HELD,
    counts: Mapping[str, int] = COUNTED,
    claims: Mapping[str, Claim] | None = None,
    ratio: float = 2.0,
) -> Summary:
    """Makes what a run says."""
    figures = {f"count.{name}": exact(value) for name, value in counts.items()}
    figures["hub_over_relay"] = Figure(ratio, ratio - 0.1, ratio + 0.1, 30, "ratio")
    figures["relay_datagrams_in"] = exact(1000 * ratio, "datagrams")
    verdicts = {"C1": Claim("confirmed", "held")} if claims is None else dict(claims)
    return summarise("single", dict(invariants), figures, verdicts)


def cases(
    run: Summary | None, code: int = 0, kept: dict[str, int] | None = COUNTED
) -> dict[str, str]:
    """Tells of every test case how it ended: ok, skipped, or the failure's words."""
    return {str(case.name): ended(case) for case in suite_of("single", run, code, kept)}


def ended(case: TestCase) -> str:
    for found in case.result:
        if isinstance(found, Skipped):
            return "skipped"
        if isinstance(found, Failure):
            return str(found.message)
    return "ok"


def failed(run: Summary | None, kept: dict[str, int] | None = COUNTED) -> dict[str, str]:
    """Gives the failed cases alone."""
    return {name: how for name, how in cases(run, 0, kept).items() if how not in ("ok", "skipped")}


def test_a_run_as_it_should_be_has_a_case_for_each_invariant_claim_and_count() -> None:
    found = cases(summary())
    assert failed(summary()) == {}
    assert found.keys() >= {"delivered", "blind", "C1", "C11", "E1", "E5"}
    assert found.keys() >= {"count packets.a-out", "count rows.a.507"}
    assert (found["C1"], found["E4"]) == ("ok", "skipped")


def test_a_broken_invariant_fails_with_what_was_seen() -> None:
    run = summary({**HELD, "blind": Invariant(False, "packet 17")})
    assert failed(run) == {"blind": "packet 17"}


@pytest.mark.parametrize("name", ["C1", "C10", "C11"])
def test_a_refuted_claim_of_structure_fails(name: str) -> None:
    assert failed(summary(claims={name: Claim("refuted", "it did not")})) == {name: "it did not"}


@pytest.mark.parametrize("verdict", ["confirmed", "refuted", "inconclusive"])
@pytest.mark.parametrize("name", ["E1", "E2", "E3", "E4", "E5"])
def test_an_effect_never_fails(name: str, verdict: str) -> None:
    run = summary(claims={name: msgspec.convert({"verdict": verdict, "evidence": "x"}, Claim)})
    assert cases(run)[name] == "ok"


def test_an_inconclusive_claim_does_not_fail() -> None:
    assert failed(summary(claims={"C1": Claim("inconclusive", "")})) == {}


@pytest.mark.parametrize("ratio", [0.5, 1.0, 9.0])
def test_ratios_and_counts_of_traffic_never_fail(ratio: float) -> None:
    assert failed(summary(ratio=ratio)) == {}


@pytest.mark.parametrize("now", [29, 31])
def test_a_changed_count_fails_and_says_both(now: int) -> None:
    run = summary(counts={**COUNTED, "packets.a-out": now})
    assert failed(run) == {"count packets.a-out": f"{now}, expected 30"}


def test_a_count_that_is_new_or_gone_fails() -> None:
    run = summary(counts={"packets.a-out": 30, "packets.b-out": 2})
    assert failed(run) == {
        "count packets.b-out": "2, expected none",
        "count rows.a.507": "none, expected 4",
    }


def test_a_topology_without_counts_to_compare_with_fails() -> None:
    assert failed(summary(), None) == {"counts": f"{COUNTS} has none for single"}


def test_a_run_without_results_fails_and_says_its_exit_code() -> None:
    assert cases(None, 1) == {"run": "ended with exit code 1 and no results"}


def test_only_scripted_counts_are_kept() -> None:
    assert counts_of(summary()) == COUNTED


def test_every_topology_that_can_be_run_is_in_the_regression() -> None:
    assert set(TOPOLOGIES) == set(CATALOG)


# -- the command


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Gives a folder in which the command runs, with counts to compare with."""
    monkeypatch.chdir(tmp_path)
    COUNTS.parent.mkdir(parents=True)
    COUNTS.write_bytes(msgspec.json.encode({"single": COUNTED, "cascade": {"rows.a.507": 9}}))
    return tmp_path


def ran(monkeypatch: pytest.MonkeyPatch, run: Summary | None, *options: str, code: int = 0) -> int:
    """Runs the command with a run that ends so; returns the exit code."""
    monkeypatch.setattr(regression, "run_one", lambda _: (run, code))
    return regression.run(argparse.Namespace(topos=["single"], accept="--accept" in options))


def test_the_report_is_junit_that_others_read_back(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = summary({**HELD, "blind": Invariant(False, "<packet> & more")})
    assert ran(monkeypatch, run) == 1
    (suite,) = JUnitXml.fromfile(str(checkout / REPORT))
    assert (suite.name, suite.failures, suite.skipped) == ("single", 1, 15)
    assert suite.tests == len(cases(run))
    found = {case.name: case for case in suite}
    assert {case.classname for case in suite} == {"blindrelay.single"}
    assert ended(found["blind"]) == "<packet> & more"
    assert found["C1"].system_out == "confirmed: held"
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "single: blind: <packet> & more"
    assert lines[-1] == f"{len(found)} checks, 1 broken: {REPORT}"


@pytest.mark.usefixtures("checkout")
def test_exit_codes_tell_held_broken_and_machine_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ran(monkeypatch, summary()) == 0
    assert ran(monkeypatch, summary(counts={})) == 1
    assert ran(monkeypatch, None, code=1) == 1
    # A run whose verdicts contradict ends with 1, which its cases tell where it matters.
    assert ran(monkeypatch, summary(), code=1) == 0


def test_a_machine_that_cannot_ends_with_3_and_leaves_no_report(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ran(monkeypatch, None, code=3) == 3
    assert not (checkout / REPORT).exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"single": {"rows": "four"}}', '{"single": 4}'])
def test_broken_counts_are_one_line_and_exit_2(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (checkout / COUNTS).write_text(text)
    assert ran(monkeypatch, summary()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"regression: {COUNTS}: ")
    assert not (checkout / REPORT).exists()


def test_without_a_file_of_counts_each_topology_says_that_it_has_none(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkout / COUNTS).unlink()
    assert ran(monkeypatch, summary()) == 1
    assert f"{COUNTS} has none for single" in capsys.readouterr().out


def test_accepting_keeps_this_runs_counts_and_leaves_the_others(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = summary(counts={"packets.a-out": 31})
    assert ran(monkeypatch, changed, "--accept") == 0
    kept = msgspec.json.decode((checkout / COUNTS).read_bytes())
    assert kept == {"single": {"packets.a-out": 31}, "cascade": {"rows.a.507": 9}}
    assert ran(monkeypatch, changed) == 0
    assert ran(monkeypatch, summary()) == 1


def test_a_run_is_started_as_a_user_would_and_its_last_line_names_the_results(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkout / "results" / "single" / "now"
    folder.mkdir(parents=True)
    write_summary(folder, summary())
    started: list[list[str]] = []

    def run(argv: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        started.append(argv)
        said = "All held.\nresults: results/single/now\n" if len(started) == 1 else "cannot\n"
        return subprocess.CompletedProcess(argv, len(started) - 1, said)

    monkeypatch.setattr(subprocess, "run", run)
    assert regression.run_one("single") == (summary(), 0)
    assert regression.run_one("cascade") == (None, 1)
    assert started[0][1:] == ["-m", "experiments", "run", "--quick", "--topo", "single"]


def test_results_that_cannot_be_read_are_one_line_and_exit_2(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = subprocess.CompletedProcess([], 0, "results: results/nowhere\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    assert regression.run(argparse.Namespace(topos=["single"], accept=False)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("regression: results/nowhere: ")


def test_an_unknown_topology_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["regression", "single", "nosuch"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"regression: nosuch: expected some of {', '.join(TOPOLOGIES)}"
