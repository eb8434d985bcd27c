"""Embodiments 4 and 5: the course of a run, its figures, and the verdicts on E4 and E5.

Patent: Figs. 15-19; effects E4, E5.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from msgspec import structs

from experiments.deployment import deploy
from experiments.embodiments import claims
from experiments.embodiments.course import (
    STEPS,
    Parameters,
    Vantage,
    counts,
    memory_figures,
    record_of,
    walk,
)
from experiments.embodiments.scripted_counts import scripted_counts
from experiments.embodiments.seen import Seen
from experiments.embodiments.vpn_servers.addition import LEAST_CHOICES, ServersAddition
from experiments.embodiments.vpn_servers.invariants import invariants_of
from experiments.embodiments.vpn_servers.nearest import exchange, register_again
from experiments.embodiments.vpn_servers.points import Point, PointResult, Way, measure, table
from experiments.progress import Progress
from experiments.records import figures as figures_of
from experiments.records.environment import utc_now
from experiments.records.record import Claim, Figure, Invariant, Record, Summary, summarise
from topologies.emulate import Network, emulate
from topologies.plan import Kind, Plan

QUICK_CLIENTS, QUICK_SERVERS = 6, 3
QUICK_ROUNDS, FULL_ROUNDS = 2, 4
FULL_CLIENTS = (4, 8, 16, 32)
FULL_SERVERS = (1, 2, 3, 4)
CROSS_CLIENTS, CROSS_SERVERS = 16, 4
"""Where the arms of a full run cross: all numbers of servers with so many clients, and all numbers of clients
at so many servers, over which each can be spread evenly.
"""
EVEN = 1.25
"""A server that handles at most this many times its even share counts as one among equals."""


def points_of(way: str, quick: bool) -> list[Point]:
    """Lists the networks that a run measures: its own way, and those that it is compared with.

    A full run has a cross of them, and the same for either way.
    """
    if quick:
        clients, servers = QUICK_CLIENTS, QUICK_SERVERS
        if way == "multiserver":
            return [
                Point("single", 1, clients),
                Point("multiserver", servers, clients),
                Point("multiserver", servers, clients, "unreported"),
                Point("multiserver", servers, clients, "whole"),
            ]
        return [Point("multiserver", servers, clients), Point("cascade", servers, clients)]
    points = [Point("single", 1, clients) for clients in FULL_CLIENTS]
    ways: tuple[Way, ...] = ("multiserver", "cascade")
    points += [
        Point(one, servers, clients)
        for clients in FULL_CLIENTS
        for servers in FULL_SERVERS
        if clients == CROSS_CLIENTS or servers == CROSS_SERVERS
        for one in ways
    ]
    points.append(Point("multiserver", CROSS_SERVERS, 8, "unreported"))
    return points + [Point("multiserver", CROSS_SERVERS, clients, "whole") for clients in (8, 16)]


def steps(quick: bool) -> int:
    """Returns how many steps a run and its report have."""
    return len(STEPS) + len(points_of("multiserver", quick)) + 2


def run(
    plan: Plan, parameters: Parameters, folder: Path, progress: Progress
) -> tuple[Record, Summary]:
    """Builds the networks, lets frames flow, checks, measures, and returns record and summary."""
    started = utc_now()
    addition = ServersAddition(parameters)
    expected = invariants_of(plan.delivery)
    seen, links, invariants = walk(plan, parameters, folder, progress, _vantage, expected, addition)
    progress.step("clients choose with the delays swapped")
    invariants["the_nearest_is_chosen_when_delays_are_swapped"] = _swapped(plan, parameters)
    rounds = QUICK_ROUNDS if parameters.quick else FULL_ROUNDS
    way = "cascade" if plan.delivery == "cascade" else "multiserver"
    results = []
    for point in points_of(way, parameters.quick):
        progress.step(f"load: {point.describe()}")
        results.append(measure(point, parameters.settings, plan.family, rounds))
    record = record_of(plan, parameters, seen, links, started)
    record = structs.replace(
        record,
        samples=(
            *record.samples,
            *addition.samples(),
            *(sample for result in results for sample in result.samples()),
        ),
        tables=(table(results), *record.tables),
    )
    figures = {**_figures(seen), **addition.figures(), **dict(_point_figures(results))}
    figures |= scripted_counts(seen)
    figures["choices_of_the_nearest"] = figures_of.exact(addition.choices.nearest, "registrations")
    verdicts = {**claims.structure(invariants)}
    verdicts["E4"] = spread(results) if way == "multiserver" else Claim("not tested", "")
    if way == "cascade":
        verdicts["E5"] = held_elsewhere(results, invariants)
    return record, summarise(plan.name, invariants, figures, verdicts)


def _vantage(network: Network) -> Vantage:
    """Captures where each VPN server is linked to the network."""
    return {
        relay.name: [
            interface.name for interface in network.plan.interfaces(relay.name, Kind.OUTSIDE)
        ]
        for relay in network.plan.relays
    }


def _swapped(plan: Plan, parameters: Parameters) -> Invariant:
    """Builds the network with two servers in each other's place, and has clients choose there."""
    swapped = exchange(plan)
    if swapped is None:
        return Invariant(True, "not applicable: no exchange of two servers changes a nearest one")
    with (
        tempfile.TemporaryDirectory(prefix="blindrelay-", dir="/run") as private,
        emulate(swapped.plan) as network,
        deploy(network, Path(private), parameters.settings) as deployment,
    ):
        made = register_again(deployment, LEAST_CHOICES)
    detail = (
        f"{made.nearest} of {made.made} registrations; {swapped.one} and {swapped.other} swapped "
        f"for {', '.join(swapped.clients)}"
    )
    return Invariant(made.nearest == made.made >= LEAST_CHOICES, detail)


# -- figures and verdicts


def spread(results: list[PointResult]) -> Claim:
    """E4: the busiest of several servers handles its even share of what one server would."""
    said, held = [], []
    for result in results:
        alone = _find(results, replace(result.point, way="single", servers=1, telling="usual"))
        if result.point.way != "multiserver" or result.point.telling != "usual" or alone is None:
            continue
        if result.point.servers == 1:
            continue
        if not result.even:
            said.append(_uneven(result))
            continue
        share = result.busiest.handled / alone.busiest.handled
        cpu = sum(result.busiest.cpu_ns) / sum(alone.busiest.cpu_ns)
        held.append(share <= EVEN / result.point.servers)
        said.append(
            f"{result.point.describe()}: the busiest handles {share:.2f} of what one server does, "
            f"processor time {cpu:.2f}"
        )
    if not held:
        nothing = "no point with one server to compare with"
        return Claim("inconclusive", "; ".join(said) or nothing)
    return Claim("confirmed" if all(held) else "refuted", "; ".join(said))


def held_elsewhere(results: list[PointResult], invariants: dict[str, Invariant]) -> Claim:
    """E5: a server holds no other's clients, and sends one copy to each server instead of many."""
    said, held = [], []
    for result in results:
        direct = _find(results, replace(result.point, way="multiserver"))
        if result.point.way != "cascade" or result.point.servers == 1 or direct is None:
            continue
        if not result.even:
            said.append(_uneven(result))
            continue
        rows = max(load.rows["507"] for load in result.loads.values())
        all_rows = max(load.rows["507"] for load in direct.loads.values())
        frames = max(1, result.unicast + result.broadcasts)
        crossing = result.total("copies_to_servers") / frames
        held.append(rows < all_rows)
        said.append(
            f"{result.point.describe()}: at most {rows} rows in a server's table 507, direct "
            f"{all_rows}; {crossing:.2f} copies between servers for each frame"
        )
    if not invariants["one_copy_to_each_server"].held:
        return Claim("refuted", "did not hold: one_copy_to_each_server")
    if not held:
        nothing = "no point with direct delivery to compare with"
        return Claim("inconclusive", "; ".join(said) or nothing)
    return Claim("confirmed" if all(held) else "refuted", "; ".join(said))


def _uneven(result: PointResult) -> str:
    """Says why a point shows nothing: on a busy machine the nearest of equals is chosen by chance."""
    placed = " and ".join(map(str, result.placed))
    return f"{result.point.describe()}: {placed} clients at the servers, which is no even spread"


def _find(results: list[PointResult], point: Point) -> PointResult | None:
    return next((result for result in results if result.point == point), None)


def _figures(seen: Seen) -> dict[str, Figure]:
    """Returns exact counts over all servers."""
    return counts(
        {
            "relay_datagrams_in": (_total(seen, "datagrams_in"), "datagrams"),
            "relay_copies_out": (_total(seen, "copies_out"), "datagrams"),
            "copies_between_servers": (_total(seen, "copies_to_servers"), "datagrams"),
            "probe_deliveries": (len(seen.probes.expected), "frames"),
            **memory_figures(seen),
        }
    )


def _total(seen: Seen, counter: str) -> int:
    return sum(seen.counter(name, counter) for name in seen.forwarders)


def _point_figures(results: list[PointResult]) -> Iterator[tuple[str, Figure]]:
    """Yields each point's figures, named after it."""
    for result in results:
        point = result.point
        name = point.name
        seconds = result.seconds
        yield (
            f"busiest_datagrams.{name}",
            figures_of.exact(result.busiest.handled / seconds, "datagrams/s"),
        )
        yield f"busiest_cpu.{name}", _cpu(result)
        yield f"most_rows_507.{name}", figures_of.exact(_most_rows(result, "507"), "rows")
        yield f"most_rows_509.{name}", figures_of.exact(_most_rows(result, "509"), "rows")
        between = result.total("copies_to_servers") / seconds
        yield f"copies_between_servers.{name}", figures_of.exact(between, "datagrams/s")
        if point.way == "single":
            continue
        if result.crossing:
            flooded = result.total("unknown_unicast_in") / result.crossing
            unit = "share of unicast frames to stations at other servers"
            yield f"flooded_known_unicast.{name}", figures_of.exact(flooded, unit)
        yield f"table_octets.{name}", figures_of.exact(result.octets_to_servers, "octets")


def _most_rows(result: PointResult, number: str) -> int:
    return max(load.rows.get(number, 0) for load in result.loads.values())


def _cpu(result: PointResult) -> Figure:
    """Returns the busiest server's processor time for a second of the traffic, in ms."""
    rounds = len(result.busiest.cpu_ns)
    each = [cpu / 1e6 / (result.seconds / rounds) for cpu in result.busiest.cpu_ns]
    return figures_of.mean(each, "ms/s")
