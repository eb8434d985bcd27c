"""Tests of simulator.scale.costs."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.scale.costs import (
    QUANTITIES,
    Costs,
    Measured,
    SaturatedError,
    UnfittedError,
    Work,
    fit,
    times,
)
from simulator.scale.loads import Way
from simulator.scale.model import Scenario, evaluate

TRUE = {"frame_in": 20_000.0, "copy_out": 6_000.0, "octet_sealed": 1.5, "octet_moved": 0.25}


def cell(copies: int, octets: int, noise: float = 0.0, seed: int = 0) -> Measured:
    """Returns a cell that costs what TRUE says, its blocks scattered by a share of that."""
    work = Work(1.0, copies, (1 + copies) * octets, (1 + copies) * octets)
    cost = sum(value * unit for value, unit in zip(TRUE.values(), work.row(), strict=False))
    scatter = np.random.default_rng(seed).normal(1.0, noise, 12) if noise else np.ones(12)
    return Measured(f"{copies} of {octets}", work, tuple((cost * scatter).tolist()))


def relay_cell(copies: int, octets: int, noise: float = 0.0, seed: int = 0) -> Measured:
    """Returns a cell without any cipher."""
    work = Work(1.0, copies, 0.0, (1 + copies) * octets)
    cost = TRUE["frame_in"] + TRUE["copy_out"] * copies + TRUE["octet_moved"] * work.octets_moved
    scatter = np.random.default_rng(seed).normal(1.0, noise, 12) if noise else np.ones(12)
    return Measured(f"{copies} of {octets}", work, tuple((cost * scatter).tolist()))


def test_coefficients_are_found_again() -> None:
    found = fit([relay_cell(copies, octets) for copies in (1, 3, 7) for octets in (64, 1360)])
    for name in ("frame_in", "copy_out", "octet_moved"):
        assert found.interval(name)[0] == pytest.approx(TRUE[name])
    assert found.interval("octet_sealed") == (0.0, 0.0, 0.0)


def test_what_cells_cannot_tell_apart_gets_one_coefficient() -> None:
    one_size = [relay_cell(copies, 512) for copies in (1, 3, 7)]
    found = fit(one_size)
    assert found.interval("octet_moved") == (0.0, 0.0, 0.0)
    octets = TRUE["octet_moved"] * 512
    assert found.interval("copy_out")[0] == pytest.approx(TRUE["copy_out"] + octets)
    assert found.predict(relay_cell(31, 512).work).value == pytest.approx(
        relay_cell(31, 512).mean_ns
    )
    # A hub moves what it seals, and a header with each datagram.
    header, of_hub = 90, []
    for copies, size in ((copies, size) for copies in (1, 7) for size in (64, 1360)):
        sealed = (1 + copies) * size
        work = Work(1.0, copies, sealed, sealed + (1 + copies) * header)
        of_hub.append(Measured("", work, (20_000 + 6_000 * copies + 1.5 * sealed,)))
    told = fit(of_hub)
    assert told.interval("octet_sealed")[0] == pytest.approx(1.5)
    assert told.interval("octet_moved") == (0.0, 0.0, 0.0)


def test_a_cell_whose_few_blocks_are_alike_by_chance_counts_no_more_than_others() -> None:
    others = [relay_cell(copies, 512, 0.05, copies) for copies in (1, 2, 3, 5)]
    work, cost = relay_cell(7, 512).work, 1.3 * relay_cell(7, 512).mean_ns
    alike, apart = (
        fit([*others, Measured("", work, (cost * (1 - scatter), cost * (1 + scatter)))])
        for scatter in (0.0, 0.2)
    )
    assert alike.best == pytest.approx(apart.best)


def test_no_coefficient_is_below_zero() -> None:
    falling = [Measured(str(n), Work(1.0, n), (1000.0 / n,)) for n in (1, 2, 4)]
    assert (fit(falling).best >= 0).all()


def test_what_was_left_out_is_predicted_and_the_interval_grows_with_the_noise() -> None:
    widths = []
    for noise in (0.01, 0.1):
        cells = [
            relay_cell(copies, octets, noise, seed)
            for seed, (copies, octets) in enumerate((c, o) for c in (1, 3, 7) for o in (64, 1360))
        ]
        found = fit(cells).predict(relay_cell(31, 512).work)
        assert found.value == pytest.approx(relay_cell(31, 512).mean_ns, rel=3 * noise)
        assert found.low <= found.value <= found.high
        widths.append(found.high - found.low)
    assert widths[0] < widths[1]


def test_nothing_is_said_of_a_server_that_is_saturated() -> None:
    costs = fit([cell(copies, octets) for copies in (1, 3, 7) for octets in (64, 1360)])
    work = Work(1.0, 7, 8 * 64, 8 * 64)
    cost = costs.predict(work).value
    most = 0.89e9 / cost
    assert costs.utilisation(times(work, most)) == pytest.approx(0.89)
    with pytest.raises(SaturatedError, match="utilisation 0.91: expected less than 0.9"):
        costs.utilisation(times(work, 0.91e9 / cost))


def test_the_model_refuses_a_number_where_a_server_would_be_saturated() -> None:
    costs = {
        "relay": fit([relay_cell(copies, octets) for copies in (1, 7) for octets in (64, 1360)])
    }
    ways: tuple[Way, ...] = ("single", "multiserver")
    base = Scenario("sndlib/germany50", clients=2_000, group_size=10, servers=12, ways=ways)
    found = evaluate(base, costs).outcomes["single"].fields["busiest_processor"]
    assert found.value is not None
    assert found.exactness == "approximate"
    busy = Scenario(**{**vars(base), "rounds_a_second": 50 * base.rounds_a_second})
    outcomes = evaluate(busy, costs).outcomes
    assert outcomes["single"].fields["busiest_processor"].value is None
    assert "utilisation" in outcomes["single"].fields["busiest_processor"].note
    assert outcomes["multiserver"].fields["busiest_processor"].value is not None


def run_cell(copies: int, run: int) -> Measured:
    """Returns a cell in which a run costs 8 us, a frame 0.2, each copy of a run 0.4 and of a frame 0.1."""
    work = Work(1.0, copies, run=run)
    return Measured("", work, ((8_000 + 400 * copies) / run + 200 + 100 * copies,))


def test_what_a_run_shares_is_told_from_what_each_datagram_costs() -> None:
    found = fit([run_cell(copies, run) for copies in (1, 7) for run in (1, 44)])
    of = {name: found.interval(name)[0] for name in ("run_in", "run_out", "frame_in", "copy_out")}
    expected = {"run_in": 8_000, "run_out": 400, "frame_in": 200, "copy_out": 100}
    assert of == pytest.approx(expected)
    between = run_cell(31, 8)
    assert found.predict(between.work).value == pytest.approx(between.mean_ns)


@pytest.mark.parametrize("run", [0.5, 45.0])
def test_runs_that_were_not_measured_are_refused(run: float) -> None:
    found = fit([run_cell(copies, run) for copies in (1, 7) for run in (1, 44)])
    with pytest.raises(UnfittedError, match=f"runs of {run:g} datagrams: expected 1 to 44"):
        found.predict(Work(1.0, 1.0, run=run))
    alone = fit([run_cell(copies, 1) for copies in (1, 7)])
    with pytest.raises(UnfittedError, match="expected 1 to 1"):
        alone.predict(Work(1.0, 1.0, run=2))


def test_a_plane_without_coefficients_is_refused_and_so_are_longer_runs() -> None:
    costs = {"relay": fit([run_cell(copies, run) for copies in (1, 7) for run in (1, 44)])}
    ways: tuple[Way, ...] = ("hub", "single")
    base = Scenario("sndlib/germany50", 2_000, 10, 12, ways=ways, dataplane="kernel")
    alone, runs, longer = (
        evaluate(Scenario(**{**vars(base), "run": run}), costs).outcomes for run in (1, 44, 45)
    )
    hub = alone["hub"].fields["busiest_processor"]
    assert hub.value is None
    assert hub.note == "nothing was measured of a hub with data plane kernel"
    shares = [one["single"].fields["busiest_processor"].value for one in (alone, runs, longer)]
    assert shares[0] is not None
    assert shares[1] is not None
    assert shares[0] > 3 * shares[1]
    assert shares[2] is None
    assert "expected 1 to 44" in longer["single"].fields["busiest_processor"].note
    assert "last_copy" in alone["single"].fields
    assert "last_copy" not in runs["single"].fields


def test_coefficients_come_back_from_their_file() -> None:
    found = fit([relay_cell(copies, octets, 0.05) for copies in (1, 3) for octets in (64, 1360)])
    again = Costs.from_json(found.to_json())
    work = relay_cell(5, 200).work
    assert again.predict(work).value == pytest.approx(found.predict(work).value)
    assert set(found.to_json()) == set(QUANTITIES)


def test_a_fit_to_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one"):
        fit([])


def test_a_half_width_is_students() -> None:
    one = Measured("", Work(1.0), (90.0, 110.0))
    assert one.half_width == pytest.approx(12.706 * 10 / 100, rel=1e-3)
    assert Measured("", Work(1.0), (90.0,)).half_width == 0
