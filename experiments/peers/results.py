"""What a comparison with peers has shown, as samples, figures and the report's table."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from experiments.instrument import statistics
from experiments.instrument.statistics import Blocks
from experiments.peers.catalog import PEERS, absent
from experiments.peers.own import OWN
from experiments.peers.stream import QUANTILES
from experiments.records.record import Figure, Invariant, Sample, Table


@dataclass(frozen=True)
class Measured:
    """One system in one block. Times in ns; TCP in octets a second."""

    system: str
    unicast_frame: float
    broadcast_frame: float
    broadcast_copy: float
    median: float
    late: float
    tcp: float
    flags: tuple[str, ...] = ()
    quantiles: tuple[int, ...] = ()
    """Latencies in ns at `stream.QUANTILES`."""

    @property
    def ns_per_frame(self) -> float:
        """The hub's CPU time per unicast frame, in ns."""
        return self.unicast_frame


@dataclass(frozen=True)
class Column:
    """One figure of all systems: its name, its unit, how a cell shows it."""

    name: str
    title: str
    unit: str
    scale: float = 1.0

    def value(self, sample: statistics.Sample) -> float:
        """Returns the figure of one system in one block."""
        return float(getattr(sample, self.name))

    def cell(self, figure: statistics.Figure) -> str:
        """Shows the figure with its interval."""
        low, value, high = (
            part * self.scale for part in (figure.low, figure.estimate, figure.high)
        )
        return f"{value:.4g} ({low:.4g} to {high:.4g})"


HIGHEST_RATE = 40_000.0
"""Frames a second: the generator does no more."""
LATENCY = "peers.latency"
"""A sample: one quantile of one window's latencies at half load; label ``quantile``."""
COLUMNS = (
    Column("unicast_frame", "hub, µs per frame in, one copy", "ns", 1e-3),
    Column("broadcast_frame", "hub, µs per frame in, two copies", "ns", 1e-3),
    Column("broadcast_copy", "hub, µs per copy out", "ns", 1e-3),
    Column("median", "latency at half load, median µs", "ns", 1e-3),
    Column("late", "latency at half load, 99 % µs", "ns", 1e-3),
    Column("tcp", "TCP, Mbit/s", "octets/s", 8e-6),
)
_NOTE = (
    "Frames of 1360 octets, IPv4 outside, one station on each of three LANs, no offloads at the "
    "stations; 95 % intervals. A hub's CPU time holds what its kernel does in its name, the next hop's "
    "receiving among it. Costs at one common load of {load:.0f} frames a second, half of that for two "
    "copies; latencies at half of each one's own throughput, where the generator may be the limit. "
    "The hubs of OpenVPN, tinc and fastd also write what is for all to a TAP device of their own."
)


@dataclass
class Results:
    """All of it: throughput in frames a second by system, and the blocks."""

    throughput: dict[str, float] = field(default_factory=dict)
    load: float = 0.0
    blocks: Blocks = field(default_factory=lambda: Blocks(()))
    invariants: dict[str, Invariant] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    """What this machine lacks for a way of ours."""

    def samples(self) -> Iterator[Sample]:
        """Yields every raw value: each system twice in each block."""
        for name, rate in self.throughput.items():
            yield Sample("peers.throughput", rate, "frames/s", {"system": name})
        for number, block in enumerate(self.blocks.blocks):
            for name, pair in block.windows.items():
                for turn, one in enumerate(pair):
                    labels = {"system": name, "block": str(number), "turn": str(turn)}
                    labels["flags"] = " ".join(one.flags)
                    for column in COLUMNS:
                        value = column.value(one)
                        if math.isfinite(value):
                            yield Sample(f"peers.{column.name}", value, column.unit, labels)
                    assert isinstance(one, Measured)
                    for share, value in zip(QUANTILES, one.quantiles, strict=False):
                        yield Sample(LATENCY, value, "ns", {**labels, "quantile": f"{share:g}"})

    def figures(self) -> dict[str, Figure]:
        """Returns every figure of every system with its interval."""
        found = {}
        for name, rate in self.throughput.items():
            found[f"peers_{name}_throughput"] = Figure(rate, rate, rate, 1, "frames/s")
            for column in COLUMNS:
                figure = self._level(name, column)
                if figure is not None:
                    # With few blocks a corrected interval may lie beside the mean.
                    low, high = min(figure.low, figure.estimate), max(figure.high, figure.estimate)
                    found[f"peers_{name}_{column.name}"] = Figure(
                        figure.estimate, low, high, figure.blocks, column.unit
                    )
        return found

    def tables(self) -> Iterator[Table]:
        """Yields the table of all systems, those too that are not there."""
        titles = ("system", "cipher", "throughput, frames/s", *(one.title for one in COLUMNS))
        rows = [self._row(one.name, one.title, one.cipher, one.remark) for one in OWN]
        rows += [
            self._row(one.name, one.title, one.cipher, one.remark)
            for one in PEERS.values()
            if invariant_name(one.name) in self.invariants
        ]
        gone = absent()
        rows += [
            (one.title, one.cipher, *("–" for _ in titles[2:]), gone[name])
            for name, one in PEERS.items()
            if name in gone and invariant_name(name) not in self.invariants
        ]
        note = _NOTE.format(load=self.load)
        yield Table("Beside what people run instead", (*titles, "remark"), tuple(rows), note)

    def _row(self, name: str, title: str, cipher: str, remark: str) -> tuple[str | float, ...]:
        invariant = self.invariants.get(invariant_name(name))
        if invariant is not None and not invariant.held:
            remark = "frames do not cross: see the invariants"
        remark = self.absent.get(name, remark)
        rate = self.throughput.get(name)
        cells: list[str | float] = [title, cipher, "–" if rate is None else _rate(rate)]
        for column in COLUMNS:
            figure = self._level(name, column)
            cells.append("–" if figure is None else column.cell(figure))
        return (*cells, remark)

    def _level(self, name: str, column: Column) -> statistics.Figure | None:
        """Returns a system's figure, or None when no block has it."""
        if name not in self.throughput or not self.blocks.blocks:
            return None
        try:
            figure = statistics.level(self.blocks, name, column.value)
        except ValueError:
            return None
        return figure if math.isfinite(figure.low + figure.high) else None


def _rate(rate: float) -> str | int:
    """Shows a throughput; at the highest rate that is tried, the generator is what ends it."""
    return f"at least {rate:.0f}" if rate >= HIGHEST_RATE else round(rate)


def invariant_name(system: str) -> str:
    """Names the invariant that says whether a system carries frames."""
    return f"frames_cross_{system.replace('-', '_')}"
