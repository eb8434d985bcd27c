"""Tests of experiments.scale.prediction."""

from __future__ import annotations

from dataclasses import replace

import pytest

from experiments.cells import Cell
from experiments.instrument.window import Load, Window
from experiments.scale.calibration import SIZES, CellInNetwork, CellOnRig
from experiments.scale.offered import Counts
from experiments.scale.prediction import invariants, predict
from experiments.vpn_servers.points import Point
from simulator.scale.costs import Measured, Work

COUNTS = Counts(100, 300, 0)


def on_rig(members: int, size: int, extra: float = 1.0, missing: int = 0) -> CellOnRig:
    """Returns a cell that costs 20 us a frame and 5 us a copy, times ``extra``."""
    cell = Cell("broadcast", members, size)
    load = Load(members, size, "broadcast", 1000.0, 0.1)
    cost = round((20_000 + 5_000 * cell.copies) * extra) * 100
    windows = [
        Window(
            "relay", load, 0.1, 100, 100, 100 * cell.copies - missing, 0, cost, cost, 0, False, 0
        )
        for _ in range(3)
    ]
    return CellOnRig("socket", cell, 1000.0, tuple(windows))


def in_network(way: str, clients: int, extra: float = 1.0) -> CellInNetwork:
    """Returns a server of a network that costs what those on the rig do, and as much again for itself."""
    point = Point("single" if way == "single" else "cascade", 1, clients)
    work = Work(100.0, 100.0 * (clients - 1), seconds=1.5)
    cost = (2_000_000 + 500_000 * (clients - 1) + 20_000_000) * extra
    return CellInNetwork(point, 1.0, "a", COUNTS, COUNTS, Measured(way, work, (cost, cost)))


CELLS = [on_rig(members, size) for members in (2, 4, 8, 16, 32) for size in SIZES]
NETWORKS = [in_network("single", clients) for clients in (4, 6, 8, 16)] + [in_network("cascade", 8)]


def test_what_follows_the_model_is_predicted() -> None:
    found = predict(CELLS, NETWORKS, {})
    assert found.kinds() == [
        *("larger_groups", "another_size", "larger_networks", "another_topology")
    ]
    assert all(check.within for check in found.checks)
    assert max(abs(check.error) for check in found.checks) < 1e-6
    assert len(found.of("larger_groups")) == 6


def test_what_does_not_is_shown_as_missed() -> None:
    odd = [on_rig(32, size, extra=1.5) for size in SIZES]
    found = predict([*CELLS[:-3], *odd], NETWORKS, {})
    missed = [check for check in found.checks if not check.within]
    assert [check.cell.name for check in missed] == [cell.measured.name for cell in odd]
    assert missed[0].error == pytest.approx(1 / 1.5 - 1)
    assert found.figures()["within.larger_groups"].value == 3
    assert "missed" in {row[-1] for row in found.table().rows}


def test_cells_that_are_checked_have_no_part_in_the_fit() -> None:
    odd = [on_rig(32, size, extra=9.0) for size in SIZES]
    one, other = (predict([*CELLS[:-3], *some], NETWORKS, {}) for some in (CELLS[-3:], odd))
    assert one.costs["relay"].interval("copy_out") == other.costs["relay"].interval("copy_out")


def test_counters_must_be_equal() -> None:
    good = invariants(CELLS, NETWORKS)
    assert all(invariant.held for invariant in good.values())
    missing = invariants([*CELLS, on_rig(4, 64, missing=1)], NETWORKS)
    assert not missing["copies_on_the_rig_are_those_foretold"].held
    counted = replace(NETWORKS[0], counts=replace(COUNTS, copies_out=301))
    unequal = invariants(CELLS, [counted])
    assert not unequal["counters_in_networks_are_those_foretold"].held
