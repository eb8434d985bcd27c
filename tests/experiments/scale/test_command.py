"""Tests of the commands of experiments.scale, and of their pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.__main__ import main
from experiments.records.record import Figure, Sample, load_record, load_summary
from experiments.scale import coefficients, command, drawings

REFERENCE = Path(__file__).resolve().parents[3] / "results" / "reference"
SOCKETS = {"coefficient.relay.frame_in": Figure(20e3, 20e3, 20e3, 1, "ns/frame")}
SMALL = ("scale", "--quick", "--network", "topozoo/Abilene", "--clients", "4000", "--servers", "3")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small run."""
    results = tmp_path_factory.mktemp("scale")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "RESULTS", results)
        assert main(SMALL) == 0
    return results / "scale" / "topozoo-Abilene" / "latest"


def test_a_run_says_what_each_way_comes_to(run: Path) -> None:
    summary = load_summary(run)
    assert summary.ok
    assert set(summary.invariants) == {
        "every_frame_goes_to_each_receiver_once",
        "multicast_puts_a_frame_on_a_link_once",
        "the_emulator_counts_what_is_foretold",
    }
    figures = summary.figures
    assert figures["single.busiest_server"].value == 4000 * (2 + 1 + 15)
    assert figures["hub.busiest_server"].value == figures["single.busiest_server"].value
    assert figures["multicast.busiest_server"].value == 0
    assert figures["model_peak_memory"].value < 4 * 2**30
    table = next(one for one in load_record(run).tables if one.title == "What each way comes to")
    assert {row[-2] for row in table.rows} == {"exact", "asymptotic", "approximate"}


def test_its_pictures_are_there_and_are_made_again_from_its_record(run: Path) -> None:
    names = {
        *("one-group", "busiest-server-by-clients", "busiest-link-by-clients"),
        *("link-loads", "link-stress", "where-each-way-wins"),
    }
    for name in names:
        (run / f"{name}.svg").unlink()
    assert main(("report", str(run))) == 0
    assert all((run / f"{name}.svg").stat().st_size > 5_000 for name in names)
    assert (run / "report.html").read_text(encoding="utf-8").count("<figure") == 7


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--network", "nowhere"), "network nowhere: expected one of topohub"),
        (("--network", "my.graphml"), "my.graphml: expected a file that is there"),
        (("--servers", "12"), "servers: expected 1 to 11"),
        (("--dataplane", "kernel"), "DATAPLANE=kernel: expected one that was measured: socket"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(
    options: tuple[str, ...],
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command, "RESULTS", tmp_path)
    monkeypatch.setattr(coefficients, "calibration", lambda: SOCKETS)
    assert main((*SMALL, *options)) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("scale: ")]
    assert len(said) == 1
    assert words in said[0]
    assert not any(tmp_path.iterdir())


def test_the_best_way_is_the_least_and_multicast_only_where_it_has_rivals(tmp_path: Path) -> None:
    values = {"single": 8.0, "multicast": 1.0, "multiserver": 2.0, "cascade": 4.0}
    samples = [
        Sample(f"wins.{criterion}", value, "", {"way": way, "group": "2", "servers": "1"})
        for criterion in drawings.CRITERIA
        for way, value in values.items()
    ]
    (drawing,) = drawings.draw({}, samples, tmp_path)
    assert "fewest octets on all links: multicast 1" in drawing.caption
    assert drawing.caption.count("multiserver 1") == 3


def test_errors_of_predictions_are_drawn_all(tmp_path: Path) -> None:
    errors = (0.02, -0.5, 0.1)
    samples = [
        Sample("check", error, "", {"kind": "larger_groups", "cell": str(error), "fitted": "relay"})
        for error in errors
    ]
    (drawing,) = drawings.draw({}, samples, tmp_path)
    assert "larger groups: 20.7 % in the mean, 50.0 % at most, 3 cells" in drawing.caption


def test_each_data_plane_has_a_picture_of_its_errors(tmp_path: Path) -> None:
    samples = [
        Sample(
            "check", error, "", {"kind": kind, "cell": f"{what}.broadcast.n16.64", "fitted": what}
        )
        for kind, what, error in (
            ("larger_groups", "relay_socket", 0.1),
            ("larger_groups.batch", "relay_batch", 0.2),
            ("shorter_runs.batch", "relay_batch", -0.3),
        )
    ]
    sockets, batches = drawings.draw({}, samples, tmp_path)
    assert sockets.svg.name == "prediction-errors.svg"
    assert batches.svg.name == "prediction-errors-batch.svg"
    assert "larger groups: 10.0 % in the mean" in sockets.caption
    assert "shorter runs: 30.0 % in the mean" in batches.caption
    assert "Data plane batch" in batches.caption
    assert "relay batch, broadcast, 16 clients" in batches.svg.read_text(encoding="utf-8")


def test_errors_are_drawn_with_the_interval_of_what_was_measured(tmp_path: Path) -> None:
    labels = {"kind": "larger_groups", "cell": "hub.broadcast.n16.64", "fitted": "hub"}
    samples = [
        Sample(drawings.CHECK, -0.25, "", labels),
        Sample(drawings.CHECK_WIDTH, 0.12, "", labels),
    ]
    (drawing,) = drawings.draw({}, samples, tmp_path)
    assert "larger groups: 25.0 % in the mean, 25.0 % at most, 1 cells" in drawing.caption
    drawn = (tmp_path / "prediction-errors.svg").read_text(encoding="utf-8")
    assert "hub, broadcast, 16 clients, 64 octets" in drawn
