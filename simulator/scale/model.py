"""All that the scale model says of one scenario: fields with a unit, and whether they are exact.

Patent: effects E1, E3, E4, E5.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from protocol.management.rekeying import RekeyPolicy
from protocol.relay import Strip
from simulator.scale.costs import Costs, SaturatedError, UnfittedError, Work
from simulator.scale.latency import PAIRS, Delays, delays, draw_pairs, fan_out_ns
from simulator.scale.loads import SEVERAL_SERVERS, WAYS, Loads, Round, Way, loads
from simulator.scale.networks import WORLD, network
from simulator.scale.placement import Attachment, Placement, place
from simulator.scale.rekeying import POLICIES, RekeyCost, rekey_cost
from simulator.scale.sizes import Sizes, sizes
from simulator.scale.tables import Rows, rows
from simulator.scale.trees import Paths
from simulator.scale.waiting import Mixture, mixture, times_at_server

Exactness = Literal["exact", "asymptotic", "approximate"]
SAMPLED = f"each delivery exact, {PAIRS} of them drawn by seed"
LONG_RUN = "long run, members leaving at random (Poisson)"
DIGITS = "SPIs counted with ten digits"
FITTED = "from coefficients fitted to measurements"
QUEUED = "exact queue (Lindley) for arrivals drawn by seed, costs from fitted coefficients"


@dataclass(frozen=True)
class Scenario:
    """A network, its clients and what they send. ``rounds_a_second`` says how often a round is sent.

    ``run`` is how many frames of one sender come right behind each other. It changes no load, but
    processors' times. Of which data plane these are, ``dataplane`` says, for the notes: it is the
    coefficients' matter.
    """

    network: str = WORLD
    clients: int = 1_000_000
    group_size: int = 16
    servers: int = 16
    seed: int = 1
    attachment: Attachment = "zipf"
    exponent: float = 1.0
    unicast: int = 1
    broadcast: int = 1
    rounds_a_second: float = 0.1
    frame: int = 512
    family: int = 6
    strip: Literal["keep", "patent"] = "keep"
    stations: int = 1
    stay_seconds: float = 28_800.0
    run: int = 1
    dataplane: str = ""
    ways: tuple[Way, ...] = WAYS

    def round(self) -> Round:
        """Returns the frames of a round."""
        return Round(self.unicast, self.broadcast)

    def sizes(self) -> Sizes:
        """Returns the octets of a frame's packets."""
        return sizes(self.frame, self.family, Strip(self.strip))


@dataclass(frozen=True)
class Field:
    """One number; ``value`` is None where the model refuses to give one, and ``note`` says why."""

    value: float | None
    unit: str
    exactness: Exactness
    note: str = ""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one way comes to: its fields, and the arrays behind them."""

    fields: Mapping[str, Field]
    loads: Loads
    rows: Rows
    delays: Delays


@dataclass(frozen=True, eq=False)
class Result:
    """A scenario with what comes of it for each way."""

    scenario: Scenario
    paths: Paths
    placement: Placement
    outcomes: Mapping[Way, Outcome]

    def to_json(self) -> dict[str, Any]:
        """Returns scenario and fields; the same for the same scenario on every machine."""
        return {
            "scenario": asdict(self.scenario),
            "fields": {
                way: {name: asdict(field) for name, field in outcome.fields.items()}
                for way, outcome in self.outcomes.items()
            },
        }


def evaluate(scenario: Scenario, costs: Mapping[str, Costs] | None = None) -> Result:
    """Works a scenario out; ``costs`` are a relay's and a hub's, by ``relay`` and ``hub``, of one plane.

    NetworkError, PlacementError, SizeError or ValueError for what does not fit.
    """
    paths = Paths(network(scenario.network, scenario.seed))
    placement = place(
        paths,
        scenario.clients,
        scenario.group_size,
        scenario.servers,
        scenario.attachment,
        scenario.exponent,
        scenario.seed,
    )
    return evaluate_at(scenario, paths, placement, costs or {})


def evaluate_at(
    scenario: Scenario, paths: Paths, placement: Placement, costs: Mapping[str, Costs]
) -> Result:
    """Works out a scenario whose clients are placed already."""
    pairs = draw_pairs(paths, placement, scenario.seed)
    round_, packet = scenario.round(), scenario.sizes()
    outcomes: dict[Way, Outcome] = {}
    for way in scenario.ways:
        carried = _alike(way, outcomes) or loads(way, paths, placement, packet, round_)
        taken = delays(way, paths, placement, pairs)
        held = rows(way, placement, scenario.stations)
        fields = {
            **_server_fields(carried, placement),
            **_link_fields(carried, paths),
            **_delay_fields(taken),
            **_table_fields(held),
            **_rekey_fields(way, placement, scenario),
        }
        if costs:
            fields |= _cost_fields(scenario, way, placement, carried, costs)
        outcomes[way] = Outcome(fields, carried, held, taken)
    return Result(scenario, paths, placement, outcomes)


def work_of(
    way: Way, datagrams_in: float, copies_out: float, packet: Sizes, run: float = 1.0
) -> Work:
    """Returns the work of a server that takes and sends so many datagrams, in runs of so many."""
    moved = datagrams_in * packet.to_server + copies_out * packet.to_client
    sealed = (datagrams_in + copies_out) * packet.sealed if way == "hub" else 0.0
    return Work(datagrams_in, copies_out, sealed, moved, run=run)


def _alike(way: Way, outcomes: Mapping[Way, Outcome]) -> Loads | None:
    """Returns the loads of the hub or the single relay, if the other one's are there: they are the same."""
    alike: dict[Way, Way] = {"hub": "single", "single": "hub"}
    other = outcomes.get(alike.get(way, way))
    return None if other is None else other.loads


def _server_fields(carried: Loads, placement: Placement) -> dict[str, Field]:
    servers = carried.servers
    handled = servers.handled
    return _exact(
        ("busiest_server", int(handled.max()), "datagrams a round"),
        ("all_servers", int(handled.sum()), "datagrams a round"),
        ("busiest_server_in", int(servers.datagrams_in[handled.argmax()]), "datagrams a round"),
        ("busiest_server_out", int(servers.copies_out[handled.argmax()]), "datagrams a round"),
        ("between_servers", int(servers.copies_to_servers.sum()), "datagrams a round"),
        ("most_clients", _most_clients(carried.way, placement), "clients at one server"),
    )


def _most_clients(way: Way, placement: Placement) -> int:
    """Counts the clients of the server that holds most."""
    if way in SEVERAL_SERVERS:
        return int(np.bincount(placement.homes).max())
    return placement.clients


def _link_fields(carried: Loads, paths: Paths) -> dict[str, Field]:
    links = carried.links
    used = links.copies > 0
    stress = links.copies[used] / links.frames[used]
    in_flight = float(links.copies @ paths.routers.delays) / 1e6
    return _exact(
        ("link_copies", int(links.copies.sum()), "packets times links a round"),
        ("link_octets", int(links.octets.sum()), "octets times links a round"),
        ("busiest_link", int(links.copies.max()), "packets a round, one direction"),
        ("busiest_link_octets", int(links.octets.max()), "octets a round, one direction"),
        ("resource_usage", in_flight, "packets times ms a round"),
        ("links_used", int(used.sum()), "directions of links"),
        ("mean_stress", float(stress.mean()) if used.any() else 0.0, "copies of a frame"),
        ("most_stress", float(stress.max()) if used.any() else 0.0, "copies of a frame"),
    )


def _delay_fields(taken: Delays) -> dict[str, Field]:
    fields = {
        f"delay_p{100 * share:g}": Field(value / 1e6, "ms", "approximate", SAMPLED)
        for share, value in taken.quantiles().items()
    }
    if len(taken.stretch):
        for share in (0.5, 0.95):
            value = float(np.quantile(taken.stretch, share))
            name = f"stretch_p{100 * share:g}"
            fields[name] = Field(value, "times the straight way", "approximate", SAMPLED)
    return fields


def _table_fields(held: Rows) -> dict[str, Field]:
    return _exact(
        ("rows_506", held.users, "rows"),
        ("rows_508_with_keys", held.associations, "rows"),
        ("most_rows_507", int(held.unicast_groups.max()), "rows at one server"),
        ("most_rows_508", int(held.multicast_addresses.max()), "rows at one server"),
        ("most_rows_509", int(held.stations.max()), "rows at one server"),
        ("most_rows", held.most, "rows of 507, 508, 509 at one server"),
    )


def _rekey_fields(way: Way, placement: Placement, scenario: Scenario) -> dict[str, Field]:
    fields: dict[str, Field] = {}
    for policy in POLICIES:
        cost = rekey_cost(way, policy, placement.sizes, scenario.stay_seconds)
        fields |= _of_policy(policy, cost)
    return fields


def _of_policy(policy: RekeyPolicy, cost: RekeyCost) -> dict[str, Field]:
    refused = f"{cost.too_large} groups have more members than an SA has sender IDs"
    if cost.too_large:
        nothing = Field(None, "messages", "exact", refused)
        return {f"rekey_{policy}_messages": nothing}
    return {
        f"rekey_{policy}_messages": Field(
            cost.messages, "messages, one change in each group", "exact"
        ),
        f"rekey_{policy}_octets": Field(
            cost.octets, "octets, one change in each group", "approximate", DIGITS
        ),
        f"rekey_{policy}_rate": Field(
            cost.messages_a_second, "messages a second", "asymptotic", LONG_RUN
        ),
    }


def _cost_fields(
    scenario: Scenario,
    way: Way,
    placement: Placement,
    carried: Loads,
    all_costs: Mapping[str, Costs],
) -> dict[str, Field]:
    """Returns how busy the dearest server is, and how long frames are there."""
    what = "hub" if way == "hub" else "relay"
    costs = all_costs.get(what)
    if costs is None:
        return _refused(f"nothing was measured of a {what} with data plane {scenario.dataplane}")
    servers, rate, packet = carried.servers, scenario.rounds_a_second, scenario.sizes()
    works = [
        work_of(way, int(taken) * rate, int(sent) * rate, packet, scenario.run)
        for taken, sent in zip(servers.datagrams_in, servers.copies_out, strict=True)
    ]
    try:
        dearest = int(np.argmax([costs.predict(work).value for work in works]))
        share = costs.utilisation(works[dearest])
    except (SaturatedError, UnfittedError) as error:
        return _refused(str(error))
    plane = f", data plane {scenario.dataplane}" if scenario.dataplane else ""
    fields = {"busiest_processor": Field(share, "of one core", "approximate", f"{FITTED}{plane}")}
    if servers.copies_out[dearest] and scenario.run == 1:
        frames = mixture(way, placement, dearest, scenario.round())
        fields |= _time_fields(scenario, way, frames, works[dearest].frames_in, costs)
    return fields


def _refused(why: str) -> dict[str, Field]:
    return {"busiest_processor": Field(None, "of one core", "approximate", why)}


def _time_fields(
    scenario: Scenario, way: Way, frames: Mixture, frames_a_second: float, costs: Costs
) -> dict[str, Field]:
    """Returns when the last copy leaves an idle server, and how long copies take at the loaded one.

    For frames that come one by one: copies of a run leave in another order by each data plane.
    """
    packet = scenario.sizes()
    of_frame, of_copy = (
        costs.predict(work_of(way, *one, packet)).value for one in ((1, 0), (0, 1))
    )
    _, last = fan_out_ns(of_frame, of_copy, int(frames.copies.max()))
    fields = {"last_copy": Field(last / 1e6, "ms, idle server", "approximate", FITTED)}
    times = times_at_server(frames, frames_a_second, of_frame, of_copy, scenario.seed)
    for share in (0.5, 0.99):
        value = float(np.quantile(times, share)) / 1e6
        name = f"at_server_p{100 * share:g}"
        fields[name] = Field(value, "ms, waiting and fan-out", "approximate", QUEUED)
    return fields


def _exact(*named: tuple[str, float, str]) -> dict[str, Field]:
    return {name: Field(value, unit, "exact") for name, value, unit in named}


def exactness_of(results: Iterable[Result]) -> dict[str, tuple[Exactness, str]]:
    """Returns how exact each field is and why, in the order of the fields."""
    found: dict[str, tuple[Exactness, str]] = {}
    for result in results:
        for outcome in result.outcomes.values():
            for name, field in outcome.fields.items():
                if field.value is not None:
                    found.setdefault(name, (field.exactness, field.note))
    return found
