"""The load measurement, over servers that cost what a test says."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.instrument.checks import Check
from experiments.instrument.loads import LoadError, half_load, within_reach
from experiments.instrument.window import Load, Window
from experiments.relay_load.cells import BASE_SIZE, GROUPS, Cell, cells, parse
from experiments.relay_load.course import LoadRun
from experiments.relay_load.drawings import draw
from experiments.relay_load.measure import CellResult, Results, WindowOf, half_rate, measure, price

CELL = Cell("broadcast", 8, BASE_SIZE)
BLOCKS = 8


def servers(spread: float = 0.01, **cost_ns: float) -> WindowOf:
    """Returns servers of which a frame costs so many ns, give or take ``spread`` of it."""
    chance = random.Random(1)

    def window(server: str, load: Load) -> Window:
        cost = cost_ns[server] * chance.uniform(1 - spread, 1 + spread)
        return Window(
            server=server,
            load=load,
            seconds=load.seconds,
            sent=load.frames,
            frames_in=load.frames,
            copies_out=load.frames * load.copies,
            lost=0,
            cpu_ns=round(cost * load.frames),
            schedstat_ns=0,
            core_busy_ns=0,
            steal_ns=0,
            saturated=False,
            latest_ns=0,
        )

    return window


def measured(spread: float = 0.01, **cost_ns: float) -> CellResult:
    return measure(CELL, servers(spread, **cost_ns), 5_000, BLOCKS, random.Random(2))


def test_a_hub_that_costs_half_as_much_again_is_seen_to() -> None:
    result = measured(null=20_000, relay=20_500, hub=30_750)
    ratio = result.ratio("hub", "relay")
    assert ratio.estimate == pytest.approx(1.5, rel=0.01)
    assert ratio.low < ratio.estimate < ratio.high < ratio.low + 0.04
    assert result.ratio("relay_again", "relay").estimate == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize(
    ("hub", "spread", "verdict"),
    [(30_000, 0.01, "confirmed"), (10_000, 0.01, "refuted"), (19_700, 0.05, "inconclusive")],
)
def test_the_verdict_follows_the_interval(hub: float, spread: float, verdict: str) -> None:
    results = Results([measured(spread, null=20_000, relay=20_000, hub=hub)])
    assert results.verdict().verdict == verdict


def test_a_round_more_is_at_the_same_rate_and_told_apart_in_the_samples() -> None:
    window_of, chance = servers(null=20_000, relay=20_000, hub=30_000), random.Random(2)
    first = measure(CELL, window_of, 5_000, BLOCKS, chance)
    second = measure(CELL, window_of, 9_000, BLOCKS, chance, first)
    assert second.rate == first.rate
    assert (len(first.blocks), len(second.blocks), second.blocks.rounds) == (8, 16, 2)
    samples = list(Results([second]).samples())
    assert {sample.labels["round"] for sample in samples} == {"0", "1"}
    assert len({sample.labels["block"] for sample in samples}) == 16
    assert second.cipher.n == 2 * first.cipher.n


def test_no_cells_no_verdict() -> None:
    assert Results().verdict().verdict == "not tested"


def test_an_unfit_instrument_publishes_nothing() -> None:
    run = LoadRun(checks=[Check("floor", False, "9 % of a frame"), Check("settings", True, "good")])
    assert run.verdict().verdict == "inconclusive"
    assert "floor: 9 % of a frame" in run.verdict().evidence
    assert run.figures() == {}


def test_an_unfit_instruments_figures_without_end_break_no_record() -> None:
    checks = [Check("agreement", False, "others are busy", {"ratio": math.inf, "ticks": 2.0})]
    assert [sample.name for sample in LoadRun(checks).samples()] == ["instrument.ticks"]


def test_figures_are_of_both_kinds_of_unit_and_named_by_their_cell() -> None:
    results = Results([measured(null=20_000, relay=20_500, hub=30_000)])
    figures = results.figures()
    assert figures["hub_over_relay.broadcast.n8.512"].unit == "ratio"
    per_frame = figures["relay_ns_per_frame_in.broadcast.n8.512"].value
    per_copy = figures["relay_ns_per_copy_out.broadcast.n8.512"].value
    assert per_frame == pytest.approx(7 * per_copy)
    share = figures["cipher_share_of_hub.broadcast.n8.512"]
    assert 0 < share.low <= share.value <= share.high
    assert len(results.table().rows) == 1
    assert {sample.unit for sample in results.samples()} == {"ns", "frames", "datagrams"}


def test_the_price_of_a_decision_is_the_difference_to_the_null_forwarder() -> None:
    window_of, cell = servers(null=20_000, relay=21_000), Cell("unicast", 3, 512)
    found = price(window_of, cell, half_rate(window_of, cell), 8, random.Random(1))
    difference = found.figures()["at_half_load.relay_minus_null"]
    assert difference.low < 1_000 < difference.high


def busy_server(cost_ns: float) -> Callable[[Load], Window]:
    window = servers(server=cost_ns)
    return lambda load: window("server", load)


def test_half_load_is_half_of_what_can_be_kept_up_with_and_not_of_what_a_buffer_hides() -> None:
    found = half_load(busy_server(20_000), Load(3, 512, "unicast", 1.0, 0.06))
    assert 0.85 * 23_750 < found.rate < 23_750


def test_a_load_that_a_server_cannot_keep_up_with_is_made_less() -> None:
    found = within_reach(busy_server(100_000), Load(3, 512, "unicast", 20_000, 0.06))
    assert found.rate * 100_000 <= 0.96e9


def test_a_server_that_bears_nothing_is_an_error_that_names_the_load() -> None:
    with pytest.raises(LoadError, match="not borne even at 200 frames"):
        half_load(busy_server(1e9), Load(3, 512, "unicast", 1.0, 0.06))


def test_a_full_run_has_all_cells_and_a_quick_one_a_line_through_each_dimension() -> None:
    assert len(list(cells(quick=False))) == 18
    quick = list(cells(quick=True))
    assert {cell.size for cell in quick} == {64, 512, 1360}
    assert {cell.cast for cell in quick} == {"unicast", "broadcast"}
    assert {cell.members for cell in quick} == set(GROUPS)


@pytest.mark.parametrize("cell", list(cells(quick=False)), ids=Cell.describe)
def test_a_cells_name_is_read_back(cell: Cell) -> None:
    assert parse(cell.name("hub_over_relay")) == ("hub_over_relay", cell)


@pytest.mark.parametrize("name", ["relay_datagrams_in", "x.unicast.n.64", "x.anycast.n3.64"])
def test_other_names_are_no_cells(name: str) -> None:
    assert parse(name) is None


def test_ratios_are_drawn_against_group_and_frame_size(tmp_path: Path) -> None:
    results = Results(
        [
            measure(cell, servers(null=1e4, relay=1e4, hub=2e4), 5_000, BLOCKS, random.Random(3))
            for cell in cells(quick=True)
        ]
    )
    drawings = draw(results.figures(), tmp_path)
    assert [one.svg.name for one in drawings] == ["ratio-by-group.svg", "ratio-by-size.svg"]
    assert all("2.00 at" in one.caption for one in drawings)
    assert (tmp_path / "ratio-by-size.png").stat().st_size > 1000
