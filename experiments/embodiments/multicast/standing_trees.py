"""Lets traffic raise the multicast trees of PIM, and waits until they stand.

A source's first packets go to the rendezvous point and from there to everybody, until the last
routers have joined the shortest paths: meanwhile some are lost and some come twice. What is counted
exactly is sent afterwards.

Patent: Fig. 13 parts 1301, 1302.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from experiments.traffic.probe import MARKER_LENGTH, SendPlan, Stream
from experiments.traffic.probing import BROADCAST, ProbingError, mac_of, start_sender
from experiments.traffic.steady import poll_until
from experiments.traffic.terminals import settle
from topologies.emulate import Network
from topologies.kernel_trees import Routes, read_routes, tree_faults

RATE = 20.0
"""Frames a second that each client's first terminal sends while the trees rise."""
FRAME_OCTETS = 64
STAND_SECONDS = 30.0
UNCHANGED_SECONDS, UNCHANGED_DEADLINE = 1.0, 10.0


def raise_trees(network: Network, folder: Path) -> None:
    """Sends from every client until the kernels' tables are trees; ProbingError if they never are."""
    with flood(network, folder):
        if faults := wait_for_trees(network):
            raise ProbingError(f"multicast trees: not up after {STAND_SECONDS:.0f} s: {faults[0]}")


def wait_for_trees(network: Network) -> list[str]:
    """Waits until the tables are trees and stay as they are; returns what is wrong at the deadline."""

    def standing() -> tuple[Routes, list[str]]:
        routes = read_routes(network.plan, network.pid)
        return routes, tree_faults(network.plan, routes)

    deadline = time.monotonic() + STAND_SECONDS
    while True:
        poll_until(lambda: not standing()[1], deadline)
        faults: list[str] = settle(standing, UNCHANGED_SECONDS, UNCHANGED_DEADLINE)[1]
        if not faults or time.monotonic() > deadline:
            return faults


@contextmanager
def flood(network: Network, folder: Path) -> Iterator[None]:
    """Has the first terminal of every client send broadcast frames while the body runs."""
    folder.mkdir()
    plan = network.plan
    running = []
    try:
        for number, client in enumerate(plan.clients(), 1):
            terminal = plan.terminals_of(client.name)[0]
            stream = Stream(BROADCAST, FRAME_OCTETS, int(RATE * STAND_SECONDS * 2), RATE)
            marker = bytes(MARKER_LENGTH).hex()
            sent = SendPlan(marker, number, mac_of(plan, terminal), (stream,))
            running.append(start_sender(network, folder, terminal.name, sent))
        yield
    finally:
        for process in running:
            process.terminate()
            process.communicate()
