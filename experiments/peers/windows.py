"""One window: frames offered to one terminal of a system, what arrived, and what the hub paid."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from experiments.deployment import DeploymentError
from experiments.instrument.window import Cast, Load
from experiments.peers.adapter import Running
from experiments.peers.stream import Arrived, Departed
from experiments.traffic.probing import BROADCAST, mac_of
from topologies.plan import Plan

FRAME_SIZE = 1360
TCP_PORT = 5202
_END_SECONDS = 30.0
_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Passage:
    """What one window showed. ``copies`` are due and ``arrived`` have come; times in ns."""

    sent: int
    copies: int
    arrived: int
    cpu_ns: int
    median_ns: int
    late_ns: int
    saturated: bool
    quantiles_ns: tuple[int, ...] = ()
    """Latencies at `stream.QUANTILES`, at the terminal that came off worst."""

    @property
    def loss(self) -> float:
        """The share of copies that did not come."""
        return 1 - self.arrived / self.copies if self.copies else 1.0

    @property
    def ns_per_frame(self) -> float:
        """The hub's CPU time per frame in, in ns."""
        return self.cpu_ns / self.sent if self.sent else math.nan

    @property
    def ns_per_copy(self) -> float:
        """The hub's CPU time per copy that arrived, in ns."""
        return self.cpu_ns / self.arrived if self.arrived else math.nan


def offer(running: Running, cast: Cast, rate: float, seconds: float) -> Passage:
    """Sends ``rate`` frames a second at the first terminal: to the second, or to all others."""
    plan = running.network.plan
    source, *others = (_station(plan, client.name) for client in plan.clients())
    targets = others if cast == "broadcast" else others[:1]
    destination = BROADCAST if cast == "broadcast" else mac_of(plan, plan.node(targets[0]))
    window = next(_NUMBERS)
    with ExitStack() as stack:
        receivers = [stack.enter_context(_receiver(running, name, window)) for name in targets]
        before = running.hub_time()
        departed = _send(running, source, destination, window, rate, seconds)
        for receiver in receivers:
            assert receiver.stdin is not None
            receiver.stdin.close()
        arrived = [_arrived(receiver) for receiver in receivers]
        after = running.hub_time()
    return Passage(
        sent=departed.frames,
        copies=departed.frames * len(targets),
        arrived=sum(one.frames for one in arrived),
        cpu_ns=after - before,
        median_ns=max(one.median_ns for one in arrived),
        late_ns=max(one.late_ns for one in arrived),
        saturated=departed.saturated or departed.refused > 0,
        quantiles_ns=max(arrived, key=lambda one: one.median_ns).quantiles_ns,
    )


def speak(running: Running) -> None:
    """Has all stations speak, so that whoever has forgotten them meanwhile learns them again."""
    plan = running.network.plan
    first, *others = (_station(plan, client.name) for client in plan.clients())
    address = str(plan.lan_interface(first).addresses[0].ip)
    for one in others:
        argv = ["ping", "-n", "-c", "1", "-W", "2", address]
        running.network.run(one, argv, _END_SECONDS)


def tcp(running: Running, seconds: int) -> float:
    """Returns the octets a second that one TCP connection carries between two LANs (iperf3)."""
    network = running.network
    source, target = (_station(network.plan, one.name) for one in network.plan.clients()[:2])
    address = str(network.plan.lan_interface(target).addresses[0].ip)
    listener = network.popen(
        target,
        ["iperf3", "--server", "--one-off", "--forceflush", "--port", str(TCP_PORT)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        assert listener.stdout is not None
        for line in iter(listener.stdout.readline, b""):
            if b"listening" in line:
                break
        argv = ["iperf3", "--client", address, "--port", str(TCP_PORT), "--json"]
        done = network.run(source, [*argv, "--time", str(seconds)], seconds + _END_SECONDS)
    except subprocess.TimeoutExpired:
        return 0.0
    finally:
        listener.terminate()
        listener.communicate(timeout=_END_SECONDS)
    return _octets_a_second(done.stdout)


def _octets_a_second(report: str) -> float:
    """Reads iperf3's report: what was received, 0 when nothing was."""
    try:
        ended: dict[str, Any] = json.loads(report).get("end", {})
    except ValueError:
        return 0.0
    return float(ended.get("sum_received", {}).get("bits_per_second", 0.0)) / 8


def _station(plan: Plan, client: str) -> str:
    """Names the first terminal on a client's LAN."""
    return plan.terminals_of(client)[0].name


def _argv(running: Running, node: str, command: str, window: int) -> list[str]:
    interface = running.network.plan.lan_interface(node).name
    return [
        *(sys.executable, "-m", "experiments.peers.stream", command),
        *("--interface", interface, "--window", str(window)),
    ]


@contextmanager
def _receiver(running: Running, node: str, window: int) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a receiver, waits until it listens, and ends it."""
    process = running.network.popen(
        node,
        _argv(running, node, "receive", window),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise DeploymentError(f"{running.name}: the receiver at {node} did not start")
        yield process
    finally:
        process.kill()
        process.wait(timeout=_END_SECONDS)


def _arrived(process: subprocess.Popen[bytes]) -> Arrived:
    assert process.stdout is not None
    try:
        return msgspec.json.decode(process.stdout.readline(), type=Arrived)
    except msgspec.DecodeError:
        raise DeploymentError("a receiver of frames ended without a word") from None


def send_frames(running: Running, node: str, destination: str, load: Load) -> Departed:
    """Sends a load's frames from a terminal to a station, bursts of them behind each other."""
    return _send(
        running,
        node,
        destination,
        next(_NUMBERS),
        load.rate,
        load.frames / load.rate,
        load.frame_size,
        load.burst,
    )


def _send(
    running: Running,
    node: str,
    destination: str,
    window: int,
    rate: float,
    seconds: float,
    size: int = FRAME_SIZE,
    burst: int = 1,
) -> Departed:
    own: Sequence[str] = (
        *("--destination", destination),
        *("--source", mac_of(running.network.plan, running.network.plan.node(node))),
        *("--size", str(size), "--rate", str(rate), "--seconds", str(seconds)),
        *("--burst", str(burst)),
    )
    argv = [*_argv(running, node, "send", window), *own]
    try:
        done = running.network.run(node, argv, seconds + _END_SECONDS)
    except subprocess.TimeoutExpired:
        raise DeploymentError(f"{running.name}: the sender at {node} does not end") from None
    if done.returncode:
        raise DeploymentError(f"{running.name}: the sender at {node}: {done.stderr.strip()}")
    return msgspec.json.decode(done.stdout, type=Departed)
