"""Every topology runs in the simulator's world, without root, and counts what the emulator counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.__main__ import main
from experiments.records.record import COUNT, DROPS, Sample, load_record, load_summary
from experiments.regression import COUNTS, read_counts
from experiments.simulation import course
from experiments.traffic.probing import Outcome, Round
from simulator.world import World
from tests.experiments.runs import CHECKOUT, Ended
from topologies.catalog import CATALOG

SIMULATED = ("run", "--world", "simulator", "--quick")


def simulate(folder: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> tuple[int, Path]:
    """Runs the command line in a folder; returns its exit code and the results' folder."""
    monkeypatch.chdir(folder)
    topo = options[options.index("--topo") + 1] if "--topo" in options else "single"
    code = main([*SIMULATED, *options])
    return code, folder / "results" / topo / "latest"


@pytest.mark.parametrize("topo", CATALOG)
def test_all_invariants_hold_and_counts_are_the_emulators(
    topo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packets with probe frames by interface, frames by terminal and rows of tables, as kept."""
    code, results = simulate(tmp_path, monkeypatch, "--topo", topo)
    summary = load_summary(results)
    assert [name for name, one in summary.invariants.items() if not one.held] == []
    assert code == 0
    assert (results / "report.html").exists()
    assert counts_of(results) == {
        f"{COUNT}{name}": count for name, count in read_counts(CHECKOUT / COUNTS)[topo].items()
    }


@pytest.mark.parametrize("topo", CATALOG)
def test_all_invariants_hold_in_ipv4(
    topo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(course, "QUICK_PROBES", 2)
    code, results = simulate(tmp_path, monkeypatch, "--topo", topo, "--family", "4")
    summary = load_summary(results)
    assert [name for name, one in summary.invariants.items() if not one.held] == []
    assert code == 0


def test_a_frame_that_does_not_arrive_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(course, "QUICK_PROBES", 2)
    monkeypatch.setattr(course, "run_round", _without_one_receiver)
    code, results = simulate(tmp_path, monkeypatch)
    broken = {name for name, one in load_summary(results).invariants.items() if not one.held}
    assert code == 1
    assert "broadcast_probes_reach_every_other_once" in broken


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--control", "ike"), "WORLD=simulator: CONTROL=ike: expected tls"),
        (("--dataplane", "batch"), "WORLD=simulator: DATAPLANE=batch: expected none"),
        (("--peers", "tinc"), "WORLD=simulator: PEERS=tinc: expected none"),
        (("--clients", "1001"), "single: clients: expected 2 to 1000, got 1001"),
    ],
)
def test_what_a_world_of_events_does_not_have_is_refused(
    options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SIMULATED, *options]) == 2
    said = capsys.readouterr().err
    assert said.startswith(message)
    assert said.count("\n") == 1


def test_more_clients_than_a_machine_emulates_are_simulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(course, "MAXIMUM_CLIENTS", 2)
    monkeypatch.setattr(course, "MANY_SENDERS", 1)
    code, results = simulate(tmp_path, monkeypatch, "--clients", "6", "--terminals", "1")
    assert code == 0
    deliveries = load_summary(results).figures["probe_deliveries"].value
    # One sender in each group, three sizes: to one, to all of six and to all of two.
    assert deliveries == 3 * (1 + 5) + 3 * (1 + 1)


def _without_one_receiver(world: World, sent: Round) -> Outcome:
    world.lan_of["t2a"].disconnect("t2a")
    return _run_round(world, sent)


_run_round = course.run_round


@pytest.mark.emulated
def test_both_worlds_count_the_same_frames_copies_and_rows(
    runs: tuple[Path, dict[str, Ended]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, ended = runs
    emulated = folder / ended["sound"].folder
    options = [
        "--clients",
        "2",
        "--terminals",
        "1",
        "--family",
        "4",
        "--strip",
        "patent",
        "--seed",
        "7",
    ]
    code, simulated = simulate(tmp_path, monkeypatch, *options)
    assert code == 0
    assert counts_of(simulated) == counts_of(emulated)
    assert drops_of(simulated) == drops_of(emulated)


def counts_of(results: Path) -> dict[str, float]:
    """Returns packets with probe frames by interface, frames by terminal, and rows of tables."""
    figures = load_summary(results).figures.items()
    return {name: figure.value for name, figure in figures if name.startswith(COUNT)}


def drops_of(results: Path) -> dict[tuple[str, str], float]:
    """Returns drops by node and reason."""
    found: list[Sample] = [one for one in load_record(results).samples if one.name == DROPS]
    return {(one.labels["node"], one.labels["reason"]): one.value for one in found}
