"""Measures our relay and hub and the peers side by side: all up, each in a network like the others'.

What is measured at the same time is one system alone; the others are idle. Blocks go through all
systems in an order drawn by chance and back, so that the machine's moods fall on all alike.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from experiments.deployment import DeploymentError
from experiments.embodiments.course import Parameters
from experiments.instrument.loads import loss_free_rate
from experiments.instrument.statistics import Blocks, measure_blocks
from experiments.isolation import MachineError
from experiments.peers.adapter import Peer, Running, up
from experiments.peers.catalog import PEERS
from experiments.peers.own import OWN, Own, own_up
from experiments.peers.results import HIGHEST_RATE, Measured, Results, invariant_name
from experiments.peers.windows import offer, speak, tcp
from experiments.progress import Progress
from experiments.records.record import Invariant
from experiments.traffic.terminals import neighbours, ping_all
from topologies.catalog import single
from topologies.emulate import EmulationError, Network, emulate
from topologies.plan import Plan

LOSS = 0.005
"""The share of frames that may be lost at the throughput that is told."""
LOWEST_RATE = 500.0
SHARE = 0.5
BACKLOG = 0.1
"""The share of a window by which its last frames may be late: buffers hide a short overload."""


@dataclass(frozen=True)
class Pace:
    """How long windows are, in s, how fine the search is, and how many blocks there are."""

    window: float
    tcp: int
    precision: float
    blocks: int


QUICK = Pace(0.3, 1, 0.5, 3)
FULL = Pace(1.0, 2, 0.1, 4)
"""A block has all systems twice and takes two minutes: few are enough to be apart in time."""


def network_plan() -> Plan:
    """Plans the network of `single` that all can run in: IPv4 outside, one terminal on each LAN."""
    return single(clients=3, terminals=1, second_group=0, family=4)


def steps(names: tuple[str, ...], quick: bool) -> int:
    """Returns how many steps of a run this is: start, search, and two turns in each block."""
    return (len(names) + len(OWN)) * (2 + 2 * (QUICK if quick else FULL).blocks)


def run(parameters: Parameters, progress: Progress) -> Results:
    """Brings all systems up, measures them, and takes them down.

    A system that does not come up breaks its invariant, and the others are compared without it.
    """
    results = Results()
    with ExitStack() as stack:
        systems: dict[str, Running] = {}
        asked: list[Own | Peer] = [*OWN, *(PEERS[name]() for name in parameters.peers)]
        for one in asked:
            progress.step(f"peers: {one.name}: starting")
            with ExitStack() as attempt:
                try:
                    running = bring_up(one, attempt)
                except MachineError as error:
                    results.absent[one.name] = str(error)
                    continue
                except (DeploymentError, EmulationError) as error:
                    results.invariants[invariant_name(one.name)] = Invariant(False, str(error))
                    continue
                systems[one.name] = running
                stack.push(attempt.pop_all())
            results.invariants[invariant_name(one.name)] = _reach(running.network)
        _measure(systems, parameters, results, progress)
    return results


def bring_up(one: Own | Peer, stack: ExitStack) -> Running:
    """Brings one system up in a network of its own; DeploymentError, EmulationError, MachineError."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peers-", dir="/run")))
    network = stack.enter_context(emulate(network_plan()))
    entered: AbstractContextManager[Running]
    entered = own_up(one, network, folder) if isinstance(one, Own) else up(one, network, folder)
    return stack.enter_context(entered)


def _reach(network: Network) -> Invariant:
    """Every terminal reaches every other, by ping, ARP and neighbour discovery."""
    attempts = [*ping_all(network), *neighbours(network)]
    failed = [attempt.describe() for attempt in attempts if not attempt.succeeded]
    return Invariant(not failed, "; ".join(failed[:3]) or f"{len(attempts)} attempts succeeded")


def _measure(
    systems: Mapping[str, Running], parameters: Parameters, results: Results, progress: Progress
) -> None:
    pace = QUICK if parameters.quick else FULL
    for name, running in systems.items():
        progress.step(f"peers: {name}: throughput")
        found = throughput(running, pace)
        if found:
            results.throughput[name] = found
        else:
            progress.note(f"  {name}: loses more than {LOSS:.1%} even at {LOWEST_RATE:.0f}/s")
    if not results.throughput:
        return
    results.load = SHARE * min(results.throughput.values())
    measures = {
        name: _measuring(systems[name], pace, results.load, SHARE * found, progress)
        for name, found in results.throughput.items()
    }
    blocks = measure_blocks(measures, pace.blocks, random.Random(parameters.seed))
    results.blocks = in_rounds(blocks)


def in_rounds(blocks: Blocks) -> Blocks:
    """Returns the same with each block as a round of its own: so long does one take."""
    every = enumerate(blocks.blocks)
    return Blocks(tuple(replace(block, round=number) for number, block in every))


def throughput(running: Running, pace: Pace) -> float:
    """Returns the highest rate in frames a second with at most LOSS lost; 0.0 when there is none.

    What comes late has waited in buffers, which a longer window would fill. The generator's own
    limit is one, too: a window that it could not send in time does not count.
    """

    def is_borne(rate: float) -> bool:
        passage = offer(running, "unicast", rate, pace.window)
        in_time = passage.late_ns <= BACKLOG * pace.window * 1e9
        return passage.loss <= LOSS and in_time and not passage.saturated

    speak(running)
    return loss_free_rate(is_borne, LOWEST_RATE, HIGHEST_RATE, pace.precision)


def _measuring(
    running: Running, pace: Pace, common: float, own: float, progress: Progress
) -> Callable[[], Measured]:
    """Returns what measures one system: cost at the common load, latency at half of its own."""

    def measure() -> Measured:
        progress.step(f"peers: {running.name}: cost, latency, TCP")
        speak(running)
        unicast = offer(running, "unicast", common, pace.window)
        # Twice as many copies: the slowest system would be at its limit.
        broadcast = offer(running, "broadcast", common / 2, pace.window)
        timed = offer(running, "unicast", own, pace.window)
        flags = {
            "lost": max(unicast.loss, broadcast.loss, timed.loss) > LOSS,
            "saturated": unicast.saturated or broadcast.saturated or timed.saturated,
        }
        return Measured(
            running.name,
            unicast.ns_per_frame,
            broadcast.ns_per_frame,
            broadcast.ns_per_copy,
            timed.median_ns,
            timed.late_ns,
            tcp(running, pace.tcp),
            tuple(name for name, holds in flags.items() if holds),
            timed.quantiles_ns,
        )

    return measure
