"""Embodiment 3: multicast routers carry the sealed packets, and the server carries none.

Patent: Figs. 13, 14.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec import structs

from experiments.embodiments import claims
from experiments.embodiments.addition import Addition
from experiments.embodiments.course import (
    STEPS,
    Parameters,
    Vantage,
    counts,
    memory_figures,
    record_of,
    walk,
)
from experiments.embodiments.multicast.invariants import (
    MULTICAST_INVARIANTS,
    PIM_INVARIANTS,
    tree_interfaces,
)
from experiments.embodiments.multicast.pim_addition import PimAddition
from experiments.embodiments.scripted_counts import scripted_counts
from experiments.embodiments.seen import Seen
from experiments.progress import Progress
from experiments.records.environment import utc_now
from experiments.records.record import Claim, Figure, Invariant, Record, Summary, summarise
from topologies.emulate import Network
from topologies.plan import Kind, Plan

_SHOWN_ELSEWHERE = ("C6", "C10")
"""Claims that speak of a packet around the inner one: there is none here."""
_SHOWS_E3 = (
    "server_is_idle",
    "unicast_probes_arrive_once_byte_for_byte",
    "broadcast_probes_reach_every_other_once",
)


def steps(quick: bool) -> int:
    """Returns how many steps a run and its report have."""
    return len(STEPS) + 1


def run(
    plan: Plan, parameters: Parameters, folder: Path, progress: Progress
) -> tuple[Record, Summary]:
    """Builds the network, lets frames flow, checks, and returns record and summary."""
    started = utc_now()
    finds_trees = plan.family == 4
    addition = PimAddition(parameters) if finds_trees else Addition()
    expected = PIM_INVARIANTS if finds_trees else MULTICAST_INVARIANTS
    seen, links, invariants = walk(plan, parameters, folder, progress, _vantage, expected, addition)
    record = record_of(plan, parameters, seen, links, started)
    if isinstance(addition, PimAddition):
        record = structs.replace(record, samples=(*record.samples, *addition.samples()))
    verdicts = {
        name: claim
        for name, claim in claims.structure(invariants).items()
        if name not in _SHOWN_ELSEWHERE
    }
    figures = {**_figures(seen), **scripted_counts(seen)}
    if isinstance(addition, PimAddition):
        figures |= addition.figures()
    verdicts["E3"] = _effect(invariants, figures)
    return record, summarise(plan.name, invariants, figures, verdicts)


def _vantage(network: Network) -> Vantage:
    """Captures on every interface of the multicast routers."""
    return {
        router: [interface.name for interface in network.plan.interfaces(router, Kind.OUTSIDE)]
        for router in network.plan.multicast_routers
    }


def _effect(invariants: Mapping[str, Invariant], figures: Mapping[str, Figure]) -> Claim:
    """Says whether the server was left out while frames reached everybody."""
    datagrams = figures["server_datagrams"].value
    deliveries = figures["probe_deliveries"].value
    detail = f"{datagrams:.0f} datagrams at the server for {deliveries:.0f} probe frames delivered"
    held = all(invariants[name].held for name in _SHOWS_E3)
    return Claim("confirmed" if held else "refuted", detail)


def _figures(seen: Seen) -> dict[str, Figure]:
    """Returns exact counts: datagrams at the server, and the copies that the trees call for."""
    plan = seen.plan
    copies = 0
    for name, send_plan in seen.probes.round.plans.items():
        passed = tree_interfaces(plan, plan.client_of(name).name, seen.routes)
        links = [
            link
            for link in plan.links
            if any(interface.name in passed for interface in link.interfaces)
        ]
        copies += len(links) * sum(stream.count for stream in send_plan.streams)
    return counts(
        {
            "server_datagrams": (seen.server_kernel["InDatagrams"], "datagrams"),
            "probe_copies_due_on_links": (copies, "packets"),
            "probe_deliveries": (len(seen.probes.expected), "frames"),
            **memory_figures(seen),
        }
    )
