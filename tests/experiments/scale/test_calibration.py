"""Tests of experiments.scale.calibration."""

from __future__ import annotations

import random

import pytest

from experiments.progress import Progress
from experiments.scale.calibration import (
    FULL,
    LEFT_OUT_RUN,
    QUICK,
    RUN,
    SERVERS,
    Extent,
    cells,
    measure_on_rig,
)


@pytest.mark.parametrize("extent", [FULL, QUICK])
@pytest.mark.parametrize("server", SERVERS)
def test_there_is_something_to_fit_to_and_something_to_check_on(
    extent: Extent, server: str
) -> None:
    found = cells(extent, server)
    assert len(set(found)) == len(found)
    assert {cell.members for cell in found if cell.members > 8} >= {32}
    assert len({(cell.copies, cell.size) for cell in found if cell.members <= 8}) >= 6
    runs = {cell.burst for cell in found}
    assert runs == ({1} if server.startswith("hub") else {1, LEFT_OUT_RUN, RUN})
    assert extent.rounds % extent.sittings == 0


@pytest.mark.emulated
def test_each_cell_has_its_windows_from_processes_started_anew() -> None:
    extent = Extent(2, 2, 1, 1, 0.02, (2,))
    servers = {name: SERVERS[name] for name in ("hub-socket", "kernel")}
    with Progress(extent.weight()) as progress:
        found = measure_on_rig(extent, random.Random(1), progress, servers)
    assert [cell.name for cell in found][-1] == "relay_kernel.broadcast.n2.1360.x44"
    assert len(found) == 3 + 5
    for cell in found:
        assert [len(windows) for windows in cell.rounds] == [1, 1]
        assert all(one.window.frames_in for one in cell.windows)
        assert all((one.window.floor_ns > 0) == (cell.plane == "kernel") for one in cell.windows)
        assert cell.wrong == 0
