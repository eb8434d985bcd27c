"""Embodiment 1: the network of Fig. 2, real processes in it, real frames over it, and what must hold.

Patent: Figs. 1-10.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments import claims, load_run
from experiments.capture import Capture, DecodingKey
from experiments.deployment import Deployment, Settings, deploy, stop
from experiments.environment import describe_checkout, describe_environment, utc_now
from experiments.instrument.settings import Wire
from experiments.invariants import Seen, check_all
from experiments.probing import plan_round, run_round
from experiments.progress import Progress
from experiments.record import (
    SCHEMA,
    Figure,
    Invariant,
    Record,
    Sample,
    Summary,
    Table,
    relative_arguments,
    summarise,
)
from experiments.report import DROPS, LINK_LOAD, NODE_LOAD
from experiments.traffic import link_packets, neighbours, ping_all, settle, tcp_all
from topologies.emulate import Network, emulate
from topologies.plan import Kind, Plan, Role

QUICK_PROBES = 20
FULL_PROBES = 500
STEPS = (
    "building the network",
    "starting server and clients",
    "terminals reach each other: ARP, ND, ping",
    "terminals reach each other: TCP",
    "probe frames",
    "checking invariants",
    "taking the network down",
)


@dataclass(frozen=True)
class Parameters:
    """What the user has chosen for a run."""

    quick: bool
    seed: int
    capture: bool
    wire: Wire
    settings: Settings


def steps(quick: bool) -> int:
    """Returns how many steps a run and its report have."""
    return len(STEPS) + load_run.steps(quick) + 1


def run(
    plan: Plan, parameters: Parameters, folder: Path, progress: Progress
) -> tuple[Record, Summary]:
    """Builds the network, lets frames flow, checks, and returns record and summary."""
    started = utc_now()
    with tempfile.TemporaryDirectory(prefix="blindrelay-", dir="/run") as private:
        progress.step(STEPS[0])
        with emulate(plan) as network:
            progress.step(STEPS[1])
            with deploy(network, Path(private), parameters.settings) as deployment:
                seen = _observe(deployment, parameters, Path(private), progress)
                links = link_packets(network)
                progress.step(STEPS[5])
                invariants = check_all(seen)
                progress.step(STEPS[6])
                invariants["processes_end_in_order"] = _end(deployment)
        if parameters.capture:
            _keep_captures(seen, folder)
    load = load_run.run(parameters.quick, parameters.seed, parameters.wire, progress)
    record = Record(
        schema=SCHEMA,
        topo=plan.name,
        plan=plan.to_json(),
        parameters=_flat(parameters),
        seed=parameters.seed,
        argv=relative_arguments(sys.argv[1:], Path.cwd()),
        commit=describe_checkout().commit,
        dirty=describe_checkout().dirty,
        environment=describe_environment(),
        started=started,
        ended=utc_now(),
        samples=(*_samples(seen, links), *load.samples()),
        tables=(*load.tables(), *_tables(seen)),
    )
    figures = {**load.figures(), **_figures(seen)}
    verdicts = {**claims.structure(invariants), "E1": load.verdict()}
    summary = summarise(plan.name, invariants, figures, verdicts)
    return record, summary


def _observe(
    deployment: Deployment, parameters: Parameters, private: Path, progress: Progress
) -> Seen:
    """Lets all traffic flow, and collects what was seen."""
    network, plan = deployment.network, deployment.plan
    progress.step(STEPS[2])
    pings = ping_all(network)
    found = neighbours(network)
    progress.step(STEPS[3])
    connections = tcp_all(network)
    progress.step(STEPS[4])
    chance = random.Random(parameters.seed)
    sent = plan_round(plan, QUICK_PROBES if parameters.quick else FULL_PROBES, chance)
    (server,) = plan.servers
    with ExitStack() as captures:
        outside = captures.enter_context(_capture(network, server.name, Kind.OUTSIDE, private))
        inside = captures.enter_context(
            _capture(network, plan.clients()[0].name, Kind.LAN, private)
        )
        probes = run_round(network, private, sent)
    names = [server.name, *(client.name for client in plan.clients())]
    statuses = settle(lambda: {name: _without_memory(deployment.status(name)) for name in names})
    for name in names:
        statuses[name]["process"] = deployment.status(name)["process"]
    return Seen(
        plan=plan,
        strip=parameters.settings.strip,
        server=server.name,
        statuses=statuses,
        maps={
            name: Path(f"/proc/{deployment.processes[name].pid}/maps").read_text() for name in names
        },
        pings=pings,
        neighbours=found,
        connections=connections,
        probes=probes,
        outside=outside.path,
        inside=inside.path,
        keys={
            group.vpn_id: deployment.keys(plan.clients(group.vpn_id)[0].name)
            for group in plan.groups
        },
    )


def _capture(network: Network, node: str, kind: Kind, private: Path) -> Capture:
    interfaces = [interface.name for interface in network.plan.interfaces(node, kind)]
    return Capture(network.popen, node, interfaces, private / f"{kind.value}.pcapng")


def _without_memory(status: dict[str, Any]) -> dict[str, Any]:
    """Leaves out what changes by itself, so that two readings of a silent process are equal."""
    tables = {
        title: {
            "columns": table["columns"],
            "rows": [
                [
                    cell
                    for name, cell in zip(table["columns"], row, strict=True)
                    if name != "remaining s"
                ]
                for row in table["rows"]
            ],
        }
        for title, table in status["tables"].items()
    }
    for table in tables.values():
        table["columns"] = [name for name in table["columns"] if name != "remaining s"]
    return {**status, "tables": tables, "process": {}}


def _end(deployment: Deployment) -> Invariant:
    """SIGTERM ends every process by itself, with exit code 0."""
    codes = stop(deployment)
    wrong = {name: code for name, code in codes.items() if code != 0}
    held = not wrong and len(codes) == len(deployment.processes)
    return Invariant(held, f"{len(codes)} processes ended" + (f", {wrong}" if wrong else ""))


def _keep_captures(seen: Seen, folder: Path) -> None:
    """Keeps both captures, with the dead keys of this run in the form that Wireshark reads."""
    for path in (seen.outside, seen.inside):
        (folder / path.name).write_bytes(path.read_bytes())
    rows = [
        row
        for keys in seen.keys.values()
        for key in keys
        for row in DecodingKey(
            key["spi"], bytes.fromhex(key["key"]), bytes.fromhex(key["salt"])
        ).rows()
    ]
    (folder / "esp_sa").write_text("\n".join(rows) + "\n", encoding="utf-8")


def _flat(parameters: Parameters) -> dict[str, str | int | float | bool | None]:
    return {
        "quick": parameters.quick,
        "capture": parameters.capture,
        "wire": parameters.wire,
        **vars(parameters.settings),
    }


def _samples(seen: Seen, links: dict[tuple[str, str], int]) -> Iterator[Sample]:
    for node, load in _node_loads(seen).items():
        yield Sample(NODE_LOAD, load, "frames", {"node": node})
    for (one, other), packets in links.items():
        yield Sample(LINK_LOAD, packets, "packets", {"a": one, "b": other})
    for node, status in seen.statuses.items():
        for name, value in status["counters"].items():
            if name.startswith("dropped_"):
                reason = name.removeprefix("dropped_")
                yield Sample(DROPS, value, "frames", {"node": node, "reason": reason})
            else:
                yield Sample(f"counter.{name}", value, "count", {"node": node})
        for name in ("resident_octets", "peak_resident_octets"):
            yield Sample(f"memory.{name}", status["process"][name], "octets", {"node": node})


def _node_loads(seen: Seen) -> dict[str, int]:
    """Returns what passed each node: datagrams at the server, frames at clients, probes at terminals."""
    loads = {seen.server: seen.counter(seen.server, "datagrams_in")}
    for client in seen.clients:
        loads[client] = seen.counter(client, "frames_sealed") + seen.counter(
            client, "frames_delivered"
        )
    for terminal in seen.plan.with_role(Role.TERMINAL):
        loads[terminal.name] = len(seen.probes.received[terminal.name])
    return loads


def _tables(seen: Seen) -> Iterator[Table]:
    for node in (seen.server, seen.clients[0]):
        for title, table in seen.statuses[node]["tables"].items():
            rows = tuple(tuple(str(cell) for cell in row) for row in table["rows"])
            yield Table(f"{node}: {title}", tuple(table["columns"]), rows)


def _figures(seen: Seen) -> dict[str, Figure]:
    """Returns exact counts: the relay's datagrams and copies, and the processes' memory."""
    server = seen.statuses[seen.server]
    values = {
        "relay_datagrams_in": (server["counters"]["datagrams_in"], "datagrams"),
        "relay_copies_out": (server["counters"]["copies_out"], "datagrams"),
        "probe_deliveries": (len(seen.probes.expected), "frames"),
        "server_resident_memory": (server["process"]["resident_octets"], "octets"),
        "server_peak_memory": (server["process"]["peak_resident_octets"], "octets"),
        "client_peak_memory": (
            max(seen.statuses[name]["process"]["peak_resident_octets"] for name in seen.clients),
            "octets",
        ),
    }
    return {name: Figure(value, value, value, 1, unit) for name, (value, unit) in values.items()}
