"""One TCP connection between the terminals of two LANs: through our relay, and through others' hubs.

All systems are up side by side, each in a network like the others', and one carries at a time; blocks
go through all in random order and back. Terminals keep their offloads, as they would anywhere.
``segmented``: no frame above the path's MTU crosses outside, batches are cut where they leave and joined
where they arrive, as by network cards; that holds for datagrams and for TCP, which SoftEther uses there.
``whole``: both pass uncut, up to 64 kB, as no wire has them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from experiments.deployment import DeploymentError
from experiments.instrument import statistics
from experiments.instrument.settings import Wire
from experiments.instrument.statistics import Blocks, measure_blocks
from experiments.peers.adapter import Peer, Running, missing
from experiments.peers.catalog import PEERS
from experiments.peers.comparison import bring_up
from experiments.peers.own import OWN, Own
from experiments.peers.windows import speak, tcp
from experiments.planes.cells import judge
from experiments.progress import Progress
from experiments.records.record import Figure, Sample, Table
from topologies.emulate import EmulationError, Network
from topologies.plan import Kind

OURS = ("relay-batch", "relay-kernel")
THEIRS = ("openvpn", "softether")
LEAST_OVER = {"openvpn": 3.0, "softether": 1.0}
"""How many times a peer's throughput ours is to be."""
WIRES: tuple[Wire, ...] = ("segmented", "whole")
MBIT = 8e-6
_WIRE_OFFLOADS = ("tx-udp-segmentation", "tso")
_JOINING_OFFLOADS = ("gro", "rx-udp-gro-forwarding")
_LAN_OFFLOADS = ("rx", "tx", "sg", "tso", "gso", "gro")


@dataclass(frozen=True)
class Pace:
    """How long one connection carries, in s, and on which wires.

    All systems are started anew in each of the ``sittings``, which have so many blocks.
    """

    seconds: int
    sittings: int
    blocks: int
    wires: tuple[Wire, ...] = WIRES


QUICK = Pace(1, 1, 3, ("segmented",))
FULL = Pace(2, 4, 1)


@dataclass(frozen=True)
class Carried:
    """What one connection carried, in octets a second."""

    octets: float

    @property
    def ns_per_frame(self) -> float:
        """Time for an octet in ns, which is what is compared; not a number when nothing came."""
        return 1e9 / self.octets if self.octets else float("nan")

    @property
    def flags(self) -> tuple[str, ...]:
        """Names what makes it doubtful."""
        return () if self.octets else ("nothing came",)


@dataclass(frozen=True)
class TcpBar:
    """What was asked for: ours at least ``times`` as fast as a peer."""

    ours: str
    theirs: str
    times: float

    @property
    def name(self) -> str:
        """Names it in figures."""
        return f"tcp_{self.ours}_over_{self.theirs}"

    def judge(self, low: float, high: float) -> str:
        """Says by the interval of ours over theirs whether it is met, missed or open."""
        return judge(1 / high, 1 / low, 1 / self.times) if low > 0 else "open"


BARS = tuple(TcpBar(ours, theirs, LEAST_OVER[theirs]) for theirs in THEIRS for ours in OURS)


@dataclass
class TcpResults:
    """What all systems have carried, by wire."""

    blocks: dict[Wire, Blocks] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    """What did not come up, and why."""

    def figures(self) -> dict[str, Figure]:
        """Returns every throughput, and every bar on every wire."""
        found: dict[str, Figure] = {}
        for wire, blocks in self.blocks.items():
            for system in _measured(blocks):
                level = statistics.level(blocks, system, _octets)
                found[f"tcp.{wire}.{system}"] = _figure(level, "octets/s")
        for wire, bar, figure, _ in self.bars():
            found[f"bar.{bar.name}.{wire}"] = figure
        return found

    def bars(self) -> Iterator[tuple[Wire, TcpBar, Figure, str]]:
        """Yields each bar that can be judged: on which wire, ours over theirs, and the word."""
        for wire, blocks in self.blocks.items():
            for bar in BARS:
                if {bar.ours, bar.theirs} <= set(_measured(blocks)):
                    found = statistics.ratio(blocks, bar.ours, bar.theirs, _octets)
                    word = bar.judge(found.low, found.high)
                    figure = _figure(found, f"ratio, at least {bar.times:g}: {word}")
                    yield wire, bar, figure, word

    def table(self) -> Table:
        """Returns the throughputs, wires beside each other."""
        systems = [name for blocks in self.blocks.values() for name in _measured(blocks)]
        rows = []
        for system in dict.fromkeys(systems):
            cells: list[str | int | float] = []
            for blocks in self.blocks.values():
                level = statistics.level(blocks, system, _octets)
                interval = f"{level.low * MBIT:.0f} to {level.high * MBIT:.0f}"
                cells += [round(level.estimate * MBIT), interval, level.blocks]
            rows.append((system, *cells))
        titles = (
            f"{wire}: {what}" for wire in self.blocks for what in ("Mbit/s", "95 %", "blocks")
        )
        note = "Clients, hub, terminals and all that their kernels do share the machine's cores."
        note += "".join(f" {name}: not measured: {why}" for name, why in self.absent.items())
        return Table("TCP between two LANs", ("system", *titles), tuple(rows), note)

    def samples(self) -> Iterator[Sample]:
        """Yields every connection."""
        for wire, blocks in self.blocks.items():
            for number, block in enumerate(blocks.blocks):
                for system, pair in block.windows.items():
                    for turn, one in enumerate(pair):
                        labels = {"wire": wire, "variant": system}
                        labels |= {"block": str(number), "turn": str(turn)}
                        yield Sample("tcp", _octets(one), "octets/s", labels)


def _measured(blocks: Blocks) -> list[str]:
    """Names the systems that came up every time."""
    first, *others = (block.windows for block in blocks.blocks)
    return [name for name in first if all(name in windows for windows in others)]


def systems() -> list[Own | Peer]:
    """Returns ours and those of the others that are installed."""
    ours: list[Own | Peer] = [one for one in OWN if one.name in OURS]
    theirs = (PEERS[name]() for name in THEIRS if not missing(PEERS[name].programs))
    return [*ours, *theirs]


def steps(quick: bool) -> int:
    """Returns how many steps of a run this is."""
    pace = QUICK if quick else FULL
    return pace.sittings * (len(systems()) + pace.blocks)


def measure(quick: bool, chance: random.Random, progress: Progress) -> TcpResults:
    """Brings all systems up, measures them on each wire, and takes them down."""
    pace = QUICK if quick else FULL
    results = TcpResults()
    for _ in range(pace.sittings):
        with ExitStack() as stack:
            _sitting(_start_all(stack, results, progress), pace, results, chance, progress)
    return results


def _start_all(stack: ExitStack, results: TcpResults, progress: Progress) -> dict[str, Running]:
    """Starts all systems; one that does not come up is left out of the whole run, with the reason."""
    running = {}
    for one in systems():
        progress.step(f"TCP: {one.name}: starting")
        if one.name not in results.absent:
            try:
                running[one.name] = _start(one, stack)
            except (DeploymentError, EmulationError) as error:
                results.absent[one.name] = str(error)
                progress.note(f"  {error}")
    return running


def _sitting(
    running: Mapping[str, Running],
    pace: Pace,
    results: TcpResults,
    chance: random.Random,
    progress: Progress,
) -> None:
    for number in range(pace.blocks if running else 0):
        progress.step(f"TCP: block {number + 1}: {', '.join(running)}")
        for wire in pace.wires:
            _set_wire(running, wire)
            block = measure_blocks(_carrying(running, pace), 1, chance)
            results.blocks[wire] = results.blocks.get(wire, Blocks(())).then(block)


def _start(one: Own | Peer, stack: ExitStack) -> Running:
    """Brings one system up; it is taken down with ``stack``, or at once when it does not come up."""
    with ExitStack() as attempt:
        running = bring_up(one, attempt)
        _set_offloads(running.network, Kind.LAN, _LAN_OFFLOADS, "on")
        _set_offloads(running.network, Kind.OUTSIDE, _JOINING_OFFLOADS, "on")
        stack.push(attempt.pop_all())
    return running


def _carrying(running: Mapping[str, Running], pace: Pace) -> dict[str, Callable[[], Carried]]:
    def carry(one: Running) -> Callable[[], Carried]:
        def carried() -> Carried:
            speak(one)
            return Carried(tcp(one, pace.seconds))

        return carried

    return {name: carry(one) for name, one in running.items()}


def _set_wire(running: Mapping[str, Running], wire: Wire) -> None:
    for one in running.values():
        switch = "off" if wire == "segmented" else "on"
        _set_offloads(one.network, Kind.OUTSIDE, _WIRE_OFFLOADS, switch)


def _set_offloads(network: Network, kind: Kind, offloads: tuple[str, ...], switch: str) -> None:
    """Switches offloads of all interfaces of a kind, bridges' ports too."""
    script = 'for offload in $2; do ethtool -K "$1" "$offload" "$3"; done'
    for node in network.plan.nodes:
        for item in network.plan.interfaces(node.name, kind):
            argv = ["sh", "-ec", script, "sh", item.name, " ".join(offloads), switch]
            done = network.run(node.name, argv, timeout=10.0)
            if done.returncode:
                said = " ".join(done.stderr.split())
                raise EmulationError(f"node {node.name}: {item.name}: {said}")


def _octets(sample: statistics.Sample) -> float:
    assert isinstance(sample, Carried)
    return sample.octets


def _figure(figure: statistics.Figure, unit: str) -> Figure:
    low, high = min(figure.low, figure.estimate), max(figure.high, figure.estimate)
    return Figure(figure.estimate, low, high, figure.blocks, unit)
