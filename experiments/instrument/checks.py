"""What the instrument must show of itself before a figure of it is believed."""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from experiments.instrument import statistics
from experiments.instrument.accounting import core_times, cpu_time, datagrams
from experiments.instrument.canaries import PORTS, Soaker, median, next_hop_costs, soaking, spin
from experiments.instrument.loads import LOWEST_RATE, half_load
from experiments.instrument.rig import Rig
from experiments.instrument.settings import cores_of, steering
from experiments.instrument.statistics import QUICK, measure_blocks
from experiments.instrument.window import Load
from topologies.rig import MEMBERS, SERVER_INTERFACE, bridge_of, members_interface

OTHERS_LIMIT, IDLE_SECONDS = 0.1, 1.0
FLOOR_LIMIT = 0.05
NEXT_HOP_LIMIT = 1.10
RECEIVE_LIMIT = 0.95
AGREEMENT_LIMIT = 0.15
AGAINST_ITSELF_LIMIT = 0.05
AGAINST_ITSELF_MISS = 0.01
"""An interval that leaves 1 out counts as good while the ratio itself is as near as this."""

SLICE_SECONDS = 0.04
"""Canaries compare short slices in turn: a machine shared with others changes its speed meanwhile."""
CANARY_RATE, CANARY_BURST, CANARY_PAIRS = 250_000.0, 32, 30
NEXT_HOP_ROUNDS, NEXT_HOP_DATAGRAMS = 25, 1_000
AGREEMENT_PAIRS, TICKS_SECONDS = 20, 1.0
FLOOR_ROUNDS = 3
PATIENCE = 1
"""How often a check that does not hold may measure as much again, in whichever set-up."""


@dataclass(frozen=True)
class Check:
    """One check: whether it holds, in words with figures, and the figures alone."""

    name: str
    fit: bool
    detail: str
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """What the checks are made with: a rig, its reference and measured servers, and a load."""

    rig: Rig
    reference: str
    measured: str
    load: Load
    chance: random.Random


def find_load(rig: Rig, reference: str, members: int, size: int, seconds: float) -> Load:
    """Returns unicast at half the highest rate at which the reference server loses nothing."""

    load = Load(members, size, "unicast", LOWEST_RATE, seconds)
    return half_load(lambda tried: rig.measure(reference, tried), load)


def settings(subject: Subject) -> Check:
    """Tells whether receives run where they arrive, and each server's process has its core alone."""
    rig = subject.rig
    faults = []
    for server in rig.servers:
        for node, interface in (
            (server, SERVER_INTERFACE),
            (MEMBERS, members_interface(server)),
            (bridge_of(server), "port-server"),
            (bridge_of(server), "port-members"),
        ):
            steered = steering(rig.network, node, interface)
            if steered:
                faults.append(f"RPS of {node} {interface} is on (cores {sorted(steered)})")
        found = cores_of(rig.process(server))
        if found != {rig.cores.measured}:
            faults.append(f"{server} may run on cores {sorted(found)}")
    others = _others_on(rig.cores.measured, {rig.process(server) for server in rig.servers})
    faults += [f"process {process} may run on the servers' core" for process in others]
    taken = _taken_by_others(subject)
    if taken > OTHERS_LIMIT:
        faults.append(f"others on this machine keep core {rig.cores.measured} {taken:.0%} busy")
    good = f"RPS off, servers alone on core {rig.cores.measured}, idle without load ({taken:.0%})"
    return Check("settings", not faults, "; ".join(faults) or good, {"others": taken})


def _taken_by_others(subject: Subject) -> float:
    """Returns how much of the measured core is busy while nothing is sent, by /proc/stat's ticks."""
    rig, load = subject.rig, replace(subject.load, seconds=IDLE_SECONDS)
    rig.prepare(subject.reference, load)
    begin, before = time.monotonic_ns(), core_times(rig.cores.measured).busy
    rig.send(load, dry=True)
    return (core_times(rig.cores.measured).busy - before) / (time.monotonic_ns() - begin)


def _others_on(core: int, servers: set[int]) -> list[int]:
    """Lists the run's other processes that could take the core; the first only waits for the end."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in {1, *servers}:
            continue
        try:
            allowed = os.sched_getaffinity(int(entry.name))
        except ProcessLookupError:
            continue
        if core in allowed:
            found.append(int(entry.name))
    return found


def floor(subject: Subject) -> Check:
    """Tells what the server's process pays for a load that is dropped before it arrives."""
    rig, server = subject.rig, subject.reference
    drop = rig.drops[server]
    floors, costs = [], []
    for _ in range(FLOOR_ROUNDS):
        drop.set_ingress(True)
        try:
            dropped = rig.measure(server, subject.load)
        finally:
            drop.set_ingress(False)
        floors.append(dropped.cpu_ns / max(1, dropped.sent))
        costs.append(rig.measure(server, subject.load).ns_per_frame)
    per_frame, paid = median(floors), median(costs)
    share = per_frame / (paid or math.nan)
    detail = f"{per_frame:.0f} ns a frame, {share:.1%} of the {server} server's {paid:.0f} ns"
    values = {"floor_ns": per_frame, "reference_ns": paid}
    return Check("floor", share <= FLOOR_LIMIT, detail, values)


def next_hop(subject: Subject) -> Check:
    """Tells whether a process pays for what happens behind its own interface."""
    rounds: list[dict[int, float]] = []

    def judged() -> Check:
        rounds.extend(
            next_hop_costs(
                subject.rig, subject.reference, NEXT_HOP_ROUNDS, NEXT_HOP_DATAGRAMS, subject.chance
            )
        )
        fewest = min(PORTS)
        against = [median([one[ports] / one[fewest] for one in rounds]) for ports in PORTS]
        growth = max(against) / min(against)
        costs = {ports: median([one[ports] for one in rounds]) for ports in PORTS}
        said = ", ".join(f"{cost:.0f} ns with {ports} ports" for ports, cost in costs.items())
        fit = growth <= NEXT_HOP_LIMIT
        ending = "flat" if fit else "it pays for the next hop"
        detail = f"a sender pays {said} (paired: {growth:.2f} fold): {ending}"
        values = {"growth": growth, **{f"ports_{ports}_ns": one for ports, one in costs.items()}}
        return Check("next-hop canary", fit, detail, values)

    return _with_patience(judged)


def receive(subject: Subject) -> Check:
    """Tells whether a process on the measured core pays for receives that are not its own."""
    load = replace(subject.load, rate=CANARY_RATE, burst=CANARY_BURST, seconds=SLICE_SECONDS)
    ratios: list[float | None] = []

    def judged() -> Check:
        ratios.extend(spin(subject.rig, subject.reference, load, CANARY_PAIRS))
        return received(ratios)

    return _with_patience(judged)


def received(ratios: Sequence[float | None]) -> Check:
    """Tells whether a spinner was untouched, from its share of work in each pair of slices.

    None stands for a pair in which it hardly had the core, and counts as no work at all: whatever took
    the core, load or others, speaks against the instrument.
    """
    ratio, starved = median([one or 0.0 for one in ratios]), ratios.count(None)
    fit = ratio >= RECEIVE_LIMIT
    values = {"ratio": ratio, "pairs": len(ratios), "starved": starved}
    if 2 * starved >= len(ratios):
        detail = f"somebody else keeps the core busy in {starved} of {len(ratios)} pairs of slices"
        return Check("receive canary", False, detail, values)
    ending = "untouched" if fit else "it pays for others' receives"
    detail = f"a spinning process does {ratio:.1%} of its work under load: {ending}"
    if starved:
        detail += f"; it hardly ran in {starved} of {len(ratios)} pairs of slices"
    return Check("receive canary", fit, detail, values)


def agreement(subject: Subject) -> Check:
    """Tells how the process's CPU clock agrees with what a soaker beside it finds busy."""
    load = replace(subject.load, seconds=SLICE_SECONDS)
    loaded, free = Soaked(), Soaked()

    def judged() -> Check:
        with soaking(subject.rig, subject.measured) as soaker:
            for number in range(AGREEMENT_PAIRS):
                for dry in (True, False) if number % 2 else (False, True):
                    _soak(subject, load, soaker, dry, free if dry else loaded)
        return agreed(loaded, free)

    check = _with_patience(judged)
    window = subject.rig.measure(subject.measured, replace(load, seconds=TICKS_SECONDS))
    ticks = window.core_busy_ns / max(1, window.cpu_ns)
    detail = f"{check.detail}; /proc/stat's busy ticks over CPU clock {ticks:.2f}"
    return replace(check, detail=detail, values={**check.values, "ticks_over_clock": ticks})


def _with_patience(judge: Callable[[], Check]) -> Check:
    """Has a check that does not hold go on once: it judges by all that it has measured together."""
    check = judge()
    for _ in range(PATIENCE):
        if not check.fit:
            check = judge()
    return check


@dataclass
class Soaked:
    """Sums over slices: time passed and the server's CPU time, in ns, and the soaker's loops."""

    elapsed: int = 0
    clock: int = 0
    loops: int = 0


def agreed(loaded: Soaked, free: Soaked) -> Check:
    """Tells how CPU clock and soaker agree, from slices with load and without."""
    if not free.loops:
        return Check("agreement", False, "somebody else keeps the core busy all the time")
    busy = loaded.elapsed - loaded.loops / free.loops * free.elapsed
    if busy <= 0:
        return Check(
            "agreement", False, "the soaker finds the core less busy with load than without"
        )
    ratio = loaded.clock / busy
    detail = f"CPU clock over soaker {ratio:.3f}"
    fit = abs(ratio - 1) <= AGREEMENT_LIMIT
    return Check("agreement", fit, detail, {"clock_over_soaker": ratio})


def _soak(subject: Subject, load: Load, soaker: Soaker, dry: bool, into: Soaked) -> None:
    """Offers a load once, or has the generator work as hard and send nothing (``dry``)."""
    rig, process = subject.rig, subject.rig.process(subject.measured)
    rig.prepare(subject.measured, load)
    before, (begin, loops_before) = cpu_time(process), soaker.read()
    known = datagrams(process).handled
    sent = rig.send(load, dry)
    if not dry:
        rig.settle(process, known + sent.frames)
    end, loops = soaker.read()
    into.elapsed += end - begin
    into.clock += cpu_time(process) - before
    into.loops += loops - loops_before


def against_itself(subject: Subject, count: int = QUICK) -> Check:
    """Tells whether a server measured against itself gives 1, and how sharply."""

    def measure() -> statistics.Sample:
        return subject.rig.measure(subject.measured, subject.load)

    blocks = measure_blocks({"first": measure, "again": measure}, count, subject.chance)
    figure = statistics.ratio(blocks, "again", "first")
    near = figure.covers(1.0) or abs(figure.estimate - 1) <= AGAINST_ITSELF_MISS
    fit = near and figure.half_width <= AGAINST_ITSELF_LIMIT
    detail = (
        f"{figure.estimate:.4f} ({figure.low:.4f} to {figure.high:.4f}, half-width "
        f"{figure.half_width:.1%}) in {figure.blocks} blocks, {figure.flagged} flagged"
    )
    values = {"ratio": figure.estimate, "low": figure.low, "high": figure.high}
    if figure.unflagged is not None:
        detail += f"; without them {figure.unflagged.estimate:.4f}"
        values["ratio_unflagged"] = figure.unflagged.estimate
    return Check("against itself", fit, detail, values)


CHEAP: tuple[Callable[[Subject], Check], ...] = (settings, floor, next_hop, receive, agreement)
"""All checks but the last, which takes longest and shows nothing of a wrong set-up."""
