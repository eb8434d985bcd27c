"""``make scale``: works out what servers and links of a large network carry, for each way of forwarding.

Counts are exact and checked against each other; the exit code is 1 when they do not come out.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict

import numpy as np

from experiments.progress import Progress
from experiments.records import figures as figures_of
from experiments.records.environment import describe_checkout
from experiments.records.record import (
    Figure,
    Invariant,
    RecordError,
    Sample,
    Table,
    load_summary,
)
from experiments.run_folder import RESULTS, Found, Given, create_run_folder, tell, write_run
from experiments.scale import curves
from experiments.scale.coefficients import REFERENCE, calibration, kept_costs
from experiments.scale.drawings import EMULATED, MAP_LINK, MAP_SERVER, MAP_WAYS
from simulator.scale.costs import Costs
from simulator.scale.loads import SEVERAL_SERVERS
from simulator.scale.model import Result, Scenario, evaluate, exactness_of
from simulator.scale.placement import PlacementError
from simulator.scale.routers import NetworkError
from simulator.scale.sizes import SizeError

TOPIC = "scale"
EXIT_USAGE = 2
_EMULATED = ("multiserver", "cascade")
_KIBI = 1024


def run(options: argparse.Namespace) -> int:
    """Works everything out and writes the results; returns the exit code."""
    try:
        dataplane, costs = kept_costs(options.dataplane)
        scenario = Scenario(
            network=options.network,
            clients=options.clients,
            group_size=options.group_size,
            servers=options.servers,
            seed=options.seed,
            run=options.run_length,
            dataplane=dataplane,
        )
        given = _given(scenario, options.quick)
        with Progress(_steps(options.quick)) as progress:
            progress.step(f"{scenario.clients} clients on {scenario.network}", 6)
            result, spent = _timed(scenario, costs)
            for name, figure in spent.items():
                progress.note(f"  {name}: {figure.value:.3g} {figure.unit}")
            figures = (
                spent | dict(_of_result(result)) | dict(_pictures(result, options, costs, progress))
            )
            progress.step("where each way wins", 4 if options.quick else 25)
            grid = curves.QUICK_GRID if options.quick else curves.FULL_GRID
            samples = [
                *_samples(result),
                *curves.comparison(scenario, grid.within(result.paths.routers)),
            ]
            progress.step("writing the report", 2)
            found = Found(samples, list(_tables(result)), figures, _invariants(result, figures))
            folder = create_run_folder(
                RESULTS / TOPIC, _slug(scenario.network), describe_checkout()
            )
            summary = write_run(folder, given, found)
    except (NetworkError, PlacementError, SizeError, ValueError) as error:
        print(f"scale: {error}", file=sys.stderr)
        return EXIT_USAGE
    return tell(folder, summary)


def _given(scenario: Scenario, quick: bool) -> Given:
    parameters = {
        name: value for name, value in asdict(scenario).items() if name not in ("ways", "seed")
    }
    return Given(TOPIC, {}, {**parameters, "quick": quick}, scenario.seed)


def _steps(quick: bool) -> float:
    return 6 + 2 + (4 if quick else 12) + (4 if quick else 25) + 2


def _timed(scenario: Scenario, costs: Mapping[str, Costs]) -> tuple[Result, dict[str, Figure]]:
    """Works the scenario out, and returns how long that took and what memory the process has needed."""
    begin, worked = time.perf_counter(), time.process_time()
    result = evaluate(scenario, costs)
    seconds, processor = time.perf_counter() - begin, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIBI
    routers = result.paths.routers
    return result, {
        "model_seconds": figures_of.exact(seconds, "s"),
        "model_processor": figures_of.exact(processor, "s of processor"),
        "model_peak_memory": figures_of.exact(peak, "octets resident"),
        "routers": figures_of.exact(routers.count, "routers"),
        "links": figures_of.exact(len(routers.links), "links"),
    }


def _of_result(result: Result) -> Iterator[tuple[str, Figure]]:
    """Yields every field of every way."""
    for way, outcome in result.outcomes.items():
        for name, field in outcome.fields.items():
            if field.value is not None:
                unit = f"{field.unit} ({field.exactness})"
                yield f"{way}.{name}", figures_of.exact(field.value, unit)


def _pictures(
    result: Result, options: argparse.Namespace, costs: Mapping[str, Costs], progress: Progress
) -> Iterator[tuple[str, Figure]]:
    """Yields the figures of the pictures."""
    progress.step("one group of up to a million clients", 2)
    kept: dict[str, Figure] = {}
    for name in _EMULATED:
        try:
            found = load_summary(REFERENCE / name).figures
        except RecordError as error:
            progress.note(f"  no points of the emulator: {error}")
            continue
        # What they cost is of other planes than the coefficients.
        kept |= {one: figure for one, figure in found.items() if "_cpu." not in one}
    kept |= calibration()
    servers = curves.servers_measured(kept)
    largest = curves.QUICK_LARGEST if options.quick else curves.ONE_GROUP[-1]
    yield from curves.one_group(costs, largest, servers)
    yield from curves.emulated(kept, servers)
    progress.step("fewer clients", 4 if options.quick else 12)
    yield from curves.of_clients(result)
    yield from curves.by_clients(result.scenario, options.quick)


def _invariants(result: Result, figures: Mapping[str, Figure]) -> dict[str, Invariant]:
    """Tells whether the counts fit each other, and those of the emulator."""
    sizes, scenario = result.placement.sizes, result.scenario
    due = (
        int((sizes * (sizes - 1)).sum()) * scenario.broadcast + scenario.clients * scenario.unicast
    )
    wrong = []
    for way, outcome in result.outcomes.items():
        servers = outcome.loads.servers
        made = int((servers.copies_out - servers.copies_to_servers).sum())
        between = int(servers.copies_to_servers.sum())
        taken = int(servers.datagrams_in.sum()) - between
        if way != "multicast" and (made, taken) != (
            due,
            scenario.clients * scenario.round().frames,
        ):
            wrong.append(f"{way}: {made} copies to clients, {taken} datagrams from clients")
    found = {
        "every_frame_goes_to_each_receiver_once": Invariant(
            not wrong, f"{due} deliveries due a round; unequal: {'; '.join(wrong) or 'none'}"
        )
    }
    multicast = result.outcomes.get("multicast")
    if multicast is not None:
        links = multicast.loads.links
        twice = int((links.copies - links.frames).sum())
        found["multicast_puts_a_frame_on_a_link_once"] = Invariant(
            twice == 0, f"{int(links.copies.sum())} packets on links, {twice} too many"
        )
    points = {name: one for name, one in figures.items() if name.startswith(EMULATED)}
    found["the_emulator_counts_what_is_foretold"] = curves.emulated_as_foretold(points)
    return found


def _samples(result: Result) -> Iterator[Sample]:
    """Yields what the maps show: copies on each link, its stress (of its directions the larger), servers."""
    routers = result.paths.routers
    places = [f"{x:.2f} {y:.2f}" for x, y in routers.positions]
    if "nan nan" in places:
        return
    for way in MAP_WAYS:
        if way not in result.outcomes:
            continue
        links = result.outcomes[way].loads.links
        both = links.copies + links.copies[routers.reverse]
        each = links.copies / np.maximum(1, links.frames)
        stress = np.maximum(each, each[routers.reverse])
        for arc in routers.links:
            ends = {"a": places[routers.tails[arc]], "b": places[routers.heads[arc]]}
            labels = {**ends, "way": way, "stress": f"{stress[arc]:.3g}"}
            yield Sample(MAP_LINK, int(both[arc]), "copies a round", labels)
        several = way in SEVERAL_SERVERS
        sites = result.placement.servers if several else result.placement.servers[:1]
        for number, site in enumerate(() if way == "multicast" else sites):
            yield Sample(MAP_SERVER, number, "server", {"way": way, "at": places[site]})


def _tables(result: Result) -> Iterator[Table]:
    """Yields all fields, the ways side by side, each with how exact it is."""
    ways = list(result.outcomes)
    rows = []
    for name, (exactness, note) in exactness_of([result]).items():
        fields = [result.outcomes[way].fields.get(name) for way in ways]
        values = [_shown(None if one is None else one.value) for one in fields]
        unit = next(one.unit for one in fields if one is not None)
        rows.append((name.replace("_", " "), *values, unit, exactness, note))
    yield Table(
        "What each way comes to",
        ("", *ways, "unit", "", "why"),
        tuple(rows),
        "A round: every client sends one unicast and one broadcast frame. Empty: not to be said.",
    )
    refused = [
        (way, name.replace("_", " "), field.note)
        for way, outcome in result.outcomes.items()
        for name, field in outcome.fields.items()
        if field.value is None
    ]
    if refused:
        yield Table("What the model refuses to say", ("way", "field", "why"), tuple(refused))


def _shown(value: float | None) -> str | int | float:
    if value is None:
        return ""
    return int(value) if value == round(value) else float(f"{value:.5g}")


def _slug(network: str) -> str:
    """Returns a folder's name for a network: its name without folders above and signs."""
    name = network.removesuffix(".graphml")
    return "-".join(
        part for part in name.replace(":", "/").split("/") if part not in ("", ".", "..")
    )
