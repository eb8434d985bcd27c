"""Floors are subtracted, ratios stand noise, and bars are judged by intervals."""

from __future__ import annotations

import pytest

from experiments.instrument.statistics import Block, Blocks
from experiments.instrument.window import Window
from experiments.planes.cells import BARS, CELLS, FRAME_SIZE, Bar, Cell
from experiments.planes.measure import CellResult, Results, ratio_of_means
from experiments.planes.ways import Measured

CELL = Cell("single", "broadcast")


def measured(
    cpu: int = 0, sender: int = 0, floor: float | None = None, frames: int = 100, copies: int = 200
) -> Measured:
    window = Window(
        server="any",
        load=CELL.load("socket", 1000.0, 0.1),
        seconds=0.1,
        sent=frames,
        frames_in=frames,
        copies_out=copies,
        lost=0,
        cpu_ns=cpu,
        schedstat_ns=cpu,
        steal_ns=0,
        saturated=False,
        latest_ns=0,
        sender_ns=sender,
    )
    return Measured(window, floor)


def test_the_kernels_work_is_the_senders_cost_above_the_floor_and_the_process() -> None:
    found = measured(cpu=1_000, sender=500_000, floor=3_000.0)
    assert found.kernel_ns == 2_000
    assert found.ns_per_frame == 2_010
    assert found.ns_per_copy == 1_005
    assert found.flags == ()
    assert "below floor" in measured(sender=1, floor=3_000.0).flags


def test_a_process_is_measured_without_its_sender() -> None:
    assert measured(cpu=100_000, sender=500_000).ns_per_frame == 1_000


def blocks(kernel: list[int], socket: list[int]) -> Blocks:
    return Blocks(
        tuple(
            Block(
                ("kernel-tags", "socket-tags"),
                {
                    "kernel-tags": (measured(sender=one * 100, floor=1_000.0),) * 2,
                    "socket-tags": (measured(cpu=other * 100),) * 2,
                },
            )
            for one, other in zip(kernel, socket, strict=True)
        )
    )


def test_a_ratio_is_one_of_means_so_that_a_window_below_its_floor_counts_too() -> None:
    found = ratio_of_means(
        blocks([1_900, 3_100, 2_000, 900], [10_000] * 4), "kernel-tags", "socket-tags"
    )
    assert found.estimate == pytest.approx(0.0975)
    assert found.low < found.estimate < found.high
    assert (found.blocks, found.flagged) == (4, 1)


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(0.1, 0.16, "met"), (0.1, 0.2, "open"), (0.18, 0.2, "missed"), (-0.1, 0.1, "open")],
)
def test_a_bar_is_judged_by_the_whole_interval(low: float, high: float, word: str) -> None:
    assert Bar("any", CELL, "kernel", "socket", 1 / 6).judge(low, high) == word


def test_every_bar_has_a_cell_that_is_measured_and_holds_both_sides() -> None:
    for bar in BARS:
        assert bar.cell in CELLS
        assert {bar.over, bar.under} <= set(bar.cell.variants)


def test_frames_with_tags_make_packets_of_the_same_size() -> None:
    sizes = {name: CELL.load(name, 1.0, 1.0).frame_size for name in CELL.variants}
    assert sizes["socket"] == FRAME_SIZE == sizes["kernel-tags"] + 8


def test_copies_that_are_missing_break_the_planes_invariant_alone() -> None:
    good, short = measured(cpu=1), measured(cpu=1, copies=199)
    windows = {"socket": (good, good), "batch": (good, short)}
    found = Results([CellResult(CELL, Blocks((Block(("socket", "batch"), windows),)))]).invariants()
    assert found["copies_of_socket"].held
    assert not found["copies_of_batch"].held


def test_every_figure_and_bar_comes_out_of_all_cells() -> None:
    windows = {
        "process": (measured(cpu=1_000_000), measured(cpu=1_100_000)),
        "kernel": (
            measured(sender=400_000, floor=3_000.0),
            measured(sender=420_000, floor=3_000.0),
        ),
    }
    results = Results(
        [
            CellResult(
                cell,
                Blocks(
                    tuple(
                        Block(
                            cell.variants,
                            {
                                name: windows[
                                    "kernel" if "kernel" in name or "forw" in name else "process"
                                ]
                                for name in cell.variants
                            },
                        )
                        for _ in range(3)
                    )
                ),
            )
            for cell in CELLS
        ]
    )
    figures = results.figures()
    assert {f"bar.{bar.name}" for bar in BARS} <= set(figures)
    assert figures["bar.kernel_over_forwarding.bulk"].unit.endswith("met")
    assert "header_check.kernel-tags" in figures
    assert "bulk.two_copies.hop_tag.kernel" in figures
    assert "bulk.two_copies.header_check.batch" in figures
    assert len(results.table().rows) == sum(len(cell.variants) for cell in CELLS)
    assert list(results.samples())
