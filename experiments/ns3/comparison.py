"""What ns-3 and our arrays say of one scenario, and what they take for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from experiments.instrument.statistics import Blocks, level, ratio
from experiments.instrument.statistics import Figure as Estimate
from experiments.ns3.arrays import Outcome
from experiments.ns3.scenario import Scenario
from experiments.records.figures import exact
from experiments.records.record import Figure, Invariant, Sample

COLUMNS = ("scenario", "transmissions", "ns-3, 1/s", "arrays, 1/s", "times faster", "95 %")
TOLERANCE = 0.01
NS = 1e9


@dataclass(frozen=True)
class Run:
    """One run as a sample of :mod:`experiments.instrument.statistics`: ns of CPU time a transmission."""

    ns_per_frame: float
    flags: tuple[str, ...] = ()


@dataclass
class Compared:
    """What both have said of one scenario."""

    name: str
    shape: str
    scenario: Scenario
    scheduler: str = ""
    loads_differ: int = 0
    latencies: int = 0
    latencies_differ: int = 0
    largest_error: float = 0.0
    transmissions: int = 0
    pilots: dict[str, float] = field(default_factory=dict)
    """Seconds that each of ns-3's schedulers took."""
    blocks: Blocks = field(default_factory=lambda: Blocks(()))

    def compare(self, ours: Outcome, theirs: Outcome) -> None:
        """Compares all loads, and the latency of each copy."""
        self.transmissions = theirs.transmissions
        self.loads_differ = int(np.sum(ours.loads != theirs.loads))
        due = (theirs.arrivals >= 0) | (ours.arrivals >= 0)
        sent = np.broadcast_to(self.scenario.times[:, None], due.shape)[due]
        here, there = ours.arrivals[due] - sent, theirs.arrivals[due] - sent
        self.latencies = len(there)
        self.latencies_differ = int(np.sum(here != there))
        self.largest_error = float(np.max(np.abs(here - there) / np.maximum(there, 1)))

    def invariants(self) -> Iterator[tuple[str, Invariant]]:
        """Yields what must hold."""
        of = f"{self.transmissions} transmissions"
        loads = self.scenario.parents.size * 4
        yield (
            f"{self.name}.loads_of_links_are_equal",
            Invariant(
                self.loads_differ == 0 and self.transmissions > 0,
                f"{self.loads_differ} of {loads} differ, {of}",
            ),
        )
        detail = f"{self.latencies_differ} of {self.latencies} differ, by {self.largest_error:.3%} at most"
        near = self.latencies > 0 and self.largest_error <= TOLERANCE
        yield f"{self.name}.latencies_are_within_1_percent", Invariant(near, detail)

    def faster(self) -> Estimate:
        """Returns how many times ns-3's CPU time ours goes into."""
        return ratio(self.blocks, "ns3", "arrays")

    def rate(self, variant: str) -> Estimate:
        """Returns transmissions per second of CPU time."""
        return level(self.blocks, variant, lambda one: NS / one.ns_per_frame)

    def said(self) -> str:
        """Says in one line what each can do."""
        faster = self.faster()
        return (
            f"{self.rate('ns3').estimate / 1e6:.2f} and {self.rate('arrays').estimate / 1e6:.1f} "
            f"million transmissions/s: {faster.estimate:.1f} times ({faster.low:.1f} to {faster.high:.1f})"
        )

    def figures(self) -> dict[str, Figure]:
        """Returns the figures of a summary."""
        name = self.name
        figures = {
            f"{name}.transmissions": exact(self.transmissions, "packets"),
            f"{name}.latencies_that_differ": exact(self.latencies_differ, "copies"),
            f"{name}.largest_error_of_a_latency": exact(self.largest_error, "of 1"),
        }
        estimates = {
            f"{name}.ns3_transmissions_a_second": (self.rate("ns3"), "packets/s"),
            f"{name}.arrays_transmissions_a_second": (self.rate("arrays"), "packets/s"),
            f"{name}.arrays_over_ns3": (self.faster(), "times"),
        }
        for key, (one, unit) in estimates.items():
            low, high = min(one.low, one.estimate), max(one.high, one.estimate)
            figures[key] = Figure(one.estimate, low, high, one.blocks, unit)
        return figures

    def samples(self) -> Iterator[Sample]:
        """Yields all that was measured."""
        for scheduler, seconds in self.pilots.items():
            yield Sample("pilot", seconds, "s", {"scenario": self.name, "scheduler": scheduler})
        for number, block in enumerate(self.blocks.blocks):
            for variant, runs in block.windows.items():
                for one in runs:
                    labels = {"scenario": self.name, "block": str(number), "simulator": variant}
                    yield Sample("transmission", one.ns_per_frame, "ns", labels)

    def row(self) -> tuple[str | int | float, ...]:
        """Returns the row of the table."""
        faster = self.faster()
        return (
            f"{self.name}: {self.shape}",
            self.transmissions,
            round(self.rate("ns3").estimate),
            round(self.rate("arrays").estimate),
            round(faster.estimate, 1),
            f"{faster.low:.1f} to {faster.high:.1f}",
        )
