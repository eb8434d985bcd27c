"""Embodiment 1: the network of Fig. 2, real processes in it, real frames over it, and what must hold.

Patent: Figs. 1-10.
"""

from __future__ import annotations

from pathlib import Path

from msgspec import structs

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
from experiments.embodiments.invariants import INVARIANTS
from experiments.embodiments.scripted_counts import scripted_counts
from experiments.embodiments.seen import Seen
from experiments.peers import comparison
from experiments.progress import Progress
from experiments.records.environment import utc_now
from experiments.records.record import Figure, Record, Summary, summarise
from experiments.relay_load import course as load_run
from topologies.emulate import Network
from topologies.plan import Kind, Plan


def steps(quick: bool) -> int:
    """Returns how many steps a run and its report have."""
    return len(STEPS) + load_run.steps(quick) + 1


def run(
    plan: Plan, parameters: Parameters, folder: Path, progress: Progress
) -> tuple[Record, Summary]:
    """Builds the network, lets frames flow, checks, and returns record and summary."""
    started = utc_now()
    seen, links, invariants = walk(plan, parameters, folder, progress, _vantage, INVARIANTS)
    load = load_run.LoadRun(failure="left out")
    if parameters.load:
        load = load_run.run(
            parameters.quick,
            parameters.seed,
            parameters.wire,
            parameters.settings.dataplane,
            progress,
        )
    record = record_of(plan, parameters, seen, links, started)
    record = structs.replace(
        record,
        samples=(*record.samples, *load.samples()),
        tables=(*load.tables(), *record.tables),
    )
    figures = {**load.figures(), **_figures(seen), **scripted_counts(seen)}
    if parameters.peers:
        peers = comparison.run(parameters, progress)
        record = structs.replace(
            record,
            ended=utc_now(),
            samples=(*record.samples, *peers.samples()),
            tables=(*peers.tables(), *record.tables),
        )
        invariants |= peers.invariants
        figures |= peers.figures()
    verdicts = {**claims.structure(invariants), "E1": load.verdict()}
    return record, summarise(plan.name, invariants, figures, verdicts)


def _vantage(network: Network) -> Vantage:
    """Captures where the server is linked to the network: every datagram passes there twice."""
    (server,) = network.plan.servers
    interfaces = network.plan.interfaces(server.name, Kind.OUTSIDE)
    return {server.name: [interface.name for interface in interfaces]}


def _figures(seen: Seen) -> dict[str, Figure]:
    """Returns exact counts: the relay's datagrams and copies, and the processes' memory."""
    server = seen.statuses[seen.server]["counters"]
    return counts(
        {
            "relay_datagrams_in": (server["datagrams_in"], "datagrams"),
            "relay_copies_out": (server["copies_out"], "datagrams"),
            "probe_deliveries": (len(seen.probes.expected), "frames"),
            **memory_figures(seen),
        }
    )
