"""What the experiments of all embodiments have in common: traffic, observation, samples, tables."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from experiments import run_folder
from experiments.deployment import Deployment, DeploymentError, Settings, deploy, stop
from experiments.embodiments.addition import Addition
from experiments.embodiments.invariants import check_all
from experiments.embodiments.seen import Seen
from experiments.instrument.settings import Wire
from experiments.observation import ike_datagrams
from experiments.observation.capture import Capture, merge
from experiments.observation.decoding import DecodingKey
from experiments.observation.ike_outside import look_outside
from experiments.progress import Progress
from experiments.records import figures as figures_of
from experiments.records.record import (
    DROPS,
    LINK_LOAD,
    NODE_LOAD,
    Figure,
    Invariant,
    Record,
    Sample,
    Table,
)
from experiments.run_folder import Found, Given
from experiments.traffic.probing import Outcome, Round, plan_round, run_round
from experiments.traffic.terminals import link_packets, neighbours, ping_all, settle, tcp_all
from topologies.emulate import Network, emulate
from topologies.kernel_trees import read_routes
from topologies.plan import Kind, Plan, Role
from topologies.shaping import means

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
    peers: tuple[str, ...] = ()
    """Other VPNs to measure beside ours, by name."""
    load: bool = True
    """Whether the relay's load is measured, where the topology has that."""


CLOCKS = ("remaining s", "age s")
"""Columns of tables that change by themselves."""

Vantage = Mapping[str, list[str]]
"""Where packets are captured outside: interfaces by node."""


def walk(
    plan: Plan,
    parameters: Parameters,
    folder: Path,
    progress: Progress,
    vantage_of: Callable[[Network], Vantage],
    invariants: Mapping[str, Callable[[Seen], Invariant]],
    addition: Addition | None = None,
) -> tuple[Seen, dict[tuple[str, str], int], dict[str, Invariant]]:
    """Builds the network, lets frames flow, checks, and takes it down.

    Returns what was seen, the packets of each link, and every invariant.
    """
    addition = addition or Addition()
    with tempfile.TemporaryDirectory(prefix="blindrelay-", dir="/run") as private:
        progress.step(STEPS[0])
        with emulate(plan) as network:
            progress.step(STEPS[1])
            with deploy(network, Path(private), parameters.settings) as deployment:
                baseline = addition.before(deployment, Path(private), progress)
                vantage = vantage_of(network)
                seen = observe(deployment, parameters, Path(private), progress, vantage)
                seen = replace(seen, baseline=baseline)
                links = link_packets(network)
                progress.step(STEPS[5])
                found = check_all(seen, invariants)
                found |= addition.after(deployment, Path(private), progress)
                if parameters.settings.control == "ike":
                    found |= look_outside(deployment, Path(private))
                progress.step(STEPS[6])
                found["processes_end_in_order"] = end(deployment)
        if parameters.capture:
            keep_captures(seen, folder)
    return seen, links, found


def observe(
    deployment: Deployment,
    parameters: Parameters,
    private: Path,
    progress: Progress,
    vantage: Vantage,
) -> Seen:
    """Lets all traffic flow, and collects what was seen; ``vantage`` says where outside."""
    network, plan = deployment.network, deployment.plan
    progress.step(STEPS[2])
    pings = ping_all(network)
    found = neighbours(network)
    progress.step(STEPS[3])
    connections = tcp_all(network)
    progress.step(STEPS[4])
    chance = random.Random(parameters.seed)
    sent = plan_round(plan, QUICK_PROBES if parameters.quick else FULL_PROBES, chance)
    probes, outside, inside = _captured_round(network, sent, private, vantage)
    (server,) = plan.servers
    names = [server.name, *(node.name for node in (*plan.relays, *plan.clients()))]
    return Seen(
        plan=plan,
        strip=parameters.settings.strip,
        server=server.name,
        statuses=_settled_statuses(deployment, names),
        maps={
            name: Path(f"/proc/{deployment.processes[name].pid}/maps").read_text() for name in names
        },
        pings=pings,
        neighbours=found,
        connections=connections,
        probes=probes,
        outside=outside,
        inside=inside,
        keys={group.vpn_id: _keys_of(deployment, group.vpn_id) for group in plan.groups},
        server_kernel=_udp_besides_ike(network, server.name, parameters.settings),
        routes=read_routes(plan, network.pid) if plan.family == 4 else {},
        hop_tags=parameters.settings.hop_tags == "required",
    )


def _captured_round(
    network: Network, sent: Round, private: Path, vantage: Vantage
) -> tuple[Outcome, Path, Path]:
    """Lets the probe frames flow; returns what came of them, and the captures outside and on a LAN."""
    with ExitStack() as captures:
        outside = [
            captures.enter_context(
                Capture(network.popen, node, interfaces, private / f"outside-{node}.pcapng")
            )
            for node, interfaces in vantage.items()
        ]
        first = network.plan.clients()[0].name
        inside = captures.enter_context(
            Capture(network.popen, first, lan_interfaces(network, first), private / "lan.pcapng")
        )
        settle(lambda: [capture.path.stat().st_size for capture in outside], asleep=network.asleep)
        begun = time.time()
        probes = run_round(network, private, sent)
        ended = time.time()
    merged = merge([one.path for one in outside], private / "outside.pcapng", begun, ended)
    return probes, merged, inside.path


def _settled_statuses(deployment: Deployment, names: list[str]) -> dict[str, dict[str, Any]]:
    """Reads the statuses of processes once nothing in them changes any more."""
    statuses: dict[str, dict[str, Any]] = settle(
        lambda: {name: _without_memory(deployment.status(name)) for name in names},
        asleep=deployment.network.asleep,
    )
    for name in names:
        statuses[name]["process"] = deployment.status(name)["process"]
    return statuses


def _keys_of(deployment: Deployment, vpn_id: int) -> list[dict[str, Any]]:
    """Asks one client of each Sub ID of a group for its SAs."""
    of_sub_id = {client.sub_id: client.name for client in reversed(deployment.plan.clients(vpn_id))}
    return [key for name in of_sub_id.values() for key in deployment.keys(name)]


def _udp_besides_ike(network: Network, node: str, settings: Settings) -> dict[str, int]:
    """Reads the kernel's UDP counters without those of IKE, which goes on meanwhile."""
    found = _udp_counters(network, node)
    if settings.control != "ike":
        return found
    deadline = time.monotonic() + ike_datagrams.READ_SECONDS
    while time.monotonic() < deadline:
        rest = ike_datagrams.without(network, node, found)
        again = _udp_counters(network, node)
        if again == found:
            return rest
        found = again
    raise DeploymentError(f"{node}: IKE does not pause for long enough to count beside it")


def _udp_counters(network: Network, node: str) -> dict[str, int]:
    """Reads the UDP counters of a node's kernel, those of both IP versions together."""
    found: dict[str, int] = {}
    process = Path(f"/proc/{network.pid(node)}/net")
    for line in (process / "snmp6").read_text().splitlines():
        name, value = line.split()
        if name.startswith("Udp6"):
            found[name.removeprefix("Udp6")] = int(value)
    rows = [line.split() for line in (process / "snmp").read_text().splitlines()]
    names, values = (row[1:] for row in rows if row[0] == "Udp:")
    for name, value in zip(names, values, strict=True):
        found[name] = found.get(name, 0) + int(value)
    return found


def lan_interfaces(network: Network, node: str) -> list[str]:
    """Names a node's interfaces on its LAN."""
    return [interface.name for interface in network.plan.interfaces(node, Kind.LAN)]


def _without_memory(status: dict[str, Any]) -> dict[str, Any]:
    """Leaves out what changes by itself, so that two readings of a silent process are equal."""
    tables = {
        title: {
            "columns": table["columns"],
            "rows": [
                [
                    cell
                    for name, cell in zip(table["columns"], row, strict=True)
                    if name not in CLOCKS
                ]
                for row in table["rows"]
            ],
        }
        for title, table in status["tables"].items()
    }
    for table in tables.values():
        table["columns"] = [name for name in table["columns"] if name not in CLOCKS]
    return {**status, "tables": tables, "process": {}}


def end(deployment: Deployment) -> Invariant:
    """SIGTERM ends every process by itself, with exit code 0."""
    codes = stop(deployment)
    wrong = {name: code for name, code in codes.items() if code != 0}
    held = not wrong and len(codes) == len(deployment.processes)
    return Invariant(held, f"{len(codes)} processes ended" + (f", {wrong}" if wrong else ""))


def keep_captures(seen: Seen, folder: Path) -> None:
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


def record_of(
    plan: Plan, parameters: Parameters, seen: Seen, links: dict[tuple[str, str], int], started: str
) -> Record:
    """Returns all that a run was given and all that it saw."""
    given = Given(
        plan.name,
        plan.to_json(),
        {
            **_flat(parameters),
            "dataplane": _said(seen, "dataplane"),
            "control": _said(seen, "control") or parameters.settings.control,
            "links_delayed_by": means(plan),
        },
        parameters.seed,
        started,
    )
    return run_folder.record_of(given, Found(list(_samples(seen, links)), list(_tables(seen))))


def _said(seen: Seen, what: str) -> str | None:
    """Returns what the processes have said of themselves, such as how they move datagrams.

    None when none has said it: none was there to move any.
    """
    said = {status["process"].get(what) for status in seen.statuses.values()} - {None}
    return ", ".join(sorted(said)) or None


def _flat(parameters: Parameters) -> dict[str, str | int | float | bool | None]:
    return {
        "quick": parameters.quick,
        "capture": parameters.capture,
        "wire": parameters.wire,
        "peers": ",".join(parameters.peers),
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
            if name not in status["process"]:
                continue  # a simulated process has no memory of its own
            yield Sample(f"memory.{name}", status["process"][name], "octets", {"node": node})


def _node_loads(seen: Seen) -> dict[str, int]:
    """Returns what passed each node: datagrams at servers, frames at clients, probes at terminals."""
    loads = {name: seen.counter(name, "datagrams_in") for name in seen.servers}
    for client in seen.clients:
        loads[client] = seen.counter(client, "frames_sealed") + seen.counter(
            client, "frames_delivered"
        )
    for terminal in seen.plan.with_role(Role.TERMINAL):
        loads[terminal.name] = len(seen.probes.received[terminal.name])
    return loads


def _tables(seen: Seen) -> Iterator[Table]:
    for node in (*seen.servers, seen.clients[0]):
        for title, table in seen.statuses[node]["tables"].items():
            rows = tuple(tuple(str(cell) for cell in row) for row in table["rows"])
            yield Table(f"{node}: {title}", tuple(table["columns"]), rows)


def counts(values: Mapping[str, tuple[int, str]]) -> dict[str, Figure]:
    """Makes figures of exact counts, each with its unit."""
    return {name: figures_of.exact(value, unit) for name, (value, unit) in values.items()}


def memory_figures(seen: Seen) -> dict[str, tuple[int, str]]:
    """Returns what memory the processes took."""
    server = seen.statuses[seen.forwarders[0]]["process"]
    return {
        "server_resident_memory": (server["resident_octets"], "octets"),
        "server_peak_memory": (server["peak_resident_octets"], "octets"),
        "client_peak_memory": (
            max(seen.statuses[name]["process"]["peak_resident_octets"] for name in seen.clients),
            "octets",
        ),
    }
