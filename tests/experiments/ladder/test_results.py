"""Gaps add up, shares are of the whole, and every figure and picture comes out of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from experiments.instrument.statistics import Block, Blocks
from experiments.instrument.window import Load, Window
from experiments.ladder import drawings
from experiments.ladder.capacity import HIGH, Capacity, search
from experiments.ladder.results import Results, parts
from experiments.ladder.rungs import AGAIN, PROCESSES, SERVERS, Cell, cells, plane_of, rung_of
from experiments.ladder.sampling import REST, StageWindow
from experiments.planes.measure import CellResult
from experiments.planes.ways import Measured
from experiments.records.record import Figure

COSTS = {"null": 9, "relay": 10, "tags": 12, "plain": 16, "gcm": 20, "cbc": 30}
"""Microseconds on sockets; batches halve all but what a hub does inside; the kernel takes one."""


def cost(name: str) -> float:
    if name == AGAIN:
        return COSTS["relay"]
    if plane_of(name) == "kernel":
        return 1.0
    return COSTS[rung_of(name)] - (5 if plane_of(name) == "batch" else 0)


def measured(name: str, cell: Cell, noise: float) -> Measured:
    load = cell.load(name, 10_000.0, 0.01)
    spent = round(1000 * (cost(name) + noise) * load.frames)
    in_kernel = plane_of(name) == "kernel"
    window = Window(
        server=name,
        load=load,
        seconds=load.seconds,
        sent=load.frames,
        frames_in=load.frames,
        copies_out=load.frames * load.copies,
        lost=0,
        cpu_ns=0 if in_kernel else spent,
        schedstat_ns=0,
        steal_ns=0,
        saturated=False,
        latest_ns=0,
        sender_ns=spent if in_kernel else 0,
        run_ns=spent // 2 if in_kernel else 0,
    )
    return Measured(window)


def results(quick: bool = False) -> Results:
    found = Results()
    for cell in cells(quick):
        blocks = tuple(
            Block(
                cell.variants,
                {name: (measured(name, cell, 0.01 * number),) * 2 for name in cell.variants},
            )
            for number in range(3)
        )
        found.cells.append(CellResult(cell, Blocks(blocks)))
    for name in PROCESSES:
        for flow in ("single", "bulk"):
            found.stages += [StageWindow(flow, name, {"receive": 4000.0, "send": 3000.0})] * 2
            found.capacities.append(Capacity(flow, name, 50_000.0, trials=[(50_000.0, True)]))
    found.library = {
        (call, kind): Figure(500.0, 400.0, 600.0, 9, "ns")
        for call in ("AES-GCM", "AES-CBC, object kept")
        for kind in ("empty", "frame")
    }
    return found


def test_the_parts_of_a_gap_lead_from_the_hub_to_the_kernel_and_add_up() -> None:
    figures = results().figures()
    for hub, cipher in (("gcm", 4000), ("cbc", 14_000)):
        names = [part.name for part in parts(hub)]
        values = [figures[f"gap.single.{hub}.{name}"].value for name in names]
        assert values == pytest.approx([cipher, 6000, 5000, 4000])
        assert sum(values) == pytest.approx(figures[f"gap.single.{hub}.all"].value)
        shares = [figures[f"gap_share.single.{hub}.{name}"].value for name in names]
        assert sum(shares) == pytest.approx(1)
    assert figures["cipher_share.single.gcm.socket"].value == pytest.approx(0.4)
    assert [one.under for one in parts("gcm")][:-1] == [one.over for one in parts("gcm")][1:]


def test_what_the_stages_leave_of_the_whole_is_shown_as_such() -> None:
    figures = results().figures()
    rest = figures[f"stage.single.relay-socket.{REST}"]
    assert rest.value == pytest.approx(10_010 - 7000)
    assert figures[f"stage.single.null-batch.{REST}"].value < 0


def test_ratios_are_to_the_relay_of_the_same_plane_and_to_the_kernels() -> None:
    figures = results().figures()
    assert figures["over_relay.single.n3.1340.gcm-socket"].value == pytest.approx(2, rel=0.01)
    assert figures["over_relay.bulk.n3.64.gcm-batch"].value == pytest.approx(3, rel=0.01)
    assert figures["over_kernel.bulk.n16.1340.gcm-socket"].value == pytest.approx(19.8, rel=0.01)
    assert figures["again.single.n3.1340"].value == pytest.approx(1)


@pytest.mark.parametrize("quick", [True, False])
def test_every_picture_and_table_comes_out_of_a_run(tmp_path: Path, quick: bool) -> None:
    found = results(quick)
    drawn = drawings.draw(found.figures(), tmp_path)
    stems = {one.svg.stem for one in drawn}
    assert {"ladder-single", "ladder-bulk", "ladder-gap", "ladder-rate-single"} <= stems
    assert ("ladder-ratio-batch-bulk-by-group" in stems) is not quick
    assert all(one.svg.with_suffix(".png").exists() for one in drawn)
    assert [len(table.rows) for table in found.tables()] == [len(SERVERS), 3 * 2 * 5, 2]
    assert all(one.held for one in found.invariants().values())
    assert {one.name for one in found.samples()} >= {"window.cpu", "stage", "trial"}


def test_nothing_is_drawn_of_another_runs_figures(tmp_path: Path) -> None:
    assert drawings.draw({"bar.any": Figure(1, 1, 1, 1, "ratio")}, tmp_path) == []


class Server:
    """Bears up to a rate, and its generator sends up to another."""

    def __init__(self, most: float, generator: float = 1e9) -> None:
        self.most, self.generator = most, generator

    def measure(self, name: str, load: Load) -> Window:
        window = measured("relay-socket", Cell("single"), 0).window
        return replace(
            window,
            cpu_ns=0,
            lost=int(load.rate > self.most),
            saturated=load.rate > self.generator,
        )


@pytest.mark.parametrize(
    ("most", "generator", "found", "at_least"),
    [
        (80_000, 1e9, 80_000, False),
        (40_000, 1e9, 40_000, False),
        (1e9, 90_000, 90_000, True),
        (1e9, 1e9, HIGH * 100_000, True),
        (10_000, 1e9, 0, False),
    ],
)
def test_the_highest_rate_is_found_and_the_generators_limit_said(
    most: float, generator: float, found: float, at_least: bool
) -> None:
    load = Cell("single").load("relay-socket", 1000.0, 0.1)
    rig: object = Server(most, generator)
    capacity = search(rig, "single", "relay-socket", load, 10_000.0, 0.02)  # type: ignore[arg-type]
    assert capacity.rate == pytest.approx(found, rel=0.03)
    assert capacity.rate <= found
    assert capacity.at_least is at_least
    assert all(borne == (rate <= min(most, generator)) for rate, borne in capacity.trials)


def test_rounds_add_up_and_their_differences_widen_the_interval() -> None:
    cell, found = Cell("single"), Results()
    for noise in (0.0, 1.0, 2.0):
        windows = {name: (measured(name, cell, noise),) * 2 for name in cell.variants}
        found.add(CellResult(cell, Blocks((Block(cell.variants, windows),) * 2)))
    (result,) = found.cells
    assert (len(result.blocks), result.blocks.rounds) == (6, 3)
    figures = found.figures()
    level = figures["ns_per_frame_in.single.n3.1340.relay-socket"]
    assert level.value == pytest.approx(11_000)
    assert level.n == 6
    assert level.low == pytest.approx(11_000 - 4.303 * 1000 / 3**0.5, rel=0.001)
    ratio = figures["over_kernel.single.n3.1340.gcm-socket"]
    assert ratio.value == pytest.approx((20 / 1 + 21 / 2 + 22 / 3) / 3)
    assert ratio.low < ratio.value < ratio.high
