"""What the ladder shows: levels, ratios, where the gaps come from, and tables of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from experiments.instrument import statistics
from experiments.instrument.statistics import Blocks
from experiments.ladder import library
from experiments.ladder.capacity import Capacity
from experiments.ladder.rungs import (
    AGAIN,
    BATCH,
    HUBS,
    IN_KERNEL,
    KERNEL,
    MEASURED_AGAIN,
    PLANES,
    RUNGS,
    SERVERS,
    SOCKET,
    Cell,
    plane_of,
    rung_of,
    server,
)
from experiments.ladder.sampling import PROGRAM, REST, StageWindow, means
from experiments.planes.cells import FLOWS, Flow
from experiments.planes.measure import (
    CellResult,
    add_round,
    as_figure,
    copies_complete,
    quotient,
    ratio_of_means,
    rounds_of,
    samples,
)
from experiments.planes.measure import means as means_of_blocks
from experiments.planes.ways import Measured
from experiments.records import figures as figures_of
from experiments.records.record import Figure, Invariant, Sample, Table

UNIT = "ns per frame in"


@dataclass(frozen=True)
class Part:
    """A part of a gap between two rungs: what the first costs more than the second."""

    name: str
    over: str
    under: str


def parts(hub: str) -> tuple[Part, ...]:
    """Returns the way from a hub on sockets to the relay in the kernel, step by step."""
    plain, relay = server("plain", SOCKET), server("relay", SOCKET)
    return (
        Part("cipher", server(hub, SOCKET), plain),
        Part("esp", plain, relay),
        Part("batching", relay, server("relay", BATCH)),
        Part("kernel", server("relay", BATCH), server("relay", KERNEL)),
    )


PART_NAMES = {
    "cipher": "the cipher's calls",
    "esp": "ESP, copies and look-ups around them",
    "batching": "batching",
    "kernel": "the kernel",
}


@dataclass
class Results:
    """All that a run has measured."""

    cells: list[CellResult[Cell]] = field(default_factory=list)
    stages: list[StageWindow] = field(default_factory=list)
    capacities: list[Capacity] = field(default_factory=list)
    library: dict[tuple[str, str], Figure] = field(default_factory=dict)

    def blocks(self, flow: str) -> Blocks:
        """Returns the blocks with the usual frames; KeyError when there are none."""
        for result in self.cells:
            if result.cell.flow == flow and result.cell.is_base:
                return result.blocks
        raise KeyError(flow)

    def add(self, later: CellResult[Cell]) -> None:
        """Adds a cell's blocks, as one round more."""
        add_round(self.cells, later)

    def _flows(self) -> list[Flow]:
        """Lists the flows that were measured, in their order, whatever that of the cells was."""
        found = {result.cell.flow for result in self.cells}
        return [flow for flow in FLOWS if flow in found]

    # -- what goes into the record and the summary

    def invariants(self) -> dict[str, Invariant]:
        """Tells for each server whether as many copies went out as came in datagrams for them."""
        return copies_complete(self.cells)

    def samples(self) -> Iterator[Sample]:
        """Yields every window, stage and trial as raw values."""
        for result in self.cells:
            yield from samples(result)
        for number, window in enumerate(self.stages):
            labels = {"flow": window.flow, "server": window.server, "window": str(number)}
            for stage, ns in window.stages.items():
                yield Sample("stage", ns, UNIT, {**labels, "stage": stage})
        for capacity in self.capacities:
            for rate, borne in capacity.trials:
                labels = {"flow": capacity.flow, "server": capacity.server}
                yield Sample("trial", rate, "frames/s", {**labels, "borne": str(borne).lower()})

    def figures(self) -> dict[str, Figure]:
        """Returns every figure by its name."""
        found: dict[str, Figure] = {}
        for result in self.cells:
            found |= dict(_levels(result))
            found |= dict(_ratios(result))
        for flow in self._flows():
            found |= dict(self._stage_figures(flow))
            found |= dict(_gaps(flow, self.blocks(flow)))
        for one in (one for one in self.capacities if one.rate):
            unit = "frames/s at least: the generator's limit" if one.at_least else "frames/s"
            name = f"loss_free.{one.flow}.{one.server}"
            found[name] = figures_of.exact(round(one.rate), unit)
        for (call, kind), figure in self.library.items():
            found[f"library.{call.replace(', ', '_').replace(' ', '_')}.{kind}"] = figure
        return found

    def _stage_figures(self, flow: str) -> Iterator[tuple[str, Figure]]:
        """Yields each server's stages, and what of its whole cost they leave."""
        blocks = self.blocks(flow)
        for name in SERVERS:
            whole = statistics.level(blocks, name)
            stages = self._stages(flow, name, blocks)
            if not stages:
                continue
            for stage, figure in stages.items():
                yield f"stage.{flow}.{name}.{stage}", figure
            rest = whole.estimate - sum(figure.value for figure in stages.values())
            yield f"stage.{flow}.{name}.{REST}", figures_of.exact(rest, f"{UNIT}, a difference")

    def _stages(self, flow: str, name: str, blocks: Blocks) -> dict[str, Figure]:
        """Returns a process's sampled stages, or of a kernel plane its program's run time."""
        if plane_of(name) == KERNEL:
            level = statistics.level(blocks, name, _run_time)
            return {PROGRAM: as_figure(level, UNIT)}
        windows = [one for one in self.stages if (one.flow, one.server) == (flow, name)]
        return {stage: figures_of.mean(some, UNIT) for stage, some in means(windows).items()}

    # -- tables

    def tables(self) -> list[Table]:
        """Returns the ladder, the gaps and the library's own cost."""
        flows = self._flows()
        return [self._ladder(flows), *self._gap_tables(flows), library.table(self.library)]

    def _ladder(self, flows: Sequence[str]) -> Table:
        rows = []
        rates = {(one.flow, one.server): one for one in self.capacities}
        for name in SERVERS:
            row: list[str | int | float] = [RUNGS[rung_of(name)], plane_of(name)]
            for flow in flows:
                level = statistics.level(self.blocks(flow), name)
                row += [round(level.estimate), f"{level.low:.0f} to {level.high:.0f}"]
            for flow in flows:
                if flow != "whole":
                    one = rates.get((flow, name))
                    least = "at least " if one and one.at_least else ""
                    row.append(f"{least}{one.rate:,.0f}" if one and one.rate else "")
            rows.append(tuple(row))
        columns = ["rung", "plane"]
        for flow in flows:
            columns += [f"{FLOW_TITLES[flow]}: ns a frame", "95 %"]
        columns += [f"loss-free frames/s, {flow}" for flow in flows if flow != "whole"]
        note = (
            "One in and two out. Processes by their CPU time, the kernel by what the generator's calls "
            "cost, less the same calls dropped at ingress. All at half of the null forwarder's highest "
            "loss-free rate on sockets, or less where the slowest hub cannot keep up. WIRE=segmented is "
            "what a real wire carries; one datagram at a time is the same on both."
        )
        return Table("The ladder", tuple(columns), tuple(rows), note)

    def _gap_tables(self, flows: Sequence[str]) -> Iterator[Table]:
        rows = []
        for flow in flows:
            for hub in HUBS[1:]:
                blocks = self.blocks(flow)
                steps = parts(hub)
                total = statistics.difference(blocks, steps[0].over, steps[-1].under)
                for part in steps:
                    found = statistics.difference(blocks, part.over, part.under)
                    share = _share(blocks, part, steps)
                    rows.append(
                        (
                            FLOW_TITLES[flow],
                            RUNGS[hub],
                            PART_NAMES[part.name],
                            round(found.estimate),
                            f"{found.low:.0f} to {found.high:.0f}",
                            f"{share.estimate:.0%} ({share.low:.0%} to {share.high:.0%})",
                        )
                    )
                rows.append((FLOW_TITLES[flow], RUNGS[hub], "all", round(total.estimate), "", ""))
        columns = ("datagrams", "hub", "what", UNIT, "95 %", "share")
        note = (
            "From the hub on sockets to the blind relay in the kernel: hub less hub without cipher, that "
            "less the relay on sockets, that less the relay with batches, that less the relay in the kernel."
        )
        yield Table("Where the gap comes from", columns, tuple(rows), note)


FLOW_TITLES = {
    "single": "one at a time",
    "bulk": "bulk, WIRE=segmented",
    "whole": "bulk, WIRE=whole",
}
assert tuple(FLOW_TITLES) == FLOWS


def _levels(result: CellResult[Cell]) -> Iterator[tuple[str, Figure]]:
    for name in SERVERS:
        level = statistics.level(result.blocks, name)
        yield f"ns_per_frame_in.{result.cell.name}.{name}", as_figure(level, UNIT)


def _ratios(result: CellResult[Cell]) -> Iterator[tuple[str, Figure]]:
    """Yields each rung over the relay in its plane and over the relay in the kernel, and A/A."""
    name, blocks = result.cell.name, result.blocks
    for plane in PLANES:
        under = server("relay", plane)
        for rung in IN_KERNEL if plane == KERNEL else RUNGS:
            if rung != "relay":
                over = server(rung, plane)
                figure = _ratio(blocks, over, under)
                yield f"over_relay.{name}.{over}", as_figure(figure, "ratio")
            if plane != KERNEL:
                figure = _ratio(blocks, server(rung, plane), server("relay", KERNEL))
                yield f"over_kernel.{name}.{server(rung, plane)}", as_figure(figure, "ratio")
    yield f"again.{name}", as_figure(_ratio(blocks, AGAIN, MEASURED_AGAIN), "ratio")


def _ratio(blocks: Blocks, over: str, under: str) -> statistics.Figure:
    """Returns a ratio; with what a kernel does, whose windows may be below their floor, of the means."""
    if KERNEL in (plane_of(over), plane_of(under)):
        return ratio_of_means(blocks, over, under)
    return statistics.ratio(blocks, over, under)


def _gaps(flow: str, blocks: Blocks) -> Iterator[tuple[str, Figure]]:
    """Yields what each part of the gap between a hub and the relay in the kernel is."""
    for hub in HUBS[1:]:
        steps = parts(hub)
        for part in steps:
            found = statistics.difference(blocks, part.over, part.under)
            yield f"gap.{flow}.{hub}.{part.name}", as_figure(found, UNIT)
            yield (
                f"gap_share.{flow}.{hub}.{part.name}",
                as_figure(_share(blocks, part, steps), "share"),
            )
        total = statistics.difference(blocks, steps[0].over, steps[-1].under)
        yield f"gap.{flow}.{hub}.all", as_figure(total, UNIT)
        for plane in (SOCKET, BATCH):
            over, under = server(hub, plane), server("relay", plane)
            found = statistics.difference(blocks, over, under)
            yield f"hub_minus_relay.{flow}.{hub}.{plane}", as_figure(found, UNIT)
            cipher = Part("cipher", over, server("plain", plane))
            share = _share(blocks, cipher, (Part("all", over, under),))
            yield f"cipher_share.{flow}.{hub}.{plane}", as_figure(share, "share of hub less relay")


def _share(blocks: Blocks, part: Part, steps: tuple[Part, ...]) -> statistics.Figure:
    """Returns how much of the whole way one part is."""

    def differences(over: str, under: str) -> list[float]:
        pairs = zip(means_of_blocks(blocks, over), means_of_blocks(blocks, under), strict=True)
        return [top - bottom for top, bottom in pairs]

    whole = differences(steps[0].over, steps[-1].under)
    return quotient(differences(part.over, part.under), whole, rounds_of(blocks))


def _run_time(sample: statistics.Sample) -> float:
    assert isinstance(sample, Measured)
    return sample.run_ns_per_frame
