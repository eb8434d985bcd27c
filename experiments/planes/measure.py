"""Measures all cells in interleaved blocks, and says what they show: figures, bars, counts."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Protocol, TypeVar

from experiments.instrument import statistics
from experiments.instrument.checks import Check
from experiments.instrument.rig import Rig
from experiments.instrument.statistics import Blocks, measure_blocks
from experiments.instrument.window import Load
from experiments.planes.cells import ANEW, BARS, BURST, KEPT, PLANES, Bar, Cell
from experiments.planes.ways import HUB, KernelWay, Measured
from experiments.records.record import Figure, Invariant, Sample, Table

WayOf = Callable[[Load], Measured]
CHECK_BLOCKS = 4
WARM_SECONDS = 0.02
"""What is offered before the first window, so that the flow is decided; a burst at least."""
RUN_TIME_SHARE = 0.8
"""The generator pays at least this much of what the program's own run time says."""


def ways_of(rig: Rig) -> dict[str, WayOf]:
    """Returns how each server is measured: by its process, or by its kernel."""

    def by_process(server: str) -> WayOf:
        return lambda load: Measured(rig.measure(server, load))

    ways: dict[str, WayOf] = {}
    for server in rig.servers:
        if "kernel" in server:
            ways[server] = KernelWay(rig, server).measure
        else:
            ways[server] = by_process(server)
    return ways


class Offering(Protocol):
    """A cell: what is measured side by side, and the load that each is offered."""

    @property
    def variants(self) -> tuple[str, ...]: ...

    def load(self, variant: str, rate: float, seconds: float) -> Load: ...


AnyCell = TypeVar("AnyCell", bound=Offering)


@dataclass(frozen=True)
class CellResult(Generic[AnyCell]):
    """What one cell has shown; every sample in ``blocks`` is a `Measured`."""

    cell: AnyCell
    blocks: Blocks

    @property
    def variants(self) -> tuple[str, ...]:
        """What was measured side by side."""
        return tuple(self.blocks.blocks[0].windows)

    def measured(self) -> Iterator[tuple[int, str, Measured]]:
        """Yields (block, variant, what was measured)."""
        for number, block in enumerate(self.blocks.blocks):
            for variant, pair in block.windows.items():
                for one in pair:
                    assert isinstance(one, Measured)
                    yield number, variant, one


def present(cell: Offering, ways: Mapping[str, WayOf]) -> tuple[str, ...]:
    """Returns a cell's variants that are there: OpenVPN may not be installed."""
    return tuple(variant for variant in cell.variants if variant in ways)


def measure(
    cell: AnyCell,
    ways: Mapping[str, WayOf],
    rate: float,
    seconds: float,
    blocks: int,
    chance: random.Random,
) -> CellResult[AnyCell]:
    """Measures a cell's variants at ``rate``, after each has had its flow decided."""

    def offer(variant: str) -> Callable[[], Measured]:
        load = cell.load(variant, rate, seconds)
        ways[variant](replace(load, seconds=min(load.seconds, WARM_SECONDS)))
        return lambda: ways[variant](load)

    variants = {variant: offer(variant) for variant in present(cell, ways)}
    return CellResult(cell, measure_blocks(variants, blocks, chance))


def add_round(known: list[CellResult[AnyCell]], later: CellResult[AnyCell]) -> None:
    """Adds a cell's blocks to what is known of it, as one round more."""
    for at, result in enumerate(known):
        if result.cell == later.cell:
            known[at] = CellResult(result.cell, result.blocks.then(later.blocks))
            return
    known.append(CellResult(later.cell, Blocks(()).then(later.blocks)))


def kernel_check(way: WayOf, load: Load, chance: random.Random) -> Check:
    """Tells whether the generator's calls show the kernel's work: at least the program's run time."""
    way(load)
    blocks = measure_blocks({"kernel": lambda: way(load)}, CHECK_BLOCKS, chance)
    paid = statistics.level(blocks, "kernel", lambda one: _measured(one).kernel_ns)
    ran = statistics.level(blocks, "kernel", lambda one: _measured(one).run_ns_per_frame)
    fit = paid.high >= RUN_TIME_SHARE * ran.estimate > 0
    detail = (
        f"the generator pays {paid.estimate:.0f} ns a frame, the program runs {ran.estimate:.0f} ns"
    )
    return Check("kernel work", fit, detail, {"paid_ns": paid.estimate, "run_ns": ran.estimate})


@dataclass
class Results:
    """All cells of a run."""

    cells: list[CellResult[Cell]] = field(default_factory=list)

    def add(self, later: CellResult[Cell]) -> None:
        """Adds a cell's blocks, as one round more."""
        add_round(self.cells, later)

    def figures(self) -> dict[str, Figure]:
        """Returns every figure by its name."""
        found: dict[str, Figure] = {}
        for result in self.cells:
            found |= dict(_levels(result))
            found |= dict(_prices(result))
        found |= dict(self._kernel_header_check())
        found |= {f"bar.{bar.name}": figure for bar, figure, _ in self.bars()}
        return found

    def bars(self) -> Iterator[tuple[Bar, Figure, str]]:
        """Yields each bar that can be judged, its ratio, and met, missed or open."""
        by_cell = {result.cell: result for result in self.cells}
        for bar in BARS:
            if bar.cell in by_cell and bar.under in by_cell[bar.cell].variants:
                blocks = by_cell[bar.cell].blocks
                found = ratio_of_means(blocks, bar.over, bar.under)
                word = bar.judge(found.low, found.high)
                if statistics.level(blocks, bar.under).low <= 0:
                    word = f"open: what {bar.under} costs is not told from nothing"
                yield bar, as_figure(found, f"ratio, at most {bar.limit:.3g}: {word}"), word

    def bar_table(self, trusted: bool) -> Table:
        """Returns the bars as they are met or missed, or what they would be."""
        rows = tuple(
            (
                bar.name,
                f"{bar.over} over {bar.under}",
                f"{bar.limit:.3g}",
                f"{figure.value:.3f}",
                f"{figure.low:.3f} to {figure.high:.3f}",
                figure.n,
                word if trusted else f"not judged ({word})",
            )
            for bar, figure, word in self.bars()
        )
        columns = ("bar", "ratio", "at most", "found", "95 %", "blocks", "")
        note = "" if trusted else "The instrument is not fit: these are not to be quoted."
        return Table("What was asked for", columns, rows, note)

    def table(self) -> Table:
        """Returns the cost of a datagram in, cells beside each other."""
        rows = []
        for result in self.cells:
            for variant in result.variants:
                level = statistics.level(result.blocks, variant)
                rows.append(
                    (
                        result.cell.flow,
                        result.cell.load(variant, 1.0, 1.0).copies,
                        variant,
                        round(level.estimate),
                        f"{level.low:.0f} to {level.high:.0f}",
                        level.blocks,
                        level.flagged,
                    )
                )
        columns = ("flow", "copies", "plane", "ns a datagram in", "95 %", "blocks", "flagged")
        note = (
            "Processes by their CPU time, and they pay for no next hop; the kernel plane and "
            "forwarding by what the generator's "
            "calls cost, less as many between them dropped at ingress. The kernel's receiving for the "
            "processes, OpenVPN's hub among them, is not counted, which is in their favour."
        )
        return Table("What a datagram costs", columns, tuple(rows), note)

    def price_table(self) -> Table:
        """Returns what each check and tag adds to a datagram's cost."""
        rows = tuple(
            (name, round(figure.value), f"{figure.low:.0f} to {figure.high:.0f}", figure.n)
            for result in self.cells
            for name, figure in _prices(result)
        )
        note = (
            "Differences in the same blocks: with hop tags less without; the relay less the null forwarder; "
            "and a third copy to another VPN server, under a tag of that hop's own, less a third copy to "
            "a client, who gets the sender's."
        )
        columns = ("what", "ns per datagram in", "95 %", "blocks")
        return Table("What checks and tags cost", columns, rows, note)

    def invariants(self) -> dict[str, Invariant]:
        """Tells for each plane whether as many copies went out as came in datagrams for them."""
        return copies_complete(self.cells)

    def samples(self) -> Iterator[Sample]:
        """Yields every window as raw values."""
        for result in self.cells:
            yield from samples(result)

    def _kernel_header_check(self) -> Iterator[tuple[str, Figure]]:
        """Yields what the kernel's check of a further datagram's header costs, with and without tag.

        A batch that passes whole differs from one datagram in nothing else that the program does.
        """
        cells = {result.cell: result for result in self.cells}
        single, whole = (cells.get(Cell(flow, "broadcast")) for flow in ("single", "whole"))
        if single is None or whole is None:
            return
        for variant in ("kernel", "kernel-tags"):
            one, many = (
                statistics.level(each.blocks, variant, lambda one: _measured(one).run_ns_per_frame)
                for each in (single, whole)
            )
            values = [
                (BURST * many_ns - one_ns) / (BURST - 1)
                for many_ns, one_ns in (
                    (many.estimate, one.estimate),
                    (many.low, one.high),
                    (many.high, one.low),
                )
            ]
            unit = "ns per datagram, run time"
            low, high = min(values), max(values)
            yield f"header_check.{variant}", Figure(values[0], low, high, many.blocks, unit)


def copies_complete(results: Iterable[CellResult[Any]]) -> dict[str, Invariant]:
    """Tells for each variant whether as many copies went out as came in datagrams for them."""
    wrong: dict[str, list[str]] = {}
    for result in results:
        for number, variant, one in result.measured():
            if variant == HUB:
                continue  # others' copies are no invariant of ours; its windows are flagged
            found = wrong.setdefault(variant, [])
            if one.window.missing_copies:
                found.append(f"{result.cell.name} block {number}: {one.window.missing_copies}")
    return {
        f"copies_of_{variant.replace('-', '_')}": Invariant(
            not found, f"copies missing: {'; '.join(found) or 'none'}"
        )
        for variant, found in wrong.items()
    }


def samples(result: CellResult[Any]) -> Iterator[Sample]:
    """Yields every window of a cell as raw values."""
    for number, variant, one in result.measured():
        labels = {
            "cell": f"{result.cell.name}.{variant}",
            "variant": variant,
            "block": str(number),
            "round": str(result.blocks.blocks[number].round),
            "flags": " ".join(one.flags),
        }
        window = one.window
        yield Sample("window.cpu", window.cpu_ns, "ns", labels)
        yield Sample("window.frames_in", window.frames_in, "frames", labels)
        yield Sample("window.copies_out", window.copies_out, "datagrams", labels)
        yield Sample("window.lost", window.lost, "datagrams", labels)
        if window.sender_ns:
            yield Sample("window.generator", window.sender_ns, "ns", labels)
            yield Sample("window.floor", window.floor_ns, "ns", labels)
            yield Sample("window.program", window.run_ns, "ns", labels)


def ratio_of_means(
    blocks: Blocks, over: str, under: str, value: statistics.Value = statistics.ns_per_frame
) -> statistics.Figure:
    """Returns the ratio of two variants' means, with an interval over the blocks' pairs, or the rounds.

    What is left of a window when its floor is subtracted can be negative by chance, so that windows
    have no ratio of their own.
    """
    top, bottom = means(blocks, over, value), means(blocks, under)
    try:
        found = quotient(top, bottom, rounds_of(blocks))
    except ValueError as error:
        raise ValueError(f"{over} over {under}: {error}") from None
    flagged = sum(1 for block in blocks.blocks if block.flags_of((over, under)))
    return replace(found, flagged=flagged)


def means(
    blocks: Blocks, variant: str, value: statistics.Value = statistics.ns_per_frame
) -> list[float]:
    """Returns a variant's mean in each block."""
    return [sum(map(value, block.windows[variant])) / 2 for block in blocks.blocks]


def rounds_of(blocks: Blocks) -> list[int]:
    """Returns the round of each block."""
    return [block.round for block in blocks.blocks]


def quotient(
    top: Sequence[float], bottom: Sequence[float], rounds: Sequence[int] = ()
) -> statistics.Figure:
    """Returns the ratio of two means of paired values; ``rounds`` says the round of each pair.

    With statistics.ROUNDS of them it is the mean of the rounds' own ratios, with Student's interval
    over these, else it is the ratio of the means, with the interval of `statistics.interval` over the pairs
    as they count in it to the first order.
    """
    import numpy

    values = numpy.asarray([top, bottom])
    good = numpy.isfinite(values).all(axis=0)
    values = values[:, good]
    if values.shape[1] < 2:
        raise ValueError("expected two blocks in which both did something")
    kept = [number for number, is_good in zip(rounds, good, strict=False) if is_good]
    if len(set(kept)) >= statistics.ROUNDS:
        tops, bottoms = (statistics.round_means(some.tolist(), kept) for some in values)
        ratios = [over / under for over, under in zip(tops, bottoms, strict=True)]
        reach = statistics.interval(ratios, range(len(ratios)))
        return statistics.Figure(sum(ratios) / len(ratios), *reach, values.shape[1], 0)
    estimate = float(values[0].mean() / values[1].mean())
    pairs = estimate + (values[0] - estimate * values[1]) / values[1].mean()
    return statistics.Figure(estimate, *statistics.interval(pairs.tolist()), len(pairs), 0)


def as_figure(figure: statistics.Figure, unit: str) -> Figure:
    """Turns an estimate into a record's figure; a BCa interval may leave the mean out by a hair."""
    low, high = min(figure.low, figure.estimate), max(figure.high, figure.estimate)
    return Figure(figure.estimate, low, high, figure.blocks, unit)


def _levels(result: CellResult[Cell]) -> Iterator[tuple[str, Figure]]:
    name, blocks = result.cell.name, result.blocks
    for variant in result.variants:
        for value, what in (
            (statistics.ns_per_frame, "ns_per_datagram_in"),
            (lambda one: _measured(one).ns_per_copy, "ns_per_copy_out"),
            (lambda one: _measured(one).run_ns_per_frame, "run_ns_per_datagram_in"),
        ):
            if not what.startswith("run") or "kernel" in variant:
                level = statistics.level(blocks, variant, value)
                yield f"{name}.{variant}.{what}", as_figure(level, "ns")
    for ending in ("", "-tags"):
        over, under = f"kernel{ending}", f"socket{ending}"
        if under in result.variants:
            found = ratio_of_means(blocks, over, under, lambda one: _measured(one).run_ns_per_frame)
            yield f"{name}.{over}_run_time_over_{under}", as_figure(found, "ratio")


def _prices(result: CellResult[Cell]) -> Iterator[tuple[str, Figure]]:
    """Yields what tags cost, those made anew for the next hop, and what looking at the header does.

    That is the relay less the null forwarder.
    """
    name, blocks, variants = result.cell.name, result.blocks, result.variants
    pairs: list[tuple[str, str, str]] = []
    for plane, anew, kept in zip(PLANES, ANEW, KEPT, strict=True):
        pairs += [
            (f"hop_tag.{plane}", f"{plane}-tags", plane),
            (f"header_check.{plane}", plane, f"null-{plane}"),
            (f"tag_anew.{plane}", anew, kept),
        ]
    for what, over, under in pairs:
        if over in variants and under in variants:
            found = statistics.difference(blocks, over, under)
            yield f"{name}.{what}", as_figure(found, "ns per datagram in")


def _measured(sample: statistics.Sample) -> Measured:
    assert isinstance(sample, Measured)
    return sample
