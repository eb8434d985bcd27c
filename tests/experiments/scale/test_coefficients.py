"""Tests of experiments.scale.coefficients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import pytest

from experiments.records.environment import CHECKOUT
from experiments.records.record import Figure, load_summary
from experiments.scale import coefficients
from experiments.scale.coefficients import costs_named, kept_costs, named
from simulator.scale.costs import UnfittedError, Work

KEPT = CHECKOUT / "results" / "reference" / "calibrate"
Keep = Callable[[Mapping[str, float]], None]


@pytest.fixture
def keep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keep:
    """Keeps coefficients as the only calibration that there is."""

    def kept(values: Mapping[str, float]) -> None:
        found = {
            f"coefficient.{name}": Figure(value, value, value, 1, "")
            for name, value in values.items()
        }
        summary = msgspec.structs.replace(load_summary(KEPT), figures=found)
        (tmp_path / "summary.json").write_bytes(msgspec.json.encode(summary))

    monkeypatch.setattr(coefficients, "CALIBRATIONS", (tmp_path,))
    return kept


ALL = {
    **{"relay_socket.frame_in": 20e3, "relay_socket.longest_run": 44.0},
    **{"relay_batch.frame_in": 1e3, "relay_batch.run_in": 8e3, "relay_batch.longest_run": 44.0},
    **{"relay_kernel.run_in": 500.0, "relay_kernel.longest_run": 44.0},
    **{"hub_socket.frame_in": 30e3, "hub_batch.frame_in": 31e3},
}


def test_each_plane_has_its_own_and_batches_are_the_usual_ones(keep: Keep) -> None:
    keep(ALL)
    assert kept_costs()[0] == "batch"
    costs = {plane: kept_costs(plane)[1] for plane in ("socket", "batch", "kernel")}
    assert {plane: set(some) for plane, some in costs.items()} == {
        "socket": {"relay", "hub"},
        "batch": {"relay", "hub"},
        "kernel": {"relay"},
    }
    of_runs = {
        plane: some["relay"].predict(Work(44.0, run=44.0)).value for plane, some in costs.items()
    }
    assert of_runs == {"socket": 880e3, "batch": 52e3, "kernel": 500.0}
    with pytest.raises(UnfittedError, match="runs of 2"):
        costs["batch"]["hub"].predict(Work(2.0, run=2.0))


def test_older_calibrations_are_of_sockets_alone(keep: Keep) -> None:
    keep({"relay.frame_in": 20e3, "hub.frame_in": 30e3, "relay_in_networks.second": 10e6})
    dataplane, costs = kept_costs()
    assert dataplane == "socket"
    assert set(costs) == {"relay", "hub", "relay_in_networks"}
    assert costs["relay"].predict(Work(1.0)).value == 20e3
    assert costs["relay_in_networks"].predict(Work(seconds=1.0)).value == 10e6
    with pytest.raises(
        UnfittedError, match="DATAPLANE=kernel: expected one that was measured: socket"
    ):
        kept_costs("kernel")


def test_without_any_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coefficients, "CALIBRATIONS", (tmp_path / "nothing",))
    assert kept_costs() == ("", {})
    with pytest.raises(UnfittedError, match="none was"):
        kept_costs("socket")


def test_a_name_is_of_the_coefficients_too(keep: Keep) -> None:
    keep(ALL)
    name = named("batch")
    assert costs_named(name)[0] == "batch"
    keep(ALL | {"relay_batch.run_in": 9e3})
    assert named("batch") != name
    with pytest.raises(UnfittedError, match=f"dataplane {name}: expected these coefficients"):
        costs_named(name)


def test_the_kept_record_has_coefficients() -> None:
    assert kept_costs("socket")[1]["relay"].predict(Work(1.0, 2.0)).value > 0
