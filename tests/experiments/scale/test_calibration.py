"""Tests of experiments.scale.calibration."""

from __future__ import annotations

import random

import pytest

from experiments.progress import Progress
from experiments.scale.calibration import FULL, QUICK, Extent, cells, measure_on_rig


@pytest.mark.parametrize("extent", [FULL, QUICK])
def test_there_is_something_to_fit_to_and_something_to_check_on(extent: Extent) -> None:
    found = cells(extent)
    assert len(set(found)) == len(found)
    assert {cell.members for cell in found if cell.members > 8} == {16, 32}
    assert len({(cell.copies, cell.size) for cell in found if cell.members <= 8}) >= 9
    assert extent.rounds % extent.sittings == 0


@pytest.mark.emulated
def test_each_cell_has_its_windows_from_processes_started_anew() -> None:
    extent = Extent(2, 2, 1, 0.02, (2,), ())
    with Progress(extent.weight()) as progress:
        found = measure_on_rig(extent, random.Random(1), progress)
    assert [cell.name for cell in found][-1] == "hub.broadcast.n2.1360"
    assert len(found) == 2 * 3
    for cell in found:
        assert [len(windows) for windows in cell.rounds] == [1, 1]
        assert all(window.frames_in for window in cell.windows)
        assert cell.wrong == 0
