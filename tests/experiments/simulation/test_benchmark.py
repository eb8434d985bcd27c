"""The simulator's benchmark counts what it has done, and its bars judge what it has measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.__main__ import main
from experiments.records import headlines
from experiments.records.record import load_record, load_summary
from experiments.simulation import benchmark
from protocol.client.transfer import Transfer
from protocol.errors import DropReason


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Makes the benchmark small, and has it write in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(benchmark, "MANY", {True: 5})
    monkeypatch.setattr(benchmark, "REPETITIONS", {True: 2})
    monkeypatch.setattr(benchmark, "FRAMES", 12)
    monkeypatch.setattr(benchmark, "EVENTS", 1_000)
    return tmp_path / "results" / "simbench" / "latest"


def test_a_run_counts_every_frame_and_judges_its_bars(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simbench", "--quick"]) == 0
    summary = load_summary(small)
    assert all(one.held for one in summary.invariants.values())
    assert summary.figures["many_clients_deliveries"].value == 5 * 4 + 5
    assert summary.figures["frames_a_second"].n == summary.figures["events_a_second"].n == 2
    assert summary.figures["frame_in_events"].n == 2
    assert summary.figures["frame_in_events"].value > 1
    assert set(headlines.ratios("simbench", summary.figures)) == {"frame_in_events"}
    (bars,) = load_record(small).tables
    assert [row[0] for row in bars.rows] == ["frames_a_second", "many_clients_seconds"]
    assert bars.rows[1][-1] == "not judged: a quick run has fewer"
    assert "results: " in capsys.readouterr().out.splitlines()[-1]


def test_a_frame_that_is_not_opened_is_missed(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Transfer.open
    opened = [0]

    def forgetful(self: Transfer, *arguments: object) -> bytes | DropReason:
        opened[0] += 1
        return DropReason.UNKNOWN_SPI if opened[0] % 20 == 0 else original(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Transfer, "open", forgetful)
    assert main(["simbench", "--quick"]) == 1
    held = {name: one.held for name, one in load_summary(small).invariants.items()}
    assert held["every_client_registers_and_every_frame_comes_once"] is False
    assert held["every_frame_is_sealed_relayed_and_opened_once"] is False
