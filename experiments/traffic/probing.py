"""A round of probe frames over a network: who sends what to whom, and what arrived where."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from experiments.traffic.deliveries import Delivery, ProbeOutcome, compare, expected_deliveries
from experiments.traffic.probe import MARKER_LENGTH, SIZES, ReceivedFrame, SendPlan, Stream
from experiments.traffic.probe_program import read_received
from experiments.traffic.terminals import settle
from topologies.emulate import Network
from topologies.plan import Node, Plan

BROADCAST = "ff:ff:ff:ff:ff:ff"
RATE = 400.0
"""Frames a second of one sender."""
RECEIVE_SECONDS = 120.0
SILENCE_SECONDS = 0.5


class ProbingError(RuntimeError):
    """Says which sender or receiver did not do its work."""


@dataclass(frozen=True)
class Round:
    """What is sent in one round: a plan for each sending terminal, by its node's name."""

    marker: bytes
    plans: dict[str, SendPlan]

    def expected(self, plan: Plan) -> tuple[Delivery, ...]:
        """Lists what is due: a unicast frame to its terminal, a broadcast to all others of the group."""
        senders = {send_plan.sender: name for name, send_plan in self.plans.items()}

        def receivers(send_plan: SendPlan, stream: Stream) -> Iterable[str]:
            sender = plan.node(senders[send_plan.sender])
            others = _readers(plan, sender)
            if stream.destination == BROADCAST:
                return [node.name for node in others]
            return [
                node.name
                for node in others
                if plan.lan_interface(node.name).mac == stream.destination
            ]

        return expected_deliveries(self.plans.values(), receivers)

    def frames(self) -> list[bytes]:
        """Builds every frame of the round as octets."""
        return [
            frame.to_bytes()
            for send_plan in self.plans.values()
            for stream in send_plan.streams
            for frame in send_plan.frames_of(stream)
        ]


@dataclass(frozen=True)
class Outcome:
    """What a round showed."""

    round: Round
    expected: tuple[Delivery, ...]
    received: dict[str, list[ReceivedFrame]]
    comparison: ProbeOutcome


def plan_round(plan: Plan, count: int, chance: random.Random, senders: int | None = None) -> Round:
    """Plans ``count`` unicast and ``count`` broadcast frames of each size for one sender on each LAN.

    A sender's unicast frames go to a terminal of the next LAN of its group. With ``senders`` there are
    so many of them in each group at most, the first ones.
    """
    marker = chance.randbytes(MARKER_LENGTH)
    plans = {}
    number = 0
    for group in plan.groups:
        for client in plan.clients(group.vpn_id)[:senders]:
            number += 1
            sender = plan.terminals_of(client.name)[0]
            there = plan.terminals_of(_next_client(plan, client))
            # A client that is alone in its Sub ID has nobody to send to but all.
            target = None if sender in there else chance.choice(there)
            plans[sender.name] = SendPlan(
                marker.hex(), number, mac_of(plan, sender), _streams(plan, sender, target, count)
            )
    return Round(marker, plans)


def _readers(plan: Plan, sender: Node) -> list[Node]:
    """Lists the terminals that are to get what is sent to all: of the same group and Sub ID."""
    sub_id = plan.sub_id_of(sender.name)
    return [
        node
        for node in plan.terminals(sender.vpn_id)
        if node.name != sender.name and plan.sub_id_of(node.name) == sub_id
    ]


def _next_client(plan: Plan, client: Node) -> str:
    """Names the next client of the same group and Sub ID; the client itself when it is alone."""
    peers = [one for one in plan.clients(client.vpn_id) if one.sub_id == client.sub_id]
    return peers[(peers.index(client) + 1) % len(peers)].name


def _streams(plan: Plan, sender: Node, target: Node | None, count: int) -> tuple[Stream, ...]:
    streams = []
    first = 0
    limit = plan.lan_interface(sender.name).mtu + 14
    unicast = () if target is None else (mac_of(plan, target),)
    for destination in (*unicast, BROADCAST):
        for size in SIZES:
            streams.append(Stream(destination, min(size, limit), count, RATE, first))
            first += count
    return tuple(streams)


def run_round(network: Network, folder: Path, sent: Round) -> Outcome:
    """Sends a round and records what every terminal of every group receives, its own LAN's too."""
    plan = network.plan
    expected = sent.expected(plan)
    terminals = [terminal.name for terminal in plan.terminals()]
    receivers = {name: start_receiver(network, folder, name) for name in terminals}
    try:
        for name, process in receivers.items():
            expect_ready(process, name)
        _send(network, folder, sent)
        _wait_for_silence(network, folder, terminals)
    finally:
        for process in receivers.values():
            process.terminate()
            process.communicate(timeout=RECEIVE_SECONDS)
    records = {name: read_received(record_path(folder, name)) for name in terminals}
    frames = {
        name: [line for line in lines if isinstance(line, ReceivedFrame)]
        for name, lines in records.items()
    }
    return Outcome(sent, expected, frames, compare(expected, records))


def start_receiver(network: Network, folder: Path, name: str) -> subprocess.Popen[bytes]:
    """Starts recording every probe frame that a terminal receives, in a file of ``folder``."""
    interface = network.plan.lan_interface(name).name
    argv = [sys.executable, "-m", "experiments.traffic.probe", "receive", "--interface", interface]
    argv += ["--out", str(record_path(folder, name)), "--deadline", str(RECEIVE_SECONDS)]
    return network.popen(name, argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)


def expect_ready(process: subprocess.Popen[bytes], name: str) -> None:
    """Waits until a receiver listens; ProbingError when it ends instead."""
    assert process.stdout is not None
    if process.stdout.readline() != b"ready\n":
        raise ProbingError(f"the receiver at {name} ended before it was ready")


def start_sender(
    network: Network, folder: Path, name: str, send_plan: SendPlan
) -> subprocess.Popen[bytes]:
    """Starts sending what a terminal is to send; its plan is kept in ``folder``."""
    path = folder / f"{name}.plan"
    path.write_bytes(msgspec.json.encode(send_plan))
    interface = network.plan.lan_interface(name).name
    argv = [sys.executable, "-m", "experiments.traffic.probe", "send", "--interface", interface]
    return network.popen(
        name,
        [*argv, "--plan", str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def _send(network: Network, folder: Path, sent: Round) -> None:
    """Runs all senders at the same time and waits for their end."""
    running = {
        name: start_sender(network, folder, name, send_plan)
        for name, send_plan in sent.plans.items()
    }
    for name, process in running.items():
        _, errors = process.communicate(timeout=RECEIVE_SECONDS)
        if process.returncode:
            raise ProbingError(f"the sender at {name}: {errors.decode(errors='replace').strip()}")


def _wait_for_silence(network: Network, folder: Path, terminals: list[str]) -> None:
    """Waits until no receiver writes any more: what comes too late or too often is seen as well."""
    settle(
        lambda: [record_path(folder, name).stat().st_size for name in terminals],
        SILENCE_SECONDS,
        asleep=network.asleep,
    )


def record_path(folder: Path, name: str) -> Path:
    """Names the file in which a terminal's receiver records."""
    return folder / f"{name}.received"


def mac_of(plan: Plan, node: Node) -> str:
    """Returns a terminal's MAC address on its LAN, as text."""
    mac = plan.lan_interface(node.name).mac
    assert mac is not None
    return mac
