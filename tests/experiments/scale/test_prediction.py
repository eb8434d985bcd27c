"""Tests of experiments.scale.prediction."""

from __future__ import annotations

from dataclasses import replace

import pytest

from experiments.embodiments.vpn_servers.points import ROUND_SECONDS, USUAL, Point, Way
from experiments.instrument.window import Load, Window
from experiments.planes.ways import Measured as Metered
from experiments.relay_load.cells import Cell
from experiments.scale.calibration import LEFT_OUT_RUN, RUN, SIZES, CellOnRig, is_sound
from experiments.scale.drawings import CHECK_WIDTH
from experiments.scale.in_networks import LEAST, ServerInNetwork, cells, figures
from experiments.scale.offered import Counts
from experiments.scale.prediction import invariants, predict


def window(cell: Cell, cost: float, missing: int = 0, saturated: bool = False) -> Metered:
    """Returns a window in which each of 100 frames cost so much (ns)."""
    load = Load(cell.members, cell.size, cell.cast, 1000.0, 0.1, cell.burst)
    copies, cpu = 100 * cell.copies - missing, round(100 * cost)
    return Metered(Window("relay", load, 0.1, 100, 100, copies, 0, cpu, cpu, 0, saturated, 0))


def on_rig(
    members: int,
    size: int,
    extra: float = 1.0,
    missing: int = 0,
    server: str = "socket",
    burst: int = 1,
) -> CellOnRig:
    """Returns a cell that costs 20 us a run and 5 us a copy, and a tenth more a frame, times ``extra``."""
    cell = Cell("broadcast", members, size, burst)
    one = window(cell, (20_000 + 5_000 * cell.copies) * (1 / burst + 0.1) * extra, missing)
    return CellOnRig(server, cell, 1000.0, ((one,), (one,), (one,)))


def in_network(way: Way, clients: int, sitting: int = 0, extra: float = 1.0) -> ServerInNetwork:
    """Returns a server of a network in which a frame costs 20 us and a copy 5 us."""
    point = Point(way, 1 if way == "single" else 3, clients)
    counts = Counts(200, 200 * (clients - 1), 0)
    cost = round((2_000_000 + 500_000 * (clients - 1)) * extra)
    return ServerInNetwork(point, USUAL, sitting, "a", clients, counts, counts, (cost, cost))


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


def test_runs_are_told_from_frames_and_what_lies_between_is_predicted() -> None:
    cells = [
        on_rig(members, size, server="batch", burst=burst)
        for members in (2, 4, 8, 16, 32)
        for size in SIZES
        for burst in (1, RUN, LEFT_OUT_RUN)
    ]
    found = predict(cells, [], {})
    assert found.kinds() == ["larger_groups.batch", "another_size.batch", "shorter_runs.batch"]
    assert max(abs(check.error) for check in found.checks) < 1e-6
    costs = found.costs["relay_batch"]
    assert costs.interval("run_in")[0] == pytest.approx(20_000)
    assert costs.interval("run_out")[0] == pytest.approx(5_000)
    assert costs.interval("copy_out")[0] == pytest.approx(500)
    assert found.figures()["coefficient.relay_batch.longest_run"].value == RUN


def test_each_plane_has_coefficients_of_its_own() -> None:
    dear = [
        replace(one, server="batch", rounds=on_rig(one.cell.members, one.cell.size, 3.0).rounds)
        for one in CELLS
    ]
    found = predict([*CELLS, *dear], [], {})
    one, other = (
        found.costs[what].interval("copy_out")[0] for what in ("relay_socket", "relay_batch")
    )
    assert other == pytest.approx(3 * one)


def test_a_cell_below_its_floor_has_no_part() -> None:
    below = replace(
        on_rig(4, 64, server="kernel"),
        rounds=((Metered(replace(window(CELLS[0].cell, 0.0).window, floor_ns=500)),),),
    )
    kernel = [replace(one, server="kernel") for one in CELLS]
    assert not below.is_told
    assert predict([*kernel, below], [], {}).checks == predict(kernel, [], {}).checks


def test_what_does_not_is_shown_as_missed() -> None:
    odd = [on_rig(32, size, extra=1.5) for size in SIZES]
    found = predict([*CELLS[:-3], *odd], NETWORKS, {})
    missed = [check for check in found.checks if not check.within]
    assert [check.cell.name for check in missed] == [cell.measured.name for cell in odd]
    assert missed[0].error == pytest.approx(1 / 1.5 - 1)
    assert found.figures()["within.larger_groups"].value == 3
    assert "missed" in {row[-1] for row in found.table().rows}


def test_each_error_comes_with_the_half_width_of_what_was_measured() -> None:
    noisy = replace(
        on_rig(32, 512), rounds=tuple((window(CELLS[-1].cell, cost),) for cost in (1e5, 2e5, 3e5))
    )
    found = predict([*CELLS[:-3], noisy], [], {})
    widths = [one for one in found.samples() if one.name == CHECK_WIDTH]
    assert len(widths) == len(found.checks)
    (width,) = (one.value for one in widths if one.labels["cell"] == noisy.name)
    assert width == pytest.approx(4.303 / 2 / 3**0.5, rel=1e-3)


def test_cells_that_are_checked_have_no_part_in_the_fit() -> None:
    odd = [on_rig(32, size, extra=9.0) for size in SIZES]
    one, other = (predict([*CELLS[:-3], *some], NETWORKS, {}) for some in (CELLS[-3:], odd))
    assert one.costs["relay_socket"].interval("copy_out") == other.costs["relay_socket"].interval(
        "copy_out"
    )


def test_a_round_is_its_middle_sound_window() -> None:
    cell = Cell("broadcast", 4, 512)
    disturbed = (window(cell, 21_000), window(cell, 60_000), window(cell, 20_000))
    bunched = (window(cell, 9_000, saturated=True), window(cell, 22_000), window(cell, 24_000))
    nothing = (window(cell, 9_000, saturated=True),)
    found = CellOnRig("socket", cell, 1000.0, (disturbed, bunched, nothing))
    assert list(found.measured.blocks_ns) == [21_000, 23_000]
    assert len(found.sound) == 5


def test_in_the_kernel_a_window_that_came_late_is_sound() -> None:
    late = window(Cell("broadcast", 4, 512), 0.0, saturated=True)
    paid = Metered(replace(late.window, sender_ns=90_000, floor_ns=40_000))
    assert not is_sound(late)
    assert is_sound(paid)
    assert paid.ns_per_frame == 500
    assert not is_sound(Metered(replace(paid.window, lost=1)))


def test_cells_without_a_sound_window_are_left_out() -> None:
    cell = Cell("broadcast", 32, 64)
    unsound = CellOnRig("socket", cell, 1000.0, ((window(cell, 1.0, saturated=True),),))
    found = predict([*CELLS, unsound], [], {})
    assert len(found.of("larger_groups")) == 6


def test_servers_that_have_done_the_same_are_one_cell_with_a_block_for_each_sitting() -> None:
    servers = [in_network("cascade", 8, sitting, 1 + sitting / 10) for sitting in (0, 0, 1)]
    other = replace(servers[0], counts=Counts(100, 700, 0), clients=2)
    first, second = cells([*servers, other])
    assert first.measured.name == "cascade, 3 servers, 8 clients, 100% of the load, server of 2"
    alone = servers[0].cpu_ns[0]
    assert list(first.measured.blocks_ns) == [alone, alone]
    assert list(second.measured.blocks_ns) == pytest.approx([alone, 1.1 * alone])


def test_a_networks_figures_are_its_busiest_servers_under_the_usual_load() -> None:
    busy = in_network("cascade", 8)
    idle = replace(busy, counts=Counts(100, 700, 0), cpu_ns=(1, 1))
    other = replace(in_network("single", 8), offer=LEAST)
    found = dict(figures([idle, busy, other]))
    assert found["busiest_datagrams.cascade.3x8"].value == 1600 / 2 / ROUND_SECONDS
    assert found["busiest_cpu.cascade.3x8"].value == busy.cpu_ns[0] / ROUND_SECONDS / 1e6
    assert len(found) == 2


def test_counters_must_be_equal() -> None:
    good = invariants(CELLS, NETWORKS)
    assert all(invariant.held for invariant in good.values())
    missing = invariants([*CELLS, on_rig(4, 64, missing=1)], NETWORKS)
    assert not missing["copies_on_the_rig_are_those_foretold"].held
    counted = replace(NETWORKS[0], counts=replace(NETWORKS[0].counts, copies_out=301))
    unequal = invariants(CELLS, [counted])
    assert not unequal["counters_in_networks_are_those_foretold"].held
