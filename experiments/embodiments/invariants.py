"""What must hold in every run of embodiment 1, each told from what was seen and by nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from experiments.observation.capture import (
    DecodedFrame,
    DecodingKey,
    contains_run_of,
    decode_frames,
)
from experiments.observation.interop import scapy_opens, scapy_seals
from experiments.observation.udp_payloads import (
    has_hop_tag,
    has_vpn_header,
    udp_payloads,
    without_hop_tag,
)
from experiments.records.record import Invariant
from experiments.traffic.probing import BROADCAST, Outcome
from experiments.traffic.terminals import Attempt
from nodes.sections import DEFAULT_DATA_PORT
from protocol.wire.vpn_header import LENGTH
from topologies.kernel_trees import Routes
from topologies.plan import Kind, Plan

RESIDENT_LIMIT = 60 << 20
PEAK_LIMIT = 110 << 20
"""Octets of memory that one process of ours may take, steady and at its peak."""
EXAMPLES = 3


@dataclass(frozen=True)
class Seen:
    """All that a run has seen; statuses are those of the processes after the last frame."""

    plan: Plan
    strip: str
    server: str
    statuses: dict[str, dict[str, Any]]
    maps: dict[str, str]
    """Each process's /proc/PID/maps: which libraries it has loaded."""
    pings: Sequence[Attempt]
    neighbours: Sequence[Attempt]
    connections: Sequence[Attempt]
    probes: Outcome
    outside: Path
    inside: Path
    keys: dict[int, list[dict[str, Any]]]
    """The SAs of each group, by VPN ID, as a member holds them."""
    server_kernel: dict[str, int]
    """The UDP counters of the server's kernel."""
    baseline: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Counters of processes when what is counted began, where that was not at their start."""
    routes: Routes = field(default_factory=dict)
    """What multicast routers' kernels forward by, where the Plan does not say."""
    hop_tags: bool = False
    """Whether relays took datagrams with the tag of their hop alone."""

    def counter(self, node: str, name: str) -> int:
        """Returns a process's counter."""
        return int(self.statuses[node]["counters"].get(name, 0))

    def counters_since(self, node: str) -> dict[str, int]:
        """Returns a process's counters without what they were when counting began."""
        earlier = self.baseline.get(node, {})
        counters = self.statuses[node]["counters"].items()
        return {name: value - earlier.get(name, 0) for name, value in counters}

    def column(self, node: str, table: str, column: str) -> list[Any]:
        """Returns a column of a process's table, by the table's number."""
        for title, content in self.statuses[node]["tables"].items():
            if title.startswith(table):
                place = content["columns"].index(column)
                return [row[place] for row in content["rows"]]
        raise KeyError(table)

    @cached_property
    def decoded(self) -> list[DecodedFrame]:
        """The frames that tshark finds in the capture outside, given the SAs."""
        return decode_frames(self.outside, decoding_keys(self))

    @property
    def forwarders(self) -> list[str]:
        """Names what carries datagrams: the VPN servers, or the one server that is both."""
        return [relay.name for relay in self.plan.relays] or [self.server]

    @property
    def servers(self) -> list[str]:
        """Names every server: what hands out keys, and what carries datagrams."""
        return list(dict.fromkeys((self.server, *self.forwarders)))

    @property
    def clients(self) -> list[str]:
        """Names the clients."""
        return [client.name for client in self.plan.clients()]


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


def outside_hides_payload(seen: Seen) -> Invariant:
    """No packet outside has 16 octets in a row of any probe frame's payload."""
    found = contains_run_of(seen.outside, *_payloads(seen))
    return Invariant(not found, "a run of 16 octets was " + ("found" if found else "not found"))


def inside_shows_payload(seen: Seen) -> Invariant:
    """The same search finds the payload on a LAN: it can find what is there."""
    found = contains_run_of(seen.inside, seen.probes.round.marker)
    return Invariant(found, "the marker was " + ("found" if found else "not found"))


def tshark_decodes(seen: Seen) -> Invariant:
    """Given the SAs, tshark reads every sent probe frame, to the octet, out of the capture outside."""
    decoded = {frame.octets for frame in seen.decoded}
    sent = seen.probes.round.frames()
    missing = [frame for frame in sent if frame not in decoded]
    detail = f"{len(sent) - len(missing)} of {len(sent)} probe frames decoded from the capture"
    return Invariant(bool(sent) and not missing, detail)


def scapy_agrees(seen: Seen) -> Invariant:
    """Scapy opens what the clients sealed, and a client's SA opens what scapy seals."""
    sent = set(seen.probes.round.frames())
    ours = scapy_opens(seen.outside, seen.keys, sent)
    theirs = scapy_seals(seen.keys, sorted(sent, key=len)[:: max(1, len(sent) // 20)])
    detail = f"scapy opened {ours} probe frames of the capture; its {theirs.describe()}"
    return Invariant(ours > 0 and theirs.all_open, detail)


def server_seals_and_opens_nothing(seen: Seen) -> Invariant:
    """No server's process has called a cipher or holds one; the clients' have and do."""
    processes = [seen.statuses[server]["process"] for server in seen.servers]
    calls = sum(process["frames_sealed"] + process["frames_opened"] for process in processes)
    loaded = any(process["cipher_loaded"] for process in processes)
    loaded = loaded or any("cryptography" in seen.maps[server] for server in seen.servers)
    clients = [seen.statuses[client]["process"] for client in seen.clients]
    at_clients = sum(client["frames_sealed"] + client["frames_opened"] for client in clients)
    shows = all(
        client["cipher_loaded"] and "cryptography" in seen.maps[name]
        for name, client in zip(seen.clients, clients, strict=True)
    )
    detail = (
        f"{len(processes)} servers: {calls} calls, cipher {'loaded' if loaded else 'not loaded'}; "
        f"clients: {at_clients} calls"
    )
    return Invariant(calls == 0 and not loaded and shows and at_clients > 0, detail)


def octets_stay_as_they_are(seen: Seen) -> Invariant:
    """Every payload that a server sent is one that it received, from its VPN header or inner packet on.

    To another server it has the tag of that hop in place of the one that it came with.

    Not told of are those before the first that it received from a client in the capture: copies of
    datagrams from before its capture began.
    """
    forwarders = {seen.plan.data_address(name): name for name in seen.forwarders}
    received: set[tuple[str, str, bytes]] = set()
    sent: Counter[tuple[tuple[str, str, bytes], bool]] = Counter()
    begun: set[str] = set()
    for payload, source, destination in udp_payloads(seen.outside, DEFAULT_DATA_PORT):
        if destination in forwarders:
            name = forwarders[destination]
            # Another server's capture, begun before, has what these two send each other.
            begun |= set() if source in forwarders else {name}
            untagged = without_hop_tag(payload)
            received |= {(name, "whole", payload), (name, "between", untagged)}
            received.add((name, "stripped", untagged[LENGTH:]))
        if forwarders.get(source) in begun:
            name = forwarders[source]
            if destination in forwarders:
                sent[(name, "between", without_hop_tag(payload)), True] += 1
            else:
                sent[(name, "stripped" if seen.strip == "patent" else "whole", payload), False] += 1
    # Seen at one of two servers only, it was under way when what is looked at began or ended.
    judged = {one: count for (one, between), count in sent.items() if not between or count > 1}
    changed = sum(count for one, count in judged.items() if one not in received)
    detail = f"{sent.total()} payloads sent, {changed} of them not as received"
    return Invariant(bool(sent) and not changed, detail)


def every_datagram_is_tagged(seen: Seen) -> Invariant:
    """Every datagram with a VPN header has a hop tag, between servers another than on the way there."""
    places = {seen.plan.data_address(name) for name in seen.forwarders}
    tags: dict[bytes, list[set[bytes]]] = {}
    count = bare = 0
    for payload, source, destination in udp_payloads(seen.outside, DEFAULT_DATA_PORT):
        if not has_vpn_header(payload):
            continue
        count += 1
        if not has_hop_tag(payload):
            bare += 1
            continue
        known = tags.setdefault(without_hop_tag(payload), [set(), set()])
        if destination in places:
            known[source in places].add(payload)
    crossed = [known for known in tags.values() if known[1]]
    same = sum(bool(known[0] & known[1]) for known in crossed)
    detail = (
        f"{count} datagrams, {bare} without a hop tag; {len(crossed)} payloads between servers, "
        f"{same} of them under a client's tag"
    )
    return Invariant(count > 0 and not bare and not same, detail)


def counters_balance(seen: Seen) -> Invariant:
    """What the clients sealed is what relays got; what those sent is what they got; no drop between."""
    sealed = sum(seen.counter(client, "frames_sealed") for client in seen.clients)
    got, copies, between = (
        sum(seen.counter(name, counter) for name in seen.forwarders)
        for counter in ("datagrams_in", "copies_out", "copies_to_servers")
    )
    delivered = sum(seen.counter(client, "frames_delivered") for client in seen.clients)
    refused = sum(received_drops(seen.statuses[client]["counters"]) for client in seen.clients)
    detail = (
        f"sealed {sealed}, received by relays {got}, of these from relays {between}; "
        f"copies {copies}, delivered {delivered}, dropped on arrival {refused}"
    )
    held = sealed + between == got and copies == between + delivered + refused
    return Invariant(held, detail)


def one_association_a_group(seen: Seen) -> Invariant:
    """All clients of a group hold the group's one address and one SA, each with its own sender ID."""
    wrong = []
    for group in seen.plan.groups:
        members = [client.name for client in seen.plan.clients(group.vpn_id)]
        addresses = {seen.column(name, "309", "multicast address")[0] for name in members}
        spis = {tuple(seen.column(name, "308", "SPI")) for name in members}
        senders = {seen.column(name, "308", "sender ID")[0] for name in members}
        at_server = {
            (row[0], row[1])
            for row in zip(
                seen.column(seen.server, "508 multicast address", "VPN ID"),
                seen.column(seen.server, "508 multicast address", "SPI"),
                strict=True,
            )
        }
        spi_at_server = {spi for vpn_id, spi in at_server if vpn_id == group.vpn_id}
        if addresses != {str(group.multicast_address)} or len(senders) != len(members):
            wrong.append(f"VPN {group.vpn_id}: addresses {addresses}, sender IDs {senders}")
        if spis != {tuple(spi_at_server)}:
            wrong.append(f"VPN {group.vpn_id}: SPIs {spis}, server {spi_at_server}")
    return Invariant(not wrong, f"{len(seen.plan.groups)} groups" + examples(wrong))


def memory_is_bounded(seen: Seen) -> Invariant:
    """No process of ours takes more memory than it may, steady or at its peak."""
    processes = {name: status["process"] for name, status in seen.statuses.items()}
    steady = max(process["resident_octets"] for process in processes.values())
    peak = max(process["peak_resident_octets"] for process in processes.values())
    detail = f"at most {steady >> 20} MiB resident, {peak >> 20} MiB at the peak"
    return Invariant(steady <= RESIDENT_LIMIT and peak <= PEAK_LIMIT, detail)


INVARIANTS: dict[str, Callable[[Seen], Invariant]] = {
    "every_terminal_reaches_every_other_by_ping": lambda seen: all_reach(seen.pings),
    "every_terminal_resolves_every_other": lambda seen: all_reach(seen.neighbours),
    "every_terminal_reaches_every_other_by_tcp": lambda seen: all_reach(seen.connections),
    "unicast_probes_arrive_once_byte_for_byte": lambda seen: probes_arrive(seen, broadcast=False),
    "broadcast_probes_reach_every_other_once": lambda seen: probes_arrive(seen, broadcast=True),
    "broadcast_never_returns_to_its_lan": broadcast_never_returns,
    "nothing_arrives_that_was_not_due": nothing_else_arrives,
    "group_with_same_addresses_is_not_touched": groups_are_apart,
    "capture_outside_hides_the_payload": outside_hides_payload,
    "capture_inside_shows_the_payload": inside_shows_payload,
    "tshark_decodes_the_capture_to_the_frames": tshark_decodes,
    "scapy_opens_ours_and_we_open_scapys": scapy_agrees,
    "server_seals_and_opens_no_frame": server_seals_and_opens_nothing,
    "relay_forwards_octets_unchanged": octets_stay_as_they_are,
    "counters_balance": counters_balance,
    "one_address_and_association_a_group": one_association_a_group,
    "memory_is_bounded": memory_is_bounded,
}


TAGGED: dict[str, Callable[[Seen], Invariant]] = {
    "every_datagram_has_the_tag_of_its_hop": every_datagram_is_tagged,
}
"""What holds besides where hop tags are required."""


def check_all(
    seen: Seen, invariants: Mapping[str, Callable[[Seen], Invariant]] = INVARIANTS
) -> dict[str, Invariant]:
    """Tells of every invariant whether it held, and what was seen."""
    checks = {**invariants, **TAGGED} if seen.hop_tags else invariants
    return {name: check(seen) for name, check in checks.items()}


def _describe(attempt: Attempt) -> str:
    return attempt.describe()


def examples(texts: Iterable[str]) -> str:
    """Appends the first few of what went wrong."""
    first = list(texts)[:EXAMPLES]
    return f": {'; '.join(first)}" if first else ""


def _is_broadcast(destination: bytes) -> bool:
    return destination == b"\xff" * 6


def _payloads(seen: Seen) -> list[bytes]:
    """What must not show outside: the marker, and each frame behind its Ethernet header."""
    return [seen.probes.round.marker, *(frame[14:] for frame in seen.probes.round.frames())]


def decoding_keys(seen: Seen) -> list[DecodingKey]:
    return [
        DecodingKey(key["spi"], bytes.fromhex(key["key"]), bytes.fromhex(key["salt"]))
        for keys in seen.keys.values()
        for key in keys
    ]


def _shared_addresses(plan: Plan) -> int:
    """Counts the MAC addresses that occur in more than one group."""
    groups: dict[str, set[int | None]] = {}
    for terminal in plan.terminals():
        for interface in plan.interfaces(terminal.name, Kind.LAN):
            if interface.mac is not None:
                groups.setdefault(interface.mac, set()).add(terminal.vpn_id)
    return sum(len(found) > 1 for found in groups.values())


_ON_SENDING = {
    "frame_too_large",
    "not_registered",
    "group_source",
    "station_seen_outside",
    "local_destination",
    "bridge_local_destination",
    "malformed_frame",
    "counter_exhausted",
}


def received_drops(counters: dict[str, int]) -> int:
    """Sums what a client dropped of what came from outside."""
    return sum(
        count
        for name, count in counters.items()
        if name.startswith("dropped_") and name.removeprefix("dropped_") not in _ON_SENDING
    )
