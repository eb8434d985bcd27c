"""What a case works out: functions from parameters to fields, everywhere the same for the same parameters.

A field is ``{"field", "value", "unit", "exactness", "note"}``; ``value`` is null where there is none to give,
and ``note`` then says why. None may depend on clocks, on the machine or on the order of anything.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple
from typing import Any

import numpy as np

from experiments.scale.coefficients import costs_named
from experiments.simulation.course import greet, link_packets, run_round
from experiments.traffic.probing import plan_round
from simulator.links import Impairment
from simulator.scale.loads import WAYS
from simulator.scale.model import Scenario, evaluate
from simulator.scale.networks import GRAPHML, check_name
from simulator.scale.placement import PlacementError
from simulator.scale.routers import NetworkError
from simulator.world import World, WorldError
from topologies.catalog import CATALOG
from topologies.plan import Kind, PlanError

Fields = list[dict[str, Any]]

WORLD_PARAMETERS: Mapping[str, tuple[str | int | float, ...]] = {
    "way": ("single", "multicast", "multiserver", "cascade"),
    "clients": (3, 6),
    "frames": (2,),
    "loss": (0.0, 0.01),
    "seed": (1, 2),
}
WORLD_FAILURES = (PlanError, WorldError, ValueError)
WORLD_TELLING = ("deliveries_due", "deliveries_missing", "all_links", "busiest_link")

SCALE_PARAMETERS: Mapping[str, tuple[str | int | float, ...]] = {
    "topology": ("topozoo/Abilene", "sndlib/germany50", "backbone/world"),
    "way": WAYS,
    "clients": (1_000, 10_000, 100_000),
    "group": (16,),
    "servers": (8,),
    "dataplane": ("",),
    "run_length": (1,),
    "seed": (1, 2, 3),
}
SCALE_FAILURES = (NetworkError, PlacementError, ValueError)
SCALE_TELLING = (
    *("busiest_server", "busiest_processor", "busiest_link", "link_copies", "most_rows"),
    "delay_p95",
)


def scale(parameters: Mapping[str, Any]) -> Fields:
    """Works out the scale model for one way of forwarding.

    Processors' times are in it for a ``dataplane`` as `coefficients.named` names one, with a hash of what
    was measured: the result depends on that too.
    """
    _expect_fit(scale_unfit, parameters)
    way, name = parameters["way"], parameters["dataplane"]
    dataplane, costs = costs_named(name) if name else ("", {})
    scenario = Scenario(
        network=parameters["topology"],
        clients=parameters["clients"],
        group_size=parameters["group"],
        servers=parameters["servers"],
        seed=parameters["seed"],
        run=parameters["run_length"],
        dataplane=dataplane,
        ways=(way,),
    )
    fields = evaluate(scenario, costs).outcomes[way].fields
    return [_field(name, *astuple(one)) for name, one in fields.items()]


def scale_unfit(name: str, value: Any) -> str:
    """Says why no case can have a parameter's value, whatever its others; nothing when some can."""
    if name == "way" and value not in WAYS:
        return f"expected one of {', '.join(WAYS)}"
    if name == "topology" and value.endswith(GRAPHML):
        return "expected a name: a file may change, and workers lack it"
    if name == "topology":
        try:
            check_name(value)
        except NetworkError as error:
            return str(error)
    return _below(name, value, {"clients": 2, "group": 2, "servers": 1, "run_length": 1, "seed": 0})


def world_unfit(name: str, value: Any) -> str:
    """Says why no case can have a parameter's value, whatever its others; nothing when some can."""
    if name == "way" and value not in CATALOG:
        return f"expected one of {', '.join(CATALOG)}"
    if name == "loss" and not 0 <= value <= 1:
        return "expected a share of 1"
    return _below(name, value, {"clients": 2, "frames": 1, "seed": 0})


def _below(name: str, value: Any, least: Mapping[str, int]) -> str:
    return f"expected {least[name]} or more" if name in least and value < least[name] else ""


def _expect_fit(unfit: Callable[[str, Any], str], parameters: Mapping[str, Any]) -> None:
    for name, value in parameters.items():
        if said := unfit(name, value):
            raise ValueError(f"{name} {value}: {said}")


def world(parameters: Mapping[str, Any]) -> Fields:
    """Lets probe frames flow in the world of events, on a topology of the catalog.

    Each client's first terminal sends ``frames`` unicast and as many broadcast frames of each size, while
    each link outside loses the share ``loss`` of its packets.
    """
    _expect_fit(world_unfit, parameters)
    plan = CATALOG[parameters["way"]](clients=parameters["clients"], terminals=1)
    made = World(plan, parameters["seed"])
    made.start()
    made.wait_until_registered()
    greet(made)
    for link in plan.links:
        if parameters["loss"] and link.kind is Kind.OUTSIDE:
            made.impair(*link.ends, Impairment(loss=parameters["loss"]))
    sent = plan_round(plan, parameters["frames"], random.Random(parameters["seed"]))
    before = link_packets(made)
    compared = run_round(made, sent).comparison
    carried = np.array([count - before[ends] for ends, count in link_packets(made).items()])
    return list(
        _exact(
            ("deliveries_due", compared.expected, "frames"),
            ("deliveries_missing", len(compared.missing), "frames"),
            ("deliveries_twice", len(compared.duplicated), "frames"),
            ("deliveries_wrong", len(compared.altered) + len(compared.unexpected), "frames"),
            ("all_links", int(carried.sum()), "packets"),
            ("busiest_link", int(carried.max()), "packets"),
            ("events", made.engine.events, "events"),
            ("trace", made.trace.fingerprint(), "hash"),
        )
    )


def _exact(*named: tuple[str, int | str, str]) -> Iterator[dict[str, Any]]:
    for name, value, unit in named:
        yield _field(name, value, unit, "exact", "")


def _field(
    name: str, value: float | str | None, unit: str, exactness: str, note: str
) -> dict[str, Any]:
    return {"field": name, "value": value, "unit": unit, "exactness": exactness, "note": note}
