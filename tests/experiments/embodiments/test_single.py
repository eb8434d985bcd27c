"""Embodiment 1 as it is run: all invariants hold, and one changed octet is found."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from experiments.embodiments.claims import STRUCTURE
from experiments.embodiments.invariants import INVARIANTS
from experiments.observation.decoding import DISSECTOR
from experiments.records.record import load_record, load_summary
from tests.experiments.runs import Ended

pytestmark = pytest.mark.emulated

Runs = tuple[Path, dict[str, Ended]]


def test_all_invariants_hold_beside_another_run(runs: Runs) -> None:
    folder, ended = runs
    run = ended["sound"]
    assert run.code == 0, run
    summary = load_summary(folder / run.folder)
    assert summary.ok
    assert set(summary.invariants) == {*INVARIANTS, "processes_end_in_order"}
    assert [name for name, one in summary.invariants.items() if not one.held] == []
    assert {summary.claims[name].verdict for name in STRUCTURE} == {"confirmed"}
    assert {summary.claims[name].verdict for name in ("C2", "E2", "E5")} == {"not tested"}


def test_runs_side_by_side_have_folders_of_their_own(runs: Runs) -> None:
    _, ended = runs
    assert len({run.folder for run in ended.values()}) == len(ended)


def test_one_changed_octet_of_the_relays_output_is_found(runs: Runs) -> None:
    folder, ended = runs
    run = ended["altered"]
    assert run.code == 1
    summary = load_summary(folder / run.folder)
    assert not summary.ok
    broken = {name for name, one in summary.invariants.items() if not one.held}
    assert broken == {
        "relay_forwards_octets_unchanged",
        "unicast_probes_arrive_once_byte_for_byte",
    }
    assert (
        "1 of them not as received" in summary.invariants["relay_forwards_octets_unchanged"].detail
    )
    assert summary.claims["C1"].verdict == "refuted"
    for name in broken:
        assert name in run.output
    assert "Traceback" not in run.errors


def test_the_record_says_what_was_run(runs: Runs) -> None:
    folder, ended = runs
    record = load_record(folder / ended["sound"].folder)
    assert record.seed == 7
    assert record.argv[:2] == ("run", "--quick")
    assert record.parameters["strip"] == "patent"
    assert record.parameters["control"] == "tls"
    assert record.plan["family"] == 4
    other = load_record(folder / ended["altered"].folder)
    assert other.parameters["strip"] == "keep"
    assert other.parameters["links_delayed_by"] == "none"
    assert other.plan["family"] == 6
    assert {sample.labels["node"] for sample in record.samples if "node" in sample.labels} >= {
        "server",
        "c1",
        "t1a",
    }


def test_the_figures_are_the_same_in_record_and_summary(runs: Runs) -> None:
    folder, ended = runs
    run = folder / ended["sound"].folder
    counters = {
        sample.name: sample.value
        for sample in load_record(run).samples
        if sample.labels.get("node") == "server"
    }
    figure = load_summary(run).figures["relay_datagrams_in"]
    assert figure.value == counters["counter.datagrams_in"] > 0


def test_with_capture_the_packets_and_dead_keys_are_kept(runs: Runs) -> None:
    folder, ended = runs
    names = {path.name for path in (folder / ended["sound"].folder).iterdir()}
    assert names == {
        "record.json",
        "summary.json",
        "samples.csv",
        "report.html",
        "topology.svg",
        "topology.png",
        "outside.pcapng",
        "lan.pcapng",
        "esp_sa",
    }


def test_tshark_opens_the_kept_capture_with_the_kept_file_of_keys(
    runs: Runs, tmp_path: Path
) -> None:
    folder, ended = runs
    run = folder / ended["sound"].folder
    settings = tmp_path / ".config" / "wireshark"
    settings.mkdir(parents=True)
    shutil.copy(run / "esp_sa", settings / "esp_sa")
    argv = ["tshark", "-n", "-r", str(run / "outside.pcapng"), "-X", f"lua_script:{DISSECTOR}"]
    argv += [
        "-o",
        "esp.enable_encryption_decode:TRUE",
        "-o",
        "esp.enable_authentication_check:TRUE",
    ]
    argv += ["-Y", "esp.icv_good == 1", "-T", "fields", "-e", "esp.spi"]
    environment = {**os.environ, "HOME": str(tmp_path)}
    environment.pop("XDG_CONFIG_HOME", None)
    shown = subprocess.run(
        argv, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert len(set(shown.stdout.split())) == 2, shown.stderr  # one SA for each group


def test_without_capture_no_key_and_no_packet_is_kept(runs: Runs) -> None:
    folder, ended = runs
    names = {path.name for path in (folder / ended["altered"].folder).iterdir()}
    assert names == {
        "record.json",
        "summary.json",
        "samples.csv",
        "report.html",
        "topology.svg",
        "topology.png",
    }
