"""``make simbench``: how fast the simulator is, beside its own engine with nothing to do.

Frames are really sealed, relayed and opened by the protocol's objects. Times are the process's own
CPU time, one core. Counts decide the exit code, times never do.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator
from pathlib import Path

from experiments.progress import Progress
from experiments.records import figures
from experiments.records.record import Figure, Invariant, Sample, Summary, Table
from experiments.run_folder import Found, Given, make_run, write_run
from protocol.wire.ethernet import BROADCAST, EthernetHeader, parse_mac
from simulator.engine import Engine
from simulator.world import World
from topologies.catalog import single
from topologies.plan import Plan

TOPIC = "simbench"
SECOND, MILLISECOND = 1_000_000_000, 1_000_000
FRAME_OCTETS = 200
CLIENTS = 3
MANY = {True: 200, False: 1_000}
"""Clients that each send to all and to one, in a quick run and in a full one."""
REPETITIONS = {True: 5, False: 20}
FRAMES = 3_000
EVENTS = 100_000
ETHER_TYPE = 0x88B5
_SENDING_PAUSE = 100_000
_BARS = (
    ("frames_a_second", "at least", 10_000.0),
    ("many_clients_seconds", "at most", 120.0),
)
"""What was asked for before it was built; the second holds of a full run's clients."""


def run(options: argparse.Namespace) -> int:
    """Measures and writes the results; returns the exit code."""
    given = Given(
        TOPIC,
        single(clients=CLIENTS, terminals=1, second_group=0).to_json(),
        {"quick": options.quick, "octets": FRAME_OCTETS, "frames": FRAMES},
        seed=1,
    )

    def measured(folder: Path) -> Summary:
        with Progress(3) as progress:
            progress.step("the engine alone, and frames between three clients, in turns")
            samples, invariants = _measure_rates(REPETITIONS[options.quick])
            count = MANY[options.quick]
            progress.step(f"{count} clients register and send to all and to one")
            found, held = measure_many(count)
            progress.step("writing the report")
            return _write(folder, given, samples + found, invariants | held)

    return make_run(TOPIC, measured)


def events_a_second(count: int) -> float:
    """Returns how many events that do nothing but plan the next one pass in a second."""
    engine = Engine()

    def again() -> None:
        engine.after(1, again)

    engine.after(1, again)
    begin = time.process_time()
    engine.run_until(count)
    return count / (time.process_time() - begin)


class Exchange:
    """Three clients behind one relay whose terminals know each other, and send unicast frames in turn."""

    def __init__(self, octets: int = FRAME_OCTETS) -> None:
        self.world = _ready(single(clients=CLIENTS, terminals=1, second_group=0))
        names = [one.name for one in self.world.plan.terminals()]
        for name in names:
            self.world.send(name, frame(self.world.plan, name, None, octets))
            self.world.run(1)
        self._frames = [
            (one, frame(self.world.plan, one, other, octets))
            for one in names
            for other in names
            if one != other
        ]

    def frames_a_second(self, count: int) -> tuple[float, int]:
        """Sends ``count`` frames; returns how many a second, and how many came to their terminals."""
        world = self.world
        for record in world.received.values():
            record.clear()
        begin = time.process_time()
        at = world.engine.now
        for number in range(count):
            world.engine.at(at, world.send, *self._frames[number % len(self._frames)])
            at += _SENDING_PAUSE
        world.engine.run_until(at + SECOND)
        seconds = time.process_time() - begin
        return count / seconds, sum(len(record) for record in world.received.values())


def _measure_rates(repetitions: int) -> tuple[list[Sample], dict[str, Invariant]]:
    """Measures the engine and the exchange in turns, so that a drift of the machine falls on both."""
    exchange = Exchange()
    exchange.frames_a_second(FRAMES)
    samples, arrived = [], []
    for _ in range(repetitions):
        samples.append(Sample("events_a_second", events_a_second(EVENTS), "events/s"))
        rate, came = exchange.frames_a_second(FRAMES)
        samples.append(Sample("frames_a_second", rate, "frames/s"))
        arrived.append(came)
    clients = [one.client for one in exchange.world.clients.values()]
    sealed, opened = (
        sum(one.frames_sealed for one in clients),
        sum(one.frames_delivered for one in clients),
    )
    # Each terminal has sent one frame to both others before.
    due = (repetitions + 1) * FRAMES
    held = set(arrived) == {FRAMES} and (sealed, opened) == (due + CLIENTS, due + 2 * CLIENTS)
    detail = f"{sealed} frames sealed, {opened} opened, {sum(arrived)} at their terminals"
    return samples, {"every_frame_is_sealed_relayed_and_opened_once": Invariant(held, detail)}


def measure_many(count: int) -> tuple[list[Sample], dict[str, Invariant]]:
    """Has ``count`` clients register, and each send one frame to all and one to the next."""
    begin = time.process_time()
    world = _ready(single(clients=count, terminals=1, second_group=0))
    registered = sum(one.registered for one in world.clients.values())
    names = [one.name for one in world.plan.terminals()]
    came = []
    for following in (False, True):
        for record in world.received.values():
            record.clear()
        for number, name in enumerate(names):
            to = names[(number + 1) % count] if following else None
            octets = frame(world.plan, name, to, FRAME_OCTETS)
            world.engine.after(number * MILLISECOND, world.send, name, octets)
        world.run(count / 1000 + 1)
        came.append(sum(len(record) for record in world.received.values()))
    seconds = time.process_time() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    relay = world.server.relay.flows.totals() if world.server is not None else None
    due = {"registered": count, "broadcast": count * (count - 1), "unicast": count}
    seen = dict(zip(due, (registered, *came), strict=True))
    copies = relay.copies_out if relay is not None else 0
    held = seen == due and copies == due["broadcast"] + due["unicast"]
    detail = ", ".join(f"{name} {seen[name]} of {due[name]}" for name in due)
    samples = [
        Sample("many_clients", count, "clients"),
        Sample("many_clients_deliveries", sum(came), "frames"),
        Sample("many_clients_seconds", seconds, "s"),
        Sample("many_clients_peak_memory", peak, "MiB"),
    ]
    counts = Invariant(held, f"{detail}; {copies} copies out of the relay")
    return samples, {"every_client_registers_and_every_frame_comes_once": counts}


def frame(plan: Plan, source: str, destination: str | None, octets: int) -> bytes:
    """Builds a frame of so many octets from one terminal to another, or to all."""
    to = BROADCAST if destination is None else _mac(plan, destination)
    return EthernetHeader(to, _mac(plan, source), ETHER_TYPE).pack().ljust(octets, b"\0")


def _mac(plan: Plan, terminal: str) -> bytes:
    mac = plan.lan_interface(terminal).mac
    assert mac is not None
    return parse_mac(mac)


def _ready(plan: Plan) -> World:
    world = World(plan, seed=1)
    world.start()
    world.wait_until_registered()
    world.run(3)
    return world


def _figures(samples: list[Sample]) -> Iterator[tuple[str, Figure]]:
    """Yields each sample's mean with its interval, and a value that is one as it is.

    What a frame costs is told in events of the empty engine, too, by the pairs that were measured in turn.
    """
    for name in dict.fromkeys(sample.name for sample in samples):
        values = [sample.value for sample in samples if sample.name == name]
        unit = next(sample.unit for sample in samples if sample.name == name)
        yield name, figures.mean(values, unit)
    rates = [
        [sample.value for sample in samples if sample.name == name]
        for name in ("events_a_second", "frames_a_second")
    ]
    in_events = [events / frames for events, frames in zip(*rates, strict=True)]
    yield "frame_in_events", figures.mean(in_events, "empty events")


def _bars(found: dict[str, Figure], quick: bool) -> Table:
    rows = []
    for name, word, limit in _BARS:
        figure = found[name]
        met = figure.low >= limit if word == "at least" else figure.high <= limit
        judged = name != "many_clients_seconds" or not quick
        rows.append(
            (
                name,
                f"{word} {limit:g} {figure.unit}",
                figure.value,
                ("met" if met else "missed") if judged else "not judged: a quick run has fewer",
            )
        )
    return Table("Bars", ("figure", "bar", "measured", ""), tuple(rows))


def _write(
    folder: Path, given: Given, samples: list[Sample], invariants: dict[str, Invariant]
) -> Summary:
    found = dict(_figures(samples))
    bars = _bars(found, quick=bool(given.parameters["quick"]))
    summary = write_run(folder, given, Found(samples, [bars], found, invariants))
    for name, bar, value, word in bars.rows:
        print(f"{name}: {value:,.0f}, {bar}: {word}")
    return summary
