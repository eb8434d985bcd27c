"""The relay's CPU load against decryption and re-encryption: cells measured with the instrument.

In each cell null forwarder, relay and hub get the same frames at the same rate, in interleaved blocks:
half of what the null forwarder bears without loss, or less where the hub cannot keep up with that. The
relay takes part twice, against itself.

Patent: effect E1.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from experiments.instrument import statistics
from experiments.instrument.loads import LOWEST_RATE, half_load, within_reach
from experiments.instrument.statistics import Blocks, measure_blocks
from experiments.instrument.window import Load, Window
from experiments.records import figures as figures_of
from experiments.records.record import Claim, Figure, Sample, Table
from experiments.relay_load.cells import Cell

VARIANTS = ("null", "relay", "hub")
AGAIN = "relay_again"
"""The relay's second place in each block: the same process, measured against itself."""
CIPHER_REPETITIONS = 9
CIPHER_CALLS = 300

WINDOW_SECONDS = 0.06
"""How long one window is: many short ones in turn, since a shared core's speed changes meanwhile."""

WindowOf = Callable[[str, Load], Window]
"""Offers a load to the server of that name and returns what it cost."""


@dataclass(frozen=True)
class CellResult:
    """What one cell has shown."""

    cell: Cell
    rate: float
    blocks: Blocks
    cipher_ns: tuple[tuple[float, ...], ...]
    """What the hub's cipher calls for one frame take by themselves, several times a round, in ns."""

    def ratio(self, over: str, under: str) -> statistics.Figure:
        """Returns a ratio of two variants' CPU time per frame."""
        return statistics.ratio(self.blocks, over, under)

    @property
    def cipher(self) -> Figure:
        """What the hub's cipher calls for one frame take by themselves."""
        values = [one for some in self.cipher_ns for one in some]
        rounds = [number for number, some in enumerate(self.cipher_ns) for _ in some]
        low, high = statistics.interval(values, rounds)
        mean = sum(values) / len(values)
        return Figure(mean, min(low, mean), max(high, mean), len(values), "ns per frame in")

    @property
    def cipher_share(self) -> Figure:
        """The cipher calls' share of the hub's CPU time per frame; the interval is a cautious one."""
        hub, cipher = statistics.level(self.blocks, "hub"), self.cipher
        return Figure(
            cipher.value / hub.estimate,
            cipher.low / hub.high,
            cipher.high / hub.low,
            hub.blocks,
            "share",
        )


@dataclass(frozen=True)
class Price:
    """What a decision costs: relay against null forwarder at half of the latter's highest rate."""

    cell: Cell
    rate: float
    blocks: Blocks

    def figures(self) -> dict[str, Figure]:
        """Returns the null forwarder's cost, the relay's, and the difference."""
        difference = statistics.difference(self.blocks, "relay", "null")
        return {
            "at_half_load.frames_a_second": figures_of.exact(self.rate, "frames/s"),
            "at_half_load.null_ns_per_frame_in": _figure(
                statistics.level(self.blocks, "null"), "ns"
            ),
            "at_half_load.relay_ns_per_frame_in": _figure(
                statistics.level(self.blocks, "relay"), "ns"
            ),
            "at_half_load.relay_minus_null": _figure(difference, "ns per frame in"),
        }


def half_rate(window_of: WindowOf, cell: Cell) -> float:
    """Returns half of the null forwarder's highest loss-free rate, in frames a second."""
    load = Load(cell.members, cell.size, cell.cast, LOWEST_RATE, WINDOW_SECONDS)
    return half_load(lambda tried: window_of("null", tried), load).rate


def price(
    window_of: WindowOf,
    cell: Cell,
    rate: float,
    blocks: int,
    chance: random.Random,
    before: Price | None = None,
) -> Price:
    """Measures relay against null forwarder at ``rate``, half of what the latter bears: a round of it."""
    half = Load(cell.members, cell.size, cell.cast, rate, WINDOW_SECONDS)
    variants = {name: _offer(window_of, name, half) for name in ("null", "relay")}
    before = before or Price(cell, rate, Blocks(()))
    return replace(before, blocks=before.blocks.then(measure_blocks(variants, blocks, chance)))


@dataclass
class Results:
    """All cells of a run."""

    cells: list[CellResult] = field(default_factory=list)

    def figures(self) -> dict[str, Figure]:
        """Returns every figure by its name."""
        return {name: figure for result in self.cells for name, figure in _figures(result)}

    def samples(self) -> Iterator[Sample]:
        """Yields every window as raw values."""
        for result in self.cells:
            yield from _samples(result)

    def table(self) -> Table:
        """Returns the cells side by side, with the flagged blocks left in and left out."""
        columns = (
            *("frames", "clients", "octets", "frames/s", "null ns", "relay ns", "hub ns"),
            *("hub/relay", "95 %", "blocks", "flagged", "without them", "cipher share"),
        )
        note = (
            "CPU time of the server's process per frame in, at half of the null forwarder's highest "
            "loss-free rate, or less where the hub cannot keep up with that. The cipher's share is "
            "what its calls alone take in a warm loop, so it is the least that it is."
        )
        return Table("Relay against hub", columns, tuple(map(_row, self.cells)), note)

    def verdict(self) -> Claim:
        """Returns E1: the relay costs less than the hub in every cell, or it does not."""
        ratios = {result.cell: result.ratio("hub", "relay") for result in self.cells}
        if not ratios:
            return Claim("not tested", "")
        least = min(ratios.values(), key=lambda one: one.estimate)
        most = max(ratios.values(), key=lambda one: one.estimate)
        shares = [result.cipher_share.value for result in self.cells]
        said = (
            f"hub over relay {least.estimate:.2f} to {most.estimate:.2f} in {len(ratios)} cells; "
            f"the cipher itself is {min(shares):.0%} to {max(shares):.0%} of the hub's cost"
        )
        if all(one.low > 1 for one in ratios.values()):
            return Claim("confirmed", said)
        if any(one.high < 1 for one in ratios.values()):
            return Claim("refuted", said)
        return Claim("inconclusive", said)


def measure(
    cell: Cell,
    window_of: WindowOf,
    rate: float,
    count: int,
    chance: random.Random,
    before: CellResult | None = None,
) -> CellResult:
    """Measures one cell at ``rate``, or less: blocks of null, relay, hub and relay again.

    With ``before``, what earlier rounds have shown, this is one round more at the same rate.
    """
    offered = Load(cell.members, cell.size, cell.cast, rate, WINDOW_SECONDS)
    if before is None:
        offered = within_reach(lambda tried: window_of("hub", tried), offered)
        before = CellResult(cell, offered.rate, Blocks(()), ())
    offered = replace(offered, rate=before.rate)
    variants = {name: _offer(window_of, name, offered) for name in VARIANTS}
    variants[AGAIN] = variants["relay"]
    blocks = before.blocks.then(measure_blocks(variants, count, chance))
    return replace(before, blocks=blocks, cipher_ns=(*before.cipher_ns, tuple(cipher_times(cell))))


def cipher_times(cell: Cell) -> Iterator[float]:
    """Yields what one open and a seal for each copy take by themselves, in ns."""
    from protocol.cipher import Aead
    from protocol.types import Secret

    aead = Aead(Secret(bytes(range(16))))
    plaintext, header = bytes(cell.size + 4), bytes(8)
    sealed = aead.seal(bytes(12), plaintext, header)
    for _ in range(CIPHER_REPETITIONS):
        begin = time.process_time_ns()
        for number in range(CIPHER_CALLS):
            nonce = number.to_bytes(12, "big")
            aead.open(bytes(12), sealed, header)
            for _ in range(cell.copies):
                aead.seal(nonce, plaintext, header)
        yield (time.process_time_ns() - begin) / CIPHER_CALLS


def _offer(window_of: WindowOf, server: str, load: Load) -> Callable[[], Window]:
    return lambda: window_of(server, load)


def _figures(result: CellResult) -> Iterator[tuple[str, Figure]]:
    cell, blocks = result.cell, result.blocks
    yield cell.name("frames_a_second"), figures_of.exact(result.rate, "frames/s")
    for name in VARIANTS:
        per_frame = statistics.level(blocks, name)
        yield cell.name(f"{name}_ns_per_frame_in"), _figure(per_frame, "ns")
        per_copy = statistics.level(blocks, name, lambda one: one.ns_per_frame / cell.copies)
        yield cell.name(f"{name}_ns_per_copy_out"), _figure(per_copy, "ns")
    for over, under, name in (
        ("hub", "relay", "hub_over_relay"),
        (AGAIN, "relay", "relay_over_relay"),
        ("relay", "null", "relay_over_null"),
    ):
        yield cell.name(name), _figure(result.ratio(over, under), "ratio")
    for over, under in (("hub", "relay"), ("relay", "null")):
        figure = statistics.difference(blocks, over, under)
        yield cell.name(f"{over}_minus_{under}"), _figure(figure, "ns per frame in")
    yield cell.name("cipher_alone"), result.cipher
    yield cell.name("cipher_share_of_hub"), result.cipher_share


def _figure(figure: statistics.Figure, unit: str) -> Figure:
    """Turns an estimate into a record's figure; a BCa interval may leave the mean out by a hair."""
    low, high = min(figure.low, figure.estimate), max(figure.high, figure.estimate)
    return Figure(figure.estimate, low, high, figure.blocks, unit)


def _samples(result: CellResult) -> Iterator[Sample]:
    for number, block in enumerate(result.blocks.blocks):
        for variant, windows in block.windows.items():
            for place, window in enumerate(windows):
                assert isinstance(window, Window)
                labels = {
                    "cell": result.cell.name(variant),
                    "variant": variant,
                    "block": str(number),
                    "round": str(block.round),
                    "place": str(place),
                    "flags": " ".join(window.flags),
                }
                yield Sample("window.cpu", window.cpu_ns, "ns", labels)
                yield Sample("window.frames_in", window.frames_in, "frames", labels)
                yield Sample("window.copies_out", window.copies_out, "datagrams", labels)


def _row(result: CellResult) -> tuple[str | int | float, ...]:
    ratio = result.ratio("hub", "relay")
    without = ratio.unflagged
    return (
        result.cell.cast,
        result.cell.members,
        result.cell.size,
        round(result.rate),
        *(round(statistics.level(result.blocks, name).estimate) for name in VARIANTS),
        f"{ratio.estimate:.3f}",
        f"{ratio.low:.3f} to {ratio.high:.3f}",
        ratio.blocks,
        ratio.flagged,
        f"{without.estimate:.3f}" if without else "",
        f"{result.cipher_share.value:.0%}",
    )
