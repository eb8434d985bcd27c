"""Our own relay and hub as peers' equals: the same network, terminals and measurements."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from experiments.deployment import DeploymentError, Settings, deploy
from experiments.instrument.bpf_stats import BpfStats, bpf
from experiments.isolation import MachineError
from experiments.peers.adapter import READY_SECONDS, Running, run, wait_for_frames
from topologies.emulate import Network
from topologies.plan import Kind

_PROGRAM_OF_ID = 13
"""linux/bpf.h: BPF_PROG_GET_FD_BY_ID."""


@dataclass(frozen=True)
class Own:
    """One way of forwarding of ours with its data plane."""

    name: str
    title: str
    settings: Settings
    cipher: str = "AES-128-GCM"
    remark: str = ""


OWN = (
    Own("relay-socket", "our relay, sockets", Settings(dataplane="socket")),
    Own("relay-batch", "our relay, batches", Settings(dataplane="batch")),
    Own(
        "relay-kernel",
        "our relay, kernel",
        Settings(dataplane="kernel"),
        remark="the run time of its eBPF program is counted beside its process",
    ),
    Own("hub", "our hub, batches", Settings(forwarding="hub", dataplane="batch")),
)


@contextlib.contextmanager
def own_up(own: Own, network: Network, folder: Path) -> Iterator[Running]:
    """Starts server and clients, waits until frames cross between all terminals, and ends them.

    DeploymentError when they do not come up, MachineError when there is no such data plane here.
    """
    with contextlib.ExitStack() as stack:
        deployment = stack.enter_context(deploy(network, folder, own.settings))
        (server,) = network.plan.servers
        used = deployment.status(server.name)["process"].get("dataplane")
        if used != own.settings.dataplane:
            raise MachineError(f"this machine forwards by {used}, not {own.settings.dataplane}")
        words = f"{own.name}: frames do not cross within {READY_SECONDS:.0f} s"
        wait_for_frames(network, deployment.processes, lambda: words)
        running = Running(own.name, network, deployment.processes[server.name])
        if own.settings.dataplane == "kernel":
            statistics = stack.enter_context(BpfStats())
            descriptor = _program(network, server.name)
            stack.callback(os.close, descriptor)
            running.kernel_time = lambda: statistics.run_time(descriptor).ns
        yield running


def _program(network: Network, server: str) -> int:
    """Returns a descriptor of the eBPF program that stands before the server's socket."""
    (outside,) = network.plan.interfaces(server, Kind.OUTSIDE)
    shown = run(network, server, ["tc", "-json", "filter", "show", "dev", outside.name, "ingress"])
    for one in json.loads(shown):
        program = one.get("options", {}).get("prog")
        if program is not None:
            return bpf(_PROGRAM_OF_ID, int(program["id"]).to_bytes(4, sys.byteorder))
    raise DeploymentError(f"{server}: no eBPF program at {outside.name}")
