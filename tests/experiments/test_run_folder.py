"""Shows how a run's folder is named, filled, told of, and taken away."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest

from experiments import run_folder
from experiments.records import figures
from experiments.records.environment import Checkout
from experiments.records.record import Invariant, Sample, Summary, Table, load_record, load_summary
from experiments.run_folder import (
    Found,
    Given,
    create_run_folder,
    make_run,
    point_latest,
    write_run,
)

NOON = datetime(2025, 1, 2, 12, 0, 59, tzinfo=timezone.utc)
GIVEN = Given("ladder", {}, {"quick": True}, 7, "2025-01-02T12:00:59.000Z")


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of results, in a checkout of its own."""
    monkeypatch.setattr(run_folder, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


def found(held: bool = True) -> Found:
    """A little of everything."""
    return Found(
        [Sample("cost", 2.5, "ns")],
        [Table("Costs", ("what", "ns"), (("relay", 2.5),))],
        {"cost": figures.exact(2.5, "ns")},
        {"counts_come_out": Invariant(held, "3 of 3" if held else "2 of 3")},
    )


@pytest.mark.parametrize("held", [True, False])
def test_a_run_is_written_and_told_of(
    results: Path, capsys: pytest.CaptureFixture[str], held: bool
) -> None:
    assert make_run("ladder", lambda folder: write_run(folder, GIVEN, found(held))) == (not held)
    latest = results / "ladder" / "latest"
    record, summary = load_record(latest), load_summary(latest)
    assert (record.topo, record.seed, record.parameters) == ("ladder", 7, {"quick": True})
    assert record.started == GIVEN.started < record.ended
    assert (record.samples[0].value, record.tables[0].title) == (2.5, "Costs")
    assert (summary.topo, summary.ok) == ("ladder", held)
    assert (latest / "report.html").stat().st_size > 1_000
    first, *between, last = capsys.readouterr().out.splitlines()
    assert first == ("The one invariant held." if held else "1 of 1 invariants does not hold.")
    assert between == ([] if held else ["  counts_come_out: 2 of 3"])
    assert last == f"results: {latest.resolve()}"


def test_a_failure_is_one_line_and_leaves_no_folder(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: Path) -> Summary:
        raise LookupError("r1: expected it to come up")

    assert make_run("ladder", fail, (LookupError,)) == 1
    assert capsys.readouterr().err == "ladder: r1: expected it to come up\n"
    with pytest.raises(LookupError):
        make_run("ladder", fail)
    assert not (results / "ladder").exists()


def test_a_failure_leaves_other_runs_of_its_kind(results: Path) -> None:
    def fail(_: Path) -> Summary:
        raise LookupError("r1")

    make_run("ladder", lambda folder: write_run(folder, GIVEN, found()))
    before = set((results / "ladder").iterdir())
    assert make_run("ladder", fail, (LookupError,)) == 1
    assert set((results / "ladder").iterdir()) == before


def test_what_was_written_before_a_failure_is_kept(results: Path) -> None:
    def fail(folder: Path) -> Summary:
        (folder / "outside.pcapng").write_bytes(b"1")
        raise LookupError("r1")

    assert make_run("ladder", fail, (LookupError,)) == 1
    (kept,) = (results / "ladder").iterdir()
    assert (kept / "outside.pcapng").exists()


def test_a_run_folder_tells_time_commit_and_dirt(tmp_path: Path) -> None:
    clean = create_run_folder(tmp_path, "single", Checkout("abc123", False), NOON)
    dirty = create_run_folder(tmp_path, "single", Checkout("abc123", True), NOON)
    assert clean.relative_to(tmp_path).as_posix() == "single/20250102T120059Z-abc123"
    assert dirty.name == "20250102T120059Z-abc123-dirty"


def test_two_runs_in_one_second_get_folders_of_their_own(tmp_path: Path) -> None:
    names = [
        create_run_folder(tmp_path, "single", Checkout("nogit", False), NOON).name for _ in range(2)
    ]
    assert names == ["20250102T120059Z-nogit", "20250102T120100Z-nogit"]


def test_latest_moves_on_to_the_newest_run(tmp_path: Path) -> None:
    for minute in (1, 2):
        moment = NOON.replace(minute=minute)
        folder = create_run_folder(tmp_path, "single", Checkout("nogit", False), moment)
        link = point_latest(folder)
        assert link.is_symlink()
        assert link.resolve() == folder
    assert link == tmp_path / "single" / "latest"
    assert len(list(link.parent.iterdir())) == 3
