"""The machine's settings for a measurement: cores, interfaces' steering and offloads.

What belongs to interfaces is set in the rig's own namespaces and goes with them. What belongs to
this process, its cores, is put back at the end.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from experiments.isolation import MachineError
from topologies.emulate import EmulationError, Network

Wire = Literal["segmented", "whole"]
"""Whether a batch passes as the single datagrams that a real wire carries, or as one large skb."""

COMMAND_SECONDS = 30.0


@dataclass(frozen=True)
class Cores:
    """The core that the measured server has for itself, and the one for everything else."""

    measured: int
    others: int


def choose_cores() -> Cores:
    """Returns the last core of those allowed and the first; MachineError when there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise MachineError(f"{len(allowed)} core: the instrument needs 2, one for the server alone")
    return Cores(measured=allowed[-1], others=allowed[0])


@contextlib.contextmanager
def kept_to(core: int) -> Iterator[None]:
    """Keeps this process, and what it starts meanwhile, to one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def pin(process: int, core: int) -> None:
    """Pins all threads of a process to a core; those that it starts later inherit it."""
    for thread in Path(f"/proc/{process}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


def cores_of(process: int) -> set[int]:
    """Returns the cores that any thread of a process may use."""
    threads = Path(f"/proc/{process}/task").iterdir()
    return set().union(*(os.sched_getaffinity(int(thread.name)) for thread in threads))


def run(network: Network, node: str, argv: list[str], text: str | None = None) -> str:
    """Runs a command in a node and returns what it wrote; EmulationError when it fails."""
    done = network.run(node, argv, timeout=COMMAND_SECONDS, input=text)
    if done.returncode:
        raise EmulationError(f"node {node}: {argv[0]}: {' '.join(done.stderr.split())}")
    return done.stdout


def steer(network: Network, node: str, interface: str, core: int | None) -> None:
    """Sets RPS of an interface: receives for it run on ``core``, or (None) where they arrive."""
    mask = "0" if core is None else f"{1 << core:x}"
    script = 'for queue in /sys/class/net/"$1"/queues/rx-*; do echo "$2" > "$queue/rps_cpus"; done'
    run(network, node, ["sh", "-ec", script, "sh", interface, mask])


def steering(network: Network, node: str, interface: str) -> set[int]:
    """Returns the cores that RPS of an interface may choose: none when it is off."""
    script = 'cat /sys/class/net/"$1"/queues/rx-*/rps_cpus'
    words = run(network, node, ["sh", "-ec", script, "sh", interface]).split()
    masks = [int(word.replace(",", ""), 16) for word in words]
    if not masks:
        raise EmulationError(f"node {node}: interface {interface}: no receive queue found")
    return {core for core in range(os.cpu_count() or 1) for mask in masks if mask >> core & 1}


def set_wire(network: Network, node: str, interface: str, wire: Wire) -> None:
    """Says whether a sender's batches leave an interface as single datagrams."""
    switch = "off" if wire == "segmented" else "on"
    run(network, node, ["ethtool", "-K", interface, "tx-udp-segmentation", switch])


def join_batches(network: Network, node: str, interface: str, peer: tuple[str, str]) -> None:
    """Has the kernel join datagrams of one sender again where they arrive (GRO), as a NIC's does.

    ``peer`` is the other end, node and interface: veth offers nothing to GRO while that may send TCP
    uncut, since there would be nothing to join.
    """
    run(network, node, ["ethtool", "-K", interface, "gro", "on"])
    run(network, peer[0], ["ethtool", "-K", peer[1], "tso", "off"])
