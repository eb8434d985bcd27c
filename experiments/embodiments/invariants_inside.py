"""What must hold of frames at terminals: they arrive where they are due, and nowhere else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from experiments.embodiments.seen import Seen, examples
from experiments.records.record import Invariant
from experiments.traffic.probing import BROADCAST
from experiments.traffic.terminals import Attempt
from topologies.plan import Kind, Plan


def all_reach(attempts: Sequence[Attempt]) -> Invariant:
    """Every attempt has succeeded, and there was one."""
    failed = [attempt for attempt in attempts if not attempt.succeeded]
    detail = f"{len(attempts) - len(failed)} of {len(attempts)} succeeded"
    return Invariant(bool(attempts) and not failed, detail + examples(map(_describe, failed)))


def probes_arrive(seen: Seen, broadcast: bool) -> Invariant:
    """Every unicast (or broadcast) probe frame has arrived once wherever it was due, unaltered."""
    outcome = seen.probes
    due = [one for one in outcome.expected if _is_broadcast(one.frame.destination) is broadcast]
    wrong = [
        one.describe()
        for one in (*outcome.comparison.missing, *outcome.comparison.duplicated)
        if _is_broadcast(one.frame.destination) is broadcast
    ]
    wrong += [
        f"{name} altered: sender {record.sender} sequence {record.sequence}"
        for name, record in outcome.comparison.altered
        if (record.destination == BROADCAST) is broadcast
    ]
    detail = f"{len(due)} deliveries due, {len(wrong)} missing, doubled or altered"
    return Invariant(bool(due) and not wrong, detail + examples(wrong))


def nothing_else_arrives(seen: Seen) -> Invariant:
    """No terminal has seen a frame that was not due: nothing comes back, nothing goes astray."""
    strays = [
        f"{name}: sender {record.sender} sequence {record.sequence}"
        for name, record in seen.probes.comparison.unexpected
    ]
    detail = f"{seen.probes.comparison.received} frames seen, {len(strays)} of them not due"
    return Invariant(not strays, detail + examples(strays))


def broadcast_never_returns(seen: Seen) -> Invariant:
    """No LAN has got a broadcast of its own back: its terminals saw each once or, the sender, never."""
    plan = seen.plan
    home = {
        send_plan.sender: plan.client_of(name).name
        for name, send_plan in seen.probes.round.plans.items()
    }
    copies: Counter[tuple[str, int, int]] = Counter()
    for terminal, records in seen.probes.received.items():
        for record in records:
            at_home = home.get(record.sender) == plan.client_of(terminal).name
            if record.destination == BROADCAST and at_home:
                copies[terminal, record.sender, record.sequence] += 1
    senders = set(seen.probes.round.plans)
    returned = [key for key, count in copies.items() if count > (0 if key[0] in senders else 1)]
    detail = f"{len(copies)} sightings on the own LAN, {len(returned)} of them of a returned copy"
    return Invariant(
        not returned, detail + examples(f"{key[0]} sequence {key[2]}" for key in returned)
    )


def groups_are_apart(seen: Seen) -> Invariant:
    """No terminal has seen a frame of another group, though MAC and IP addresses are the same."""
    plan = seen.plan
    group_of = {
        send_plan.sender: plan.node(name).vpn_id
        for name, send_plan in seen.probes.round.plans.items()
    }
    crossed = [
        f"{terminal} saw sender {record.sender}"
        for terminal, records in seen.probes.received.items()
        for record in records
        if group_of.get(record.sender) != plan.node(terminal).vpn_id
    ]
    shared = _shared_addresses(plan)
    detail = (
        f"{len(plan.groups)} groups, {shared} MAC addresses in both, {len(crossed)} frames crossed"
    )
    if len(plan.groups) < 2:
        return Invariant(not crossed, f"not applicable: {detail}" + examples(crossed))
    return Invariant(shared > 0 and not crossed, detail + examples(crossed))


def _describe(attempt: Attempt) -> str:
    return attempt.describe()


def _is_broadcast(destination: bytes) -> bool:
    return destination == b"\xff" * 6


def _shared_addresses(plan: Plan) -> int:
    """Counts the MAC addresses that occur in more than one group."""
    groups: dict[str, set[int | None]] = {}
    for terminal in plan.terminals():
        for interface in plan.interfaces(terminal.name, Kind.LAN):
            if interface.mac is not None:
                groups.setdefault(interface.mac, set()).add(terminal.vpn_id)
    return sum(len(found) > 1 for found in groups.values())
