"""What a case works out: functions from parameters to fields, everywhere the same for the same parameters.

A field is ``{"field", "value", "unit", "exactness"}``; ``value`` is null where there is none to give. None
may depend on clocks, on the machine or on the order of anything.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from experiments.probing import plan_round
from experiments.simulation.course import greet, link_packets, run_round
from simulator.links import Impairment
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


def world(parameters: Mapping[str, Any]) -> Fields:
    """Lets probe frames flow in the world of events, on a topology of the catalog.

    Each client's first terminal sends ``frames`` unicast and as many broadcast frames of each size, while
    each link outside loses the share ``loss`` of its packets.
    """
    way = parameters["way"]
    if way not in CATALOG:
        raise ValueError(f"way {way}: expected one of {', '.join(CATALOG)}")
    plan = CATALOG[way](clients=parameters["clients"], terminals=1)
    if parameters["frames"] < 1:
        raise ValueError(f"frames {parameters['frames']}: expected 1 or more")
    if not 0 <= parameters["loss"] <= 1:
        raise ValueError(f"loss {parameters['loss']}: expected a share of 1")
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
        yield {"field": name, "value": value, "unit": unit, "exactness": "exact"}
