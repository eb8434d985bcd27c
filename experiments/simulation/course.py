"""A run in the simulator's world: the frames and invariants of an emulated run, without a machine.

What only machines have is left out: ping, ARP and TCP of terminals, memory, processes' libraries. Instead
every terminal greets every other, which also teaches bridges and tables where it is.

Patent: Figs. 1-19.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from experiments.embodiments import claims
from experiments.embodiments.course import FULL_PROBES, QUICK_PROBES, Parameters, counts, record_of
from experiments.embodiments.invariants import INVARIANTS, check_all
from experiments.embodiments.invariants_inside import all_reach
from experiments.embodiments.multicast.invariants import MULTICAST_INVARIANTS
from experiments.embodiments.scripted_counts import scripted_counts
from experiments.embodiments.seen import Seen
from experiments.embodiments.subgroups.invariants import SUBGROUP_INVARIANTS
from experiments.embodiments.vpn_servers.invariants import invariants_of
from experiments.observation.pcapng import CapturedFrame, write_capture
from experiments.progress import Progress
from experiments.records.environment import utc_now
from experiments.records.record import Claim, Figure, Invariant, Record, Summary, summarise
from experiments.simulation import views
from experiments.traffic.deliveries import compare
from experiments.traffic.probe import ReceivedFrame, mac_from_text, observe
from experiments.traffic.probing import Outcome, Round, mac_of, plan_round
from experiments.traffic.terminals import Attempt, pairs
from nodes.client_view import keys
from protocol.relay import Strip
from simulator.packets import Packet
from simulator.world import World, WorldError, WorldSettings
from topologies.branches import MAXIMUM_CLIENTS
from topologies.plan import Kind, Plan

__all__ = ["STEPS", "WorldError", "observe_world", "run", "steps"]

STEPS = (
    "building the world",
    "starting server and clients",
    "terminals greet each other",
    "probe frames",
    "checking invariants",
)
SECOND = 1_000_000_000
GREETING = 0x88B6
"""EtherType of greetings: IEEE 802 local experimental 2; probe frames have the other."""
GREETING_PAUSE = 0.1
HOLD_DOWN = 1.5
SILENCE = 2.0
"""Simulated seconds between greetings, until the tables stand, and after the last frame."""
MANY_SENDERS = 8
"""So many send where there are more clients than a machine emulates: each frame has thousands of copies."""
_OF_MACHINES = (
    "every_terminal_reaches_every_other_by_ping",
    "every_terminal_resolves_every_other",
    "every_terminal_reaches_every_other_by_tcp",
    "server_seals_and_opens_no_frame",
    "memory_is_bounded",
)
_KERNEL_COUNTERS = ("NoPorts", "InErrors")
_ETHER_TYPES = {4: 0x0800, 6: 0x86DD}
_ETHERNET = bytes.fromhex("020000000001020000000002")


def steps(quick: bool) -> int:
    """Returns how many steps a run and its report have."""
    return len(STEPS) + 1


def run(
    plan: Plan, parameters: Parameters, folder: Path, progress: Progress
) -> tuple[Record, Summary]:
    """Builds the world, lets frames flow, checks, and returns record and summary."""
    started = utc_now()
    with tempfile.TemporaryDirectory(prefix="blindrelay-") as private:
        seen, world = observe_world(plan, parameters, Path(private), progress)
        progress.step(STEPS[4])
        invariants = check_all(seen, invariants_for(plan))
        figures = {**_figures(seen, world), **scripted_counts(seen)}
        links = link_packets(world)
        record = record_of(plan, parameters, seen, links, started)
        if parameters.capture:
            for path in (seen.outside, seen.inside):
                (folder / path.name).write_bytes(path.read_bytes())
    verdicts = claims.structure(invariants)
    verdicts[f"E{plan.embodiment}"] = Claim("not tested", "simulated: no load is measured")
    return record, summarise(plan.name, invariants, figures, verdicts)


def invariants_for(plan: Plan) -> dict[str, Callable[[Seen], Invariant]]:
    """Returns what must hold of a topology's run, without what only machines have."""
    of_embodiment: Mapping[int, Mapping[str, Callable[[Seen], Invariant]]] = {
        1: INVARIANTS,
        2: SUBGROUP_INVARIANTS,
        3: MULTICAST_INVARIANTS,
        4: invariants_of("direct"),
        5: invariants_of("cascade"),
    }
    greeted = {"every_terminal_greets_every_other": lambda seen: all_reach(seen.pings)}
    chosen = of_embodiment[plan.embodiment].items()
    return greeted | {name: check for name, check in chosen if name not in _OF_MACHINES}


def observe_world(
    plan: Plan, parameters: Parameters, private: Path, progress: Progress
) -> tuple[Seen, World]:
    """Lets all traffic flow in a world of the Plan, and collects what was seen."""
    progress.step(STEPS[0])
    given = parameters.settings
    settings = WorldSettings(
        strip=Strip(given.strip),
        member_delivery="spi" if given.member_delivery == "spi" else "patent",
        distribution="full" if given.distribution == "full" else "delta",
        mac_reports=given.mac_reports,
        hop_tags=given.hop_tags == "required",
    )
    world = World(plan, parameters.seed, settings)
    progress.step(STEPS[1])
    world.start()
    world.wait_until_registered()
    progress.step(STEPS[2])
    greetings = greet(world)
    progress.step(STEPS[3])
    sent = _round_for(plan, parameters)
    outside, inside = _tap(world)
    probes = run_round(world, sent)
    shown = views.statuses(world)
    server = world.network.nodes[world.server_name].counts
    seen = Seen(
        plan=plan,
        strip=given.strip,
        server=world.server_name,
        statuses=shown,
        maps={},
        pings=greetings,
        neighbours=(),
        connections=(),
        probes=probes,
        outside=write_capture(private / "outside.pcapng", outside),
        inside=write_capture(private / "lan.pcapng", inside),
        keys={group.vpn_id: _keys_of(world, group.vpn_id) for group in plan.groups},
        server_kernel={
            **dict.fromkeys(_KERNEL_COUNTERS, 0),
            "InDatagrams": server["kept"],
            "OutDatagrams": server["sent"],
        },
        hop_tags=given.hop_tags == "required",
    )
    return seen, world


def _round_for(plan: Plan, parameters: Parameters) -> Round:
    """Plans the frames of an emulated run; of more clients than a machine emulates only some send."""
    count = QUICK_PROBES if parameters.quick else FULL_PROBES
    chance = random.Random(parameters.seed)
    if len(plan.clients()) <= 2 * MAXIMUM_CLIENTS:
        return plan_round(plan, count, chance)
    return plan_round(plan, 1, chance, MANY_SENDERS)


def greet(world: World) -> list[Attempt]:
    """Has every terminal send a frame to all, and then one to each other that it can reach.

    Who has heard of all others by then need not ask who they are, as with ARP, and is silent at first.
    """
    plan = world.plan
    wanted: dict[str, set[str]] = {}
    for source, destination in pairs(plan):
        wanted.setdefault(source, set()).add(destination)
    greeted: set[str] = set()
    for name, others in wanted.items():
        if not others <= greeted:
            world.send(name, _greeting(b"\xff" * 6, _mac(plan, name), name))
            world.run(GREETING_PAUSE)
        greeted.add(name)
    world.run(HOLD_DOWN)
    attempts = []
    for source, destination in pairs(plan):
        frame = _greeting(_mac(plan, destination), _mac(plan, source), f"{source} {destination}")
        world.send(source, frame)
        came = _arrivals(world, destination, frame)
        detail = f"{came} greetings came"
        attempts.append(Attempt(source, destination, "greeting", came == 1, detail))
    return attempts


def _arrivals(world: World, terminal: str, frame: bytes) -> int:
    """Waits for a frame to arrive at a terminal; returns how often it has, a moment later."""
    record = world.received[terminal]
    before = len(record)

    def awaited() -> bool:
        return all(octets != frame for _, octets in record[before:])

    world.engine.run_while(awaited, world.engine.now + SECOND)
    world.run(GREETING_PAUSE)
    return sum(octets == frame for _, octets in record[before:])


def run_round(world: World, sent: Round) -> Outcome:
    """Sends a round and records every probe frame that every terminal receives."""
    for record in world.received.values():
        record.clear()
    begin = end = world.engine.now
    for name, send_plan in sent.plans.items():
        at = begin
        for stream in send_plan.streams:
            for frame in send_plan.frames_of(stream):
                world.engine.at(at, world.send, name, frame.to_bytes())
                at += round(SECOND / stream.rate)
        end = max(end, at)
    world.engine.run_until(end)
    world.run(SILENCE)
    received: dict[str, list[ReceivedFrame]] = {
        name: [observe(octets, at) for at, octets in record]
        for name, record in world.received.items()
    }
    expected = sent.expected(world.plan)
    return Outcome(sent, expected, received, compare(expected, received))


def link_packets(world: World) -> dict[tuple[str, str], int]:
    """Returns how many packets each link has carried in both directions."""
    directions, carried = world.network.directions, {}
    for link in world.plan.links:
        one, other = link.ends
        if link.kind is Kind.OUTSIDE:
            both = (directions[one, other], directions[other, one])
            carried[one, other] = sum(direction.counts["sent"] for direction in both)
        else:
            node = one if one in world.lan_of else other
            carried[one, other] = world.lan_of[node].counts[node]
    return carried


def _tap(world: World) -> tuple[list[CapturedFrame], list[CapturedFrame]]:
    """Begins to capture where an emulated run does; returns the lists that fill."""
    outside: list[CapturedFrame] = []
    inside: list[CapturedFrame] = []

    def see(now: int, interface: str, packet: Packet) -> None:
        kind = _ETHER_TYPES[packet.destination.version].to_bytes(2, "big")
        outside.append(CapturedFrame(now, interface, _ETHERNET + kind + packet.pack()))

    plan = world.plan
    nodes = plan.multicast_routers or [relay.name for relay in plan.relays] or [world.server_name]
    for node in nodes:
        for interface in plan.interfaces(node, Kind.OUTSIDE):
            world.network.taps[interface.name] = see
    first = plan.clients()[0].name
    port = plan.lan_interface(first).name
    world.lan_of[first].taps[first] = lambda frame: inside.append(
        CapturedFrame(world.engine.now, port, frame)
    )
    return outside, inside


def _keys_of(world: World, vpn_id: int) -> list[dict[str, Any]]:
    """Returns the SAs of one client of each Sub ID of a group."""
    of_sub_id = {client.sub_id: client.name for client in reversed(world.plan.clients(vpn_id))}
    return [
        key
        for name in of_sub_id.values()
        for key in keys(world.clients[name].client)["associations"]
    ]


def _greeting(destination: bytes, source: bytes, text: str) -> bytes:
    return (destination + source + GREETING.to_bytes(2, "big") + text.encode()).ljust(60, b"\0")


def _mac(plan: Plan, terminal: str) -> bytes:
    return mac_from_text(mac_of(plan, plan.node(terminal)))


def _figures(seen: Seen, world: World) -> dict[str, Figure]:
    """Returns exact counts: datagrams at servers, deliveries, events."""
    totals = {
        name: sum(seen.counter(node, name) for node in seen.forwarders)
        for name in ("datagrams_in", "copies_out", "copies_to_servers")
    }
    return counts(
        {
            "relay_datagrams_in": (totals["datagrams_in"], "datagrams"),
            "relay_copies_out": (totals["copies_out"], "datagrams"),
            "copies_between_servers": (totals["copies_to_servers"], "datagrams"),
            "probe_deliveries": (len(seen.probes.expected), "frames"),
            "events": (world.engine.events, "events"),
        }
    )
