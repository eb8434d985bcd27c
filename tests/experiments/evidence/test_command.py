"""``make claims``: each run once, verdicts, exit codes, and the files that it leaves."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from junitparser import Failure, JUnitXml, Skipped
from msgspec import structs

from experiments import subruns
from experiments.__main__ import main
from experiments.evidence import table
from experiments.records.record import (
    Invariant,
    load_record,
    load_summary,
    write_summary,
)
from tests.experiments.reports.test_report import Balance

CHECKOUT = Path(__file__).parents[3]
REFERENCE = CHECKOUT / "results" / "reference"
ROWS = len(table.load().rows)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Gives copies of the kept summaries, in the folder in which the command then runs."""
    monkeypatch.chdir(tmp_path)
    for name in table.load().runs:
        if (REFERENCE / name).is_dir():
            (tmp_path / "kept" / name).mkdir(parents=True)
            shutil.copy(REFERENCE / name / "summary.json", tmp_path / "kept" / name)
    return Path("kept")


def result_of(said: str) -> Path:
    """Returns the folder that the last line names."""
    return Path(said.splitlines()[-1].removeprefix("results: "))


def change(folder: Path, held: bool = True, lost: float | None = None) -> None:
    """Alters a kept summary."""
    summary = load_summary(folder)
    if not held:
        broken = {**summary.invariants, "blind": Invariant(False, "packet 17 <marker>")}
        summary = structs.replace(summary, ok=False, invariants=broken)
    if lost is not None:
        old = summary.figures["frames_lost_over_changes"]
        figures = {
            **summary.figures,
            "frames_lost_over_changes": structs.replace(old, value=lost, low=lost, high=lost),
        }
        summary = structs.replace(summary, figures=figures)
    write_summary(folder, summary)


def test_the_kept_runs_show_what_is_expected(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["claims", "--kept", str(kept)]) == 0
    out = capsys.readouterr().out
    folder = result_of(out)
    assert f"{ROWS} claims and parts: 0 against what is expected" in out
    assert {path.name for path in folder.iterdir()} == {
        *("record.json", "summary.json", "samples.csv", "junit.xml", "report.html"),
    }
    summary = load_summary(folder)
    assert summary.ok
    assert summary.claims["C2"].verdict == "confirmed"
    (suite,) = JUnitXml.fromfile(str(folder / "junit.xml"))
    assert (suite.tests, suite.failures) == (ROWS, 0)
    html = (folder / "report.html").read_text(encoding="utf-8")
    balance = Balance()
    balance.feed(html)
    assert balance.open == []
    assert load_record(folder).samples


def test_a_verdict_against_what_is_expected_fails(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(kept / "subgroups", lost=3)
    assert main(["claims", "--kept", str(kept), "E2"]) == 1
    out = capsys.readouterr().out
    assert "E2.loss: refuted, contradicts what is expected: frames_lost_over_changes is 3" in out
    (suite,) = JUnitXml.fromfile(str(result_of(out) / "junit.xml"))
    failed = [case.name for case in suite if any(isinstance(one, Failure) for one in case.result)]
    assert failed == ["E2.loss"]
    assert not load_summary(result_of(out)).ok


def test_a_broken_invariant_fails_whatever_the_verdicts(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(kept / "multicast", held=False)
    assert main(["claims", "--kept", str(kept), "E3"]) == 1
    out = capsys.readouterr().out
    assert "E3: confirmed, as expected" in out
    assert "multicast.blind: packet 17 <marker>" in out
    html = (result_of(out) / "report.html").read_text(encoding="utf-8")
    assert "packet 17 &lt;marker&gt;" in html


def test_a_run_that_is_not_kept_leaves_its_rows_open(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(kept / "multicast")
    assert main(["claims", "--kept", str(kept), "E2", "E3"]) == 0
    out = capsys.readouterr().out
    assert "E3: inconclusive, open: multicast: kept has none" in out
    (suite,) = JUnitXml.fromfile(str(result_of(out) / "junit.xml"))
    assert [type(one) for case in suite for one in case.result] == [Skipped]


def test_where_no_run_is_kept_there_is_nothing_to_judge(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(kept / "multicast")
    assert main(["claims", "--kept", str(kept), "E3"]) == 2
    said = capsys.readouterr().err
    assert said == "claims: kept: expected folders of runs in it, some of multicast\n"
    assert not Path("results").exists()


def topo_of(arguments: tuple[str, ...]) -> str:
    """Returns the topology, or the command where it has none."""
    return arguments[arguments.index("--topo") + 1] if "--topo" in arguments else arguments[0]


class Runs:
    """Stands in for the experiments: leaves kept summaries, or an exit code and nothing."""

    def __init__(self, kept: Path, codes: dict[str, int]) -> None:
        self.kept = kept
        self.codes = codes
        self.started: list[tuple[str, ...]] = []

    def run(self, arguments: tuple[str, ...]) -> subruns.Ended:
        self.started.append(tuple(arguments))
        topo = topo_of(arguments)
        code = self.codes.get(topo, 0)
        return subruns.Ended(code, 1.5, None if code else self.kept / topo)


@pytest.fixture
def runs(kept: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    made = Runs(kept, {})
    monkeypatch.setattr(subruns, "run", made.run)
    return made


def test_each_run_is_made_once_however_many_claims_need_it(
    runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["claims", "--quick", "C1", "C3", "E3", "E4"]) == 0
    topos = [topo_of(arguments) for arguments in runs.started]
    assert topos == ["single", "multicast", "multiserver", "cascade"]
    assert all("--quick" in arguments for arguments in runs.started)
    record = load_record(result_of(capsys.readouterr().out))
    assert {sample.labels["run"] for sample in record.samples if sample.name == "run.seconds"} == (
        set(topos)
    )


def test_a_run_that_breaks_off_fails_and_one_that_the_machine_cannot_does_not(
    runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    runs.codes["multicast"] = 3
    assert main(["claims", "--quick", "E3", "E2"]) == 0
    assert "E3: inconclusive, open: multicast: this machine cannot" in capsys.readouterr().out
    runs.codes["multicast"] = 1
    assert main(["claims", "--quick", "E3", "E2"]) == 1
    assert "multicast.run: ended with exit code 1 and no results" in capsys.readouterr().out


def test_where_the_machine_can_do_none_of_it_the_code_is_3(runs: Runs) -> None:
    runs.codes.update({"multicast": 3})
    assert main(["claims", "--quick", "E3"]) == 3


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["X7"], "X7: expected C1"), (["--kept", "nowhere"], "nowhere: expected a folder")],
)
def test_a_mistake_is_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["claims", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("claims: ")
    assert said in line
