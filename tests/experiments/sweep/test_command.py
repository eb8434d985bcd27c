"""A sweep from its command line: tables, what was there already, what does not fit."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import signal
from pathlib import Path

import psutil
import pytest

from experiments.__main__ import main
from experiments.records.record import load_record, load_summary
from tests.experiments.runs import Ended, started
from tests.nodes.running import eventually

WORLD = ("sweep", "--model", "world", "--way", "single,multicast", "--clients", "2,3")
GRID = (*WORLD, "--loss", "0,0.05", "--seeds", "2", "--engine", "serial")


def files(folder: Path) -> dict[str, bytes]:
    """Returns what is in the store."""
    store = folder / "results" / "sweep" / "cases"
    return {path.name: path.read_bytes() for path in sorted(store.rglob("*.json"))}


def swept(folder: Path, *arguments: str) -> Ended:
    """Sweeps in this process, below ``folder``."""
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(io.StringIO()) as output,
        contextlib.redirect_stderr(io.StringIO()) as errors,
    ):
        patch.chdir(folder)
        code = main(list(arguments))
    return Ended(code, output.getvalue(), errors.getvalue())


def lives(process: psutil.Process) -> bool:
    return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sweep of 16 cases, one after the other."""
    folder = tmp_path_factory.mktemp("serial")
    ended = swept(folder, *GRID)
    assert ended.code == 0, ended
    assert "16 cases worked out" in ended.output
    assert ended.folder.is_relative_to("results/sweep")
    assert "16 of 16 cases" in ended.errors
    return folder


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "results" / "sweep" / "latest" / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_tables_are_tidy(serial: Path) -> None:
    cases = rows(serial, "cases.csv")
    assert len(cases) == 16 * 8
    keys = {(row["way"], row["clients"], row["loss"], row["seed"], row["field"]) for row in cases}
    assert len(keys) == len(cases)
    assert {row["exactness"] for row in cases} == {"exact"}
    summary = rows(serial, "summary.csv")
    assert len(summary) == 8 * 7, "a trace has no mean"
    (due,) = [
        row
        for row in summary
        if (row["way"], row["clients"], row["loss"], row["field"])
        == ("single", "3", "0.05", "deliveries_due")
    ]
    assert (due["seeds"], due["mean"], due["low"]) == ("2", "78.0", "78")


def test_the_record_has_what_tells_and_two_sweeps_are_compared_by_it(serial: Path) -> None:
    run = serial / "results" / "sweep" / "latest"
    summary, record = load_summary(run), load_record(run)
    assert summary.ok
    assert (
        summary.figures["mean.deliveries_due clients=3 frames=2 loss=0.05 way=single"].value == 78
    )
    assert len([name for name in summary.figures if name.startswith("mean.")]) == 8 * 4
    assert len(record.samples) == 16 * 4
    assert record.parameters["swept loss"] == "0.0,0.05"
    ended = swept(serial, "compare", str(run), str(run))
    assert ended.code == 0, ended
    assert "33 of 33 counts are equal" in ended.output


def test_a_sweep_that_was_killed_goes_on(serial: Path, tmp_path: Path) -> None:
    """The one that is killed has so many seeds that it is in the middle of them for long."""
    with started(tmp_path, *WORLD, "--loss", "0,0.05", "--seeds", "1000") as process:
        assert eventually(lambda: len(files(tmp_path)) > 2, 120)
        workers = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
    assert workers
    assert eventually(lambda: not any(map(lives, workers)), 60), "none outlives it"
    there = files(tmp_path).keys() & files(serial).keys()
    assert 0 < len(there) < 16
    ended = swept(tmp_path, *GRID)
    assert ended.code == 0, ended
    figures = load_summary(tmp_path / ended.folder).figures
    assert figures["were_there"].value == len(there)
    assert figures["worked_out"].value == 16 - len(there)
    assert files(tmp_path).items() >= files(serial).items()
    assert rows(tmp_path, "cases.csv") == rows(serial, "cases.csv")


def test_what_does_not_fit_fails_alone(serial: Path) -> None:
    arguments = (
        "sweep",
        "--model",
        "world",
        "--way",
        "multicast",
        "--clients",
        "2,49",
        "--loss",
        "0",
    )
    ended = swept(serial, *arguments, "--engine", "serial")
    assert ended.code == 1
    assert "0 cases worked out" in ended.output
    assert "2 were there, 2 failed" in ended.output
    assert "clients: expected 2 to" in ended.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nosuch"], "MODEL=nosuch: expected one of"),
        (["--loss", "0"], "MODEL=scale: loss: expected some of"),
        (["--clients", "few"], "clients: few: expected a number"),
        (["--seeds", "0"], "--seeds: expected a whole number from 1, got 0"),
        (["--dataplane", "wifi"], "DATAPLANE=wifi: expected one that was measured: "),
        (["--run-length", "0"], "expected 1 or more"),
        (["--engine", "dask"], "expected both or neither"),
        (["--scheduler", "tcp://a:1"], "expected both or neither"),
        (["--engine", "dask", "--scheduler", "a"], "SCHEDULER=a: expected tcp://host:port"),
        (["--engine", "ray"], "--engine"),
        (["--workers", "0"], "--workers: expected a whole number from 1, got 0"),
    ],
)
def test_a_usage_error_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["sweep", *arguments])
    except SystemExit as ended:
        code = int(ended.code or 0)
    said = capsys.readouterr().err
    assert code == 2
    assert message in said
    assert said.count("\n") == 1


def test_without_a_scheduler_the_machine_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("experiments.sweep.engines.CONNECT_SECONDS", 0.3)
    assert main(["sweep", "--engine", "dask", "--scheduler", "tcp://127.0.0.1:1"]) == 3
    assert "no Dask scheduler answers" in capsys.readouterr().err
