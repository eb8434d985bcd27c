"""Starts a server and all clients anew, and tells when each was in its group and what that took.

All clients are started at once, as after a power cut. A client is in its group when it says so.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from experiments.deployment import Deployment, DeploymentError, Settings, stop, write_files
from experiments.observation.capture import Capture
from experiments.observation.ike_outside import other_end
from experiments.records.record import Sample
from experiments.startup.outside import FILTER, PROTOCOLS, Passed, passed
from topologies.catalog import single
from topologies.emulate import Network
from topologies.plan import Plan

Control = Literal["tls", "ike"]
CONTROLS: tuple[Control, ...] = ("tls", "ike")
JOINED_SECONDS = 60.0
POLL_SECONDS = 0.01
_JOINED = b"joined VPN"


@dataclass(frozen=True)
class Client:
    """One client's start: seconds, and packets and octets by protocol."""

    joined_after: float
    """From the start of the first client's process."""
    registered_in: float
    """From its first packet to the moment that it was in its group."""
    packets: Mapping[str, int]
    octets: Mapping[str, int]
    memory: int
    """What its process has to itself, and its share of what it shares (PSS), in octets."""
    charon: int
    """The same of its charon; 0 without one."""


@dataclass(frozen=True)
class Start:
    """One start of all clients."""

    control: Control
    repetition: int
    clients: Mapping[str, Client]
    server: int
    """PSS of the server's process, all clients being there, in octets."""
    charon: int
    """The same of the server's charon."""
    codes: Mapping[str, int]
    """How the processes ended when they were asked to."""

    @property
    def ready_after(self) -> float:
        """Seconds from the start of the first client's process until all were in their group."""
        return max(client.joined_after for client in self.clients.values())

    def samples(self) -> Iterator[Sample]:
        """Yields every raw value."""
        labels = {
            "control": self.control,
            "clients": str(len(self.clients)),
            "repetition": str(self.repetition),
        }
        for name, client in self.clients.items():
            own = {**labels, "client": name}
            yield Sample("start.joined_after", client.joined_after, "s", own)
            yield Sample("start.registered_in", client.registered_in, "s", own)
            for protocol in PROTOCOLS:
                of_protocol = {**own, "protocol": protocol}
                yield Sample("start.packets", client.packets[protocol], "packets", of_protocol)
                yield Sample("start.octets", client.octets[protocol], "octets", of_protocol)
            yield Sample("start.memory", client.memory, "octets", {**own, "process": "client"})
            yield Sample("start.memory", client.charon, "octets", {**own, "process": "charon"})
        at_server = {**labels, "client": ""}
        yield Sample("start.memory", self.server, "octets", {**at_server, "process": "server"})
        yield Sample("start.memory", self.charon, "octets", {**at_server, "process": "its charon"})


def plan_of(clients: int) -> Plan:
    """Plans the network: one server, one group, one terminal a LAN."""
    return single(clients=clients, terminals=1, second_group=0)


class Starts:
    """Starts the same clients again and again, by either control, on one network."""

    def __init__(self, network: Network, folder: Path, controls: tuple[Control, ...]) -> None:
        self._network = network
        self._deployments: dict[Control, Deployment] = {}
        for control in controls:
            own = folder / control
            own.mkdir()
            settings = Settings(control=control)
            write_files(network.plan, own, settings)
            self._deployments[control] = Deployment(network, own, settings)

    def start(self, control: Control, repetition: int) -> Start:
        """Starts server and clients, measures, and ends them; DeploymentError when one does not come."""
        deployment = replace(self._deployments[control], processes={})
        for log in deployment.folder.glob("*.log"):
            log.unlink()
        (server,) = self._network.plan.servers
        beside, interface = other_end(self._network.plan, server.name)
        try:
            deployment.start(server)
            deployment.wait(server.name, "serving")
            path = deployment.folder / "registrations.pcapng"
            with Capture(self._network.popen, beside, [interface], path, FILTER):
                begun, joined = _start_clients(deployment)
            found = _clients(deployment, path, begun, joined)
            process = deployment.processes[server.name].pid
            at_server = proportional_memory(process), _charons_memory(deployment, server.name)
        finally:
            codes = stop(deployment)
        return Start(control, repetition, found, *at_server, codes)


def _start_clients(deployment: Deployment) -> tuple[float, dict[str, float]]:
    """Starts all clients, and returns when the first was started and when each was in its group."""
    clients = deployment.plan.clients()
    begun = time.time()
    for client in clients:
        deployment.start(client)
    waiting = {client.name for client in clients}
    joined: dict[str, float] = {}
    deadline = begun + JOINED_SECONDS
    while waiting:
        for name in sorted(waiting):
            if _JOINED in (deployment.folder / f"{name}.log").read_bytes():
                joined[name] = time.time()
                waiting.remove(name)
        if time.time() > deadline:
            last = sorted(waiting)[0]
            raise DeploymentError(f"{last}: not in its group\n{deployment.log(last)}")
        time.sleep(POLL_SECONDS)
    return begun, joined


def _clients(
    deployment: Deployment, capture: Path, begun: float, joined: Mapping[str, float]
) -> dict[str, Client]:
    plan = deployment.plan
    addresses = {plan.data_address(client.name): client.name for client in plan.clients()}
    packets: dict[str, list[Passed]] = {name: [] for name in addresses.values()}
    for one in passed(capture, addresses):
        name = addresses[one.client]
        if one.at <= joined[name]:
            packets[name].append(one)
    return {name: _client(deployment, name, packets[name], begun, joined[name]) for name in joined}


def _client(
    deployment: Deployment, name: str, packets: list[Passed], begun: float, joined: float
) -> Client:
    if not packets:
        raise DeploymentError(f"{name}: in its group without a packet captured of its registration")
    return Client(
        joined - begun,
        joined - min(one.at for one in packets),
        {kind: sum(one.protocol == kind for one in packets) for kind in PROTOCOLS},
        {kind: sum(one.octets for one in packets if one.protocol == kind) for kind in PROTOCOLS},
        proportional_memory(deployment.processes[name].pid),
        _charons_memory(deployment, name),
    )


def _charons_memory(deployment: Deployment, name: str) -> int:
    process: dict[str, Any] = deployment.status(name)["process"]
    pid = process.get("charon_pid")
    return 0 if pid is None else proportional_memory(pid)


def proportional_memory(pid: int) -> int:
    """Returns a process's PSS in octets: its own memory, and its share of what several have mapped."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    lines = (line.partition(":") for line in text.splitlines()[1:])
    return {name: int(value.split()[0]) * 1024 for name, _, value in lines}["Pss"]
