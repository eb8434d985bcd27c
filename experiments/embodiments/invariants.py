"""What must hold in every run of embodiment 1, each told from what was seen and by nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from experiments.embodiments.invariants_inside import (
    all_reach,
    broadcast_never_returns,
    groups_are_apart,
    nothing_else_arrives,
    probes_arrive,
)
from experiments.embodiments.invariants_outside import (
    every_datagram_is_tagged,
    inside_shows_payload,
    octets_stay_as_they_are,
    outside_hides_payload,
    scapy_agrees,
    tshark_decodes,
)
from experiments.embodiments.seen import Seen, examples
from experiments.records.record import Invariant

RESIDENT_LIMIT = 60 << 20
PEAK_LIMIT = 110 << 20
"""Octets of memory that one process of ours may take, steady and at its peak."""


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
