"""Tests of experiments.scale.curves and offered."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.embodiments.vpn_servers.points import ROUND_SECONDS, Offer, Point
from experiments.progress import Progress
from experiments.records.record import Figure, load_summary
from experiments.scale import curves
from experiments.scale.curves import (
    Grid,
    comparison,
    emulated,
    emulated_as_foretold,
    one_group,
    servers_measured,
)
from experiments.scale.in_networks import cells, measure_networks
from simulator.scale.model import Scenario
from simulator.scale.networks import network

REFERENCE = Path(__file__).resolve().parents[3] / "results" / "reference"
SMALL = Scenario("topozoo/Abilene", clients=300, group_size=10, servers=3)


@pytest.fixture(scope="module")
def points() -> dict[str, Figure]:
    """The emulator's points that are kept."""
    kept = load_summary(REFERENCE / "multiserver").figures
    return dict(emulated(kept, servers_measured(kept)))


def test_the_emulator_counted_what_is_foretold(points: dict[str, Figure]) -> None:
    found = emulated_as_foretold(points)
    assert found.held, found.detail
    assert not found.detail.startswith("0 points")


def test_a_count_that_is_off_by_one_is_found(points: dict[str, Figure]) -> None:
    name = next(one for one in points if one.startswith("emulated.one_group.multiserver"))
    more = points[name].value + 1 / ROUND_SECONDS
    spoilt = points | {name: Figure(more, more, more, 1, "datagrams/s")}
    found = emulated_as_foretold(spoilt)
    assert not found.held
    assert name in found.detail


def test_points_are_of_as_many_servers_as_most_were_measured_with() -> None:
    one = Figure(1.0, 1.0, 1.0, 1, "")
    sizes = ("single.1x8", "multiserver.1x8", "multiserver.3x8", "cascade.4x8", "cascade.4x16")
    kept = {f"busiest_cpu.{size}": one for size in sizes} | {"busiest_cpu.cascade.4x8.whole": one}
    assert servers_measured(kept) == 4
    assert [name.partition("processor.")[2] for name in dict(emulated(kept, 4))] == [
        *("single.1x8", "cascade.4x8", "cascade.4x16")
    ]
    assert servers_measured({}) == 3


def test_one_server_alone_carries_as_much_as_all_together() -> None:
    figures = dict(one_group({}, 100_000))
    single, several, cascade = (
        figures[f"one_group.{way}"].value
        for way in ("single.1x100000", "multiserver.3x100000", "cascade.3x100000")
    )
    assert single == pytest.approx(3 * several, rel=1e-4)
    assert several < cascade < 1.001 * several


def test_ways_are_compared_by_every_criterion_everywhere() -> None:
    grid = Grid(200, (2, 10), (1, 3, 50)).within(network(SMALL.network))
    assert grid.servers == (1, 3)
    found = list(comparison(SMALL, grid))
    assert len(found) == 4 * 4 * 2 * 2
    direct, one = (
        next(
            sample.value
            for sample in found
            if sample.name == "wins.busiest_server"
            and sample.labels == {"way": way, "group": "10", "servers": "1"}
        )
        for way in ("multiserver", "single")
    )
    assert direct == one


def test_fewer_clients_carry_less() -> None:
    figures = dict(curves.by_clients(replace(SMALL, clients=10_000), quick=True))
    name = "busiest_server_by_clients.single."
    assert figures[f"{name}1000"].value == pytest.approx(10 * figures[f"{name}100"].value)


@pytest.mark.emulated
def test_real_servers_count_what_is_foretold() -> None:
    with Progress(30) as progress:
        offered = (
            (Point("cascade", 2, 3), (Offer(0.5, 1.0), Offer(0.2, 2.0))),
            (Point("single", 1, 2), (Offer(0.5, 1.0),)),
        )
        found = measure_networks(True, random.Random(1), progress, offered)
    assert len({(one.offer, one.node) for one in found}) == 5
    assert [one.counts for one in found] == [one.foretold for one in found]
    assert sum(one.counts.copies_to_servers for one in found) > 0
    assert all(min(one.measured.blocks_ns) > 0 for one in cells(found))
