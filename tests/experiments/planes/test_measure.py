"""Floors are subtracted, ratios stand noise, and bars are judged by intervals."""

from __future__ import annotations

import random

import pytest

from experiments.instrument.statistics import Block, Blocks
from experiments.instrument.window import Window
from experiments.planes.cells import BARS, CELLS, FRAME_SIZE, SERVERS, Bar, Cell
from experiments.planes.measure import CellResult, Results, quotient, ratio_of_means
from experiments.planes.ways import FORWARDING, Measured

CELL = Cell("single", "broadcast")


def measured(
    cpu: int = 0, sender: int = 0, floor: float = 0.0, frames: int = 100, copies: int = 200
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
        floor_ns=round(floor * frames),
    )
    return Measured(window)


def test_the_kernels_work_is_the_senders_cost_above_the_floor_and_the_process() -> None:
    found = measured(cpu=1_000, sender=500_000, floor=3_000.0)
    assert found.kernel_ns == 2_000
    assert found.ns_per_frame == 2_010
    assert found.ns_per_copy == 1_005
    assert found.flags == ()
    assert "below floor" in measured(sender=1, floor=3_000.0).flags


def test_a_process_is_measured_without_its_sender() -> None:
    assert measured(cpu=100_000).ns_per_frame == 1_000


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


@pytest.mark.parametrize("pairs", [2, 3, 5])
def test_a_quotient_of_few_pairs_has_an_interval_that_is_wide_enough(pairs: int) -> None:
    chance = random.Random(pairs)

    def covers() -> bool:
        top, bottom = ([chance.gauss(mean, mean / 10) for _ in range(pairs)] for mean in (2, 8))
        return quotient(top, bottom).covers(0.25)

    assert sum(covers() for _ in range(300)) >= 0.92 * 300


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(0.1, 0.16, "met"), (0.1, 0.2, "open"), (0.18, 0.2, "missed"), (-0.1, 0.1, "open")],
)
def test_a_bar_is_judged_by_the_whole_interval(low: float, high: float, word: str) -> None:
    assert Bar("any", CELL, "kernel", "socket", 1 / 6).judge(low, high) == word


def test_no_ratio_to_what_is_not_told_from_nothing_is_judged() -> None:
    """Whatever the ratios of the rounds are."""
    cell = next(bar.cell for bar in BARS if bar.under == FORWARDING)
    results = Results()
    for cost in (900, 1_010, 1_400):
        windows = {
            name: (measured(sender=100 * cost, floor=1_000.0),) * 2 for name in cell.variants
        }
        results.add(CellResult(cell, Blocks((Block(cell.variants, windows),))))
    (found,) = ((figure, word) for bar, figure, word in results.bars() if bar.under == FORWARDING)
    figure, word = found
    assert figure.low == figure.high == pytest.approx(1)
    assert word == "open: what forwarding costs is not told from nothing"


def test_what_comes_later_is_a_round_of_its_own() -> None:
    results = Results()
    for cost in (10, 20, 30):
        windows = {"null-batch": (measured(cpu=100 * cost),) * 2}
        results.add(CellResult(CELL, Blocks((Block(("null-batch",), windows),) * 2)))
    (cell,) = results.cells
    assert (cell.blocks.rounds, len(cell.blocks)) == (3, 6)
    figure = results.figures()["single.two_copies.null-batch.ns_per_datagram_in"]
    # Student's, over three rounds and not over six blocks
    assert (figure.low, figure.high) == pytest.approx((20 - 24.84, 20 + 24.84), abs=0.01)
    assert {sample.labels["round"] for sample in results.samples()} == {"0", "1", "2"}


def test_every_bar_has_a_cell_that_is_measured_and_holds_both_sides() -> None:
    for bar in BARS:
        assert bar.cell in CELLS
        assert {bar.over, bar.under} <= set(bar.cell.variants)


def test_frames_with_tags_make_packets_of_the_same_size() -> None:
    sizes = {name: CELL.load(name, 1.0, 1.0).frame_size for name in SERVERS}
    assert sizes["socket"] == FRAME_SIZE == sizes["kernel-tags"] + 8
    assert sizes["batch-anew"] == sizes["batch-kept"] == sizes["batch-tags"]


def test_in_long_runs_what_a_kernel_does_is_measured_by_more_calls_than_what_a_process_does() -> (
    None
):
    bulk = Cell("bulk", "broadcast")
    frames = {name: bulk.load(name, 44_000.0, 0.1).frames for name in (*SERVERS, FORWARDING)}
    assert frames["socket-tags"] == frames["batch-anew"] == 4_400
    assert frames["kernel-tags"] == frames["kernel-kept"] == frames[FORWARDING] == 105_600
    assert CELL.load("kernel", 44_000.0, 0.1).frames == 4_400


def test_where_somebody_more_gets_a_copy_it_is_due() -> None:
    copies = {cell.name: cell.load(cell.variants[0], 1.0, 1.0).copies for cell in CELLS}
    assert copies["bulk.two_copies"] == 2
    assert copies["bulk.onward"] == 3
    assert copies["bulk.one_copy"] == 1


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
    assert figures["bulk.onward.tag_anew.kernel"].value == pytest.approx(0)
    assert any("bulk.onward.tag_anew.socket" in row for row in results.price_table().rows)
    assert len(results.table().rows) == sum(len(cell.variants) for cell in CELLS)
    assert list(results.samples())
