"""The verdicts on E4 and E5, and which networks a run measures for them.

Patent: effects E4, E5.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from experiments.embodiments.vpn_servers.course import (
    CROSS_CLIENTS,
    CROSS_SERVERS,
    EVEN,
    FULL_CLIENTS,
    FULL_SERVERS,
    QUICK_CLIENTS,
    _point_figures,
    held_elsewhere,
    points_of,
    spread,
    steps,
)
from experiments.embodiments.vpn_servers.points import (
    COUNTERS,
    Point,
    PointResult,
    ServerLoad,
    Way,
    pair,
    plan_of,
    table,
)
from experiments.records.record import Invariant

SINGLE = Point("single", 1, 6)
DIRECT = Point("multiserver", 3, 6)
CASCADE = Point("cascade", 3, 6)
ONE_COPY = {"one_copy_to_each_server": Invariant(True, "")}
MANY_COPIES = {"one_copy_to_each_server": Invariant(False, "")}


def load(datagrams_in: int, copies_out: int, rows: int, between: int = 0) -> ServerLoad:
    """Makes what one server did and holds."""
    counts = dict.fromkeys(COUNTERS, 0)
    counts |= {
        "datagrams_in": datagrams_in,
        "copies_out": copies_out,
        "copies_to_servers": between,
    }
    return ServerLoad(counts, {"507": rows, "509": 6}, [2_000_000, 3_000_000])


def result(point: Point, *loads: ServerLoad) -> PointResult:
    """Makes a point as it was measured."""
    named = dict(zip("abcdefgh", loads, strict=False))
    return PointResult(point, 720, 180, 3.0, named, 5000)


ALONE = result(SINGLE, load(900, 1620, 6))
SPREAD = result(DIRECT, *[load(300, 540, 6)] * 3)


# -- E4


def test_an_even_share_confirms_that_load_is_spread() -> None:
    claim = spread([ALONE, SPREAD])
    assert claim.verdict == "confirmed"
    assert "multiserver, 3 servers, 6 clients: the busiest handles 0.33" in claim.evidence


@pytest.mark.parametrize(("busiest", "verdict"), [(1049, "confirmed"), (1051, "refuted")])
def test_the_busiest_may_have_a_quarter_more_than_its_share(busiest: int, verdict: str) -> None:
    allowed = EVEN / 3 * ALONE.busiest.handled
    assert allowed == pytest.approx(1050)
    uneven = result(DIRECT, load(0, busiest, 6), load(0, 700, 6), load(0, 700, 6))
    assert spread([ALONE, uneven]).verdict == verdict


def test_one_point_that_is_not_spread_refutes() -> None:
    more = replace(DIRECT, clients=8)
    points = [ALONE, SPREAD, result(replace(SINGLE, clients=8), load(100, 100, 8))]
    assert spread([*points, result(more, load(100, 100, 8), load(0, 0, 8))]).verdict == "refuted"


@pytest.mark.parametrize(
    "results",
    [
        [],
        [ALONE],
        [SPREAD],
        [ALONE, result(replace(DIRECT, clients=8), load(1, 1, 8))],
        [ALONE, result(replace(DIRECT, servers=1), load(900, 1620, 6))],
        [ALONE, result(replace(DIRECT, telling="whole"), load(900, 1620, 6))],
        [ALONE, result(CASCADE, load(900, 1620, 6))],
    ],
    ids=["nothing", "one alone", "no one alone", "other clients", "one of one", "whole", "cascade"],
)
def test_without_a_pair_to_compare_the_spread_is_inconclusive(results: list[PointResult]) -> None:
    assert spread(results).verdict == "inconclusive"


# -- E5


def held(rows: int) -> list[PointResult]:
    """Makes direct delivery with 6 rows of table 507, and a cascade with so many at most."""
    return [SPREAD, result(CASCADE, load(500, 900, 4, 280), load(500, 900, rows, 280))]


def test_fewer_rows_and_one_copy_confirm_that_clients_are_held_elsewhere() -> None:
    claim = held_elsewhere(held(5), ONE_COPY)
    assert claim.verdict == "confirmed"
    assert "at most 5 rows in a server's table 507, direct 6" in claim.evidence


def test_as_many_rows_refute_it() -> None:
    assert held_elsewhere(held(6), ONE_COPY).verdict == "refuted"


def test_a_copy_too_many_between_servers_refutes_it() -> None:
    assert held_elsewhere(held(5), MANY_COPIES).verdict == "refuted"


@pytest.mark.parametrize(
    "results",
    [
        [],
        [SPREAD],
        held(4)[1:],
        [SPREAD, result(replace(CASCADE, servers=1), load(900, 1620, 6))],
        [result(replace(DIRECT, telling="whole"), load(1, 1, 6)), held(4)[1]],
    ],
    ids=["nothing", "direct alone", "cascade alone", "one server", "whole"],
)
def test_without_direct_delivery_to_compare_with_it_is_inconclusive(
    results: list[PointResult],
) -> None:
    assert held_elsewhere(results, ONE_COPY).verdict == "inconclusive"


# -- points


@pytest.mark.parametrize("way", ["multiserver", "cascade"])
@pytest.mark.parametrize("quick", [True, False])
def test_points_are_all_different_and_can_be_planned(way: str, quick: bool) -> None:
    points = points_of(way, quick)
    assert len(set(points)) == len(points)
    for point in points:
        plan = plan_of(point, 6)
        assert len(plan.clients()) == point.clients
        assert len(plan.relays or plan.servers) == point.servers
        assert all(link.delay_ns is None for link in plan.links)


def test_a_quick_run_measures_its_own_way_and_what_that_is_compared_with() -> None:
    quick = {way: [(p.way, p.telling) for p in points_of(way, True)] for way in WAYS}
    assert quick == {
        "multiserver": [
            ("single", "usual"),
            ("multiserver", "usual"),
            ("multiserver", "unreported"),
            ("multiserver", "whole"),
        ],
        "cascade": [("multiserver", "usual"), ("cascade", "usual")],
    }
    assert {p.clients for way in WAYS for p in points_of(way, True)} == {QUICK_CLIENTS}


def test_a_full_run_measures_both_ways_over_each_number_of_servers_and_of_clients() -> None:
    points = set(points_of("cascade", quick=False))
    assert points == set(points_of("multiserver", quick=False))
    for way in WAYS:
        at = {(p.servers, p.clients) for p in points if (p.way, p.telling) == (way, "usual")}
        assert at == {(servers, CROSS_CLIENTS) for servers in FULL_SERVERS} | {
            (CROSS_SERVERS, clients) for clients in FULL_CLIENTS
        }
    assert points >= {Point("single", 1, clients) for clients in FULL_CLIENTS}
    others = {point for point in points if point.telling != "usual"}
    assert {point.telling for point in others} == {"unreported", "whole"}
    assert points >= {replace(point, telling="usual") for point in others}


def test_clients_of_a_full_run_can_be_spread_evenly_over_the_servers_that_most_points_have() -> (
    None
):
    assert all(clients % CROSS_SERVERS == 0 for clients in FULL_CLIENTS)


def test_there_is_a_step_for_every_point_of_either_way() -> None:
    for quick in (True, False):
        longest = max(len(points_of(way, quick)) for way in WAYS)
        assert steps(quick) > longest


WAYS: tuple[Way, ...] = ("multiserver", "cascade")


# -- what a point says


def test_the_busiest_is_the_server_that_took_and_sent_most() -> None:
    uneven = result(DIRECT, load(10, 90, 6), load(60, 60, 6), load(99, 0, 6))
    assert uneven.busiest.handled == 120
    assert uneven.total("datagrams_in") == 169


def test_the_table_has_a_row_for_each_server_with_its_rates() -> None:
    (row, *others) = table([ALONE, SPREAD]).rows
    assert row[:4] == ("single, 1 server, 6 clients", "a", 300.0, 540.0)
    assert [other[1] for other in others] == ["a", "b", "c"]
    # 5 ms of processor time in 3 s.
    assert row[-1] == pytest.approx(0.17)


def test_samples_tell_points_servers_and_rounds_apart() -> None:
    whole = result(replace(DIRECT, telling="whole"), load(1, 1, 6))
    samples = [*ALONE.samples(), *SPREAD.samples(), *whole.samples()]
    keys = {(sample.name, *sorted(sample.labels.items())) for sample in samples}
    assert len(keys) == len(samples)
    cpu = [sample.value for sample in ALONE.samples() if sample.name == "point.cpu"]
    assert cpu == [2_000_000, 3_000_000]


@pytest.mark.parametrize("places", ["aabbcc", "abcabc", "cbbaca", "abababab", "aaaabbbb"])
def test_where_clients_are_spread_evenly_each_sends_to_another_server(places: str) -> None:
    at = {f"c{number}": server for number, server in enumerate(places)}
    partners = pair(at)
    assert sorted(partners) == sorted(partners.values()) == sorted(at)
    assert all(at[one] != at[other] for one, other in partners.items())


def test_at_one_server_each_sends_to_the_next() -> None:
    assert pair({"c1": "a", "c2": "a", "c3": "a"}) == {"c1": "c2", "c2": "c3", "c3": "c1"}


def test_what_is_flooded_is_a_share_of_what_crosses() -> None:
    flooding = load(300, 540, 6)
    flooding.counts["unknown_unicast_in"] = 120
    found = replace(result(DIRECT, flooding, flooding), crossing=480)
    figures = dict(_point_figures([found, result(CASCADE, flooding)]))
    assert figures["flooded_known_unicast.multiserver.3x6"].value == 0.5
    assert "flooded_known_unicast.cascade.3x6" not in figures


@pytest.mark.parametrize(("placed", "even"), [((2, 2, 2), True), ((2, 1), True), ((3, 0), False)])
def test_clients_that_chance_has_placed_unevenly_show_nothing(
    placed: tuple[int, ...], even: bool
) -> None:
    direct = replace(result(DIRECT, load(900, 1620, 6)), placed=placed)
    cascade = replace(result(CASCADE, load(500, 900, 6, 280)), placed=placed)
    verdict = "refuted" if even else "inconclusive"
    assert spread([ALONE, direct]).verdict == verdict
    claim = held_elsewhere([SPREAD, cascade], ONE_COPY)
    assert claim.verdict == verdict
    assert ("3 and 0 clients at the servers" in claim.evidence) is not even
