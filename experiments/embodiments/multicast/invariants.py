"""What must hold in every run of embodiment 3: the network replicates, and the server is idle.

Patent: Figs. 13, 14.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from experiments.embodiments.invariants import INVARIANTS, received_drops
from experiments.embodiments.seen import Seen, examples
from experiments.observation.udp_payloads import esp_packets, udp_payloads
from experiments.records.record import Invariant
from nodes.sections import DEFAULT_DATA_PORT
from protocol.errors import WireError
from protocol.wire.ip import HOP_LIMIT, IpHeader
from topologies.kernel_trees import Routes, follow, tree_faults
from topologies.plan import Plan

_OF_A_RELAY = ("relay_forwards_octets_unchanged", "counters_balance")
_KERNEL_COUNTERS = ("InDatagrams", "NoPorts", "InErrors", "OutDatagrams")


def server_is_idle(seen: Seen) -> Invariant:
    """No datagram has reached the server or left it: process and kernel have counted none.

    Patent: effect E3.
    """
    names = ("datagrams_in", "copies_out")
    process = {name: seen.counter(seen.server, name) for name in names}
    kernel = {name: seen.server_kernel[name] for name in _KERNEL_COUNTERS}
    flowed = sum(seen.counter(client, "frames_delivered") for client in seen.clients)
    idle = not any((*process.values(), *kernel.values()))
    detail = f"process {process}, its kernel's UDP {kernel}; clients delivered {flowed} frames"
    return Invariant(idle and flowed > 0, detail)


def one_copy_on_each_link(seen: Seen) -> Invariant:
    """Each probe frame has passed each link of its tree once, and no other link of the routers."""
    due: Counter[tuple[bytes, str]] = Counter()
    for name, send_plan in seen.probes.round.plans.items():
        places = tree_interfaces(seen.plan, seen.plan.client_of(name).name, seen.routes)
        for stream in send_plan.streams:
            for frame in send_plan.frames_of(stream):
                due.update((frame.to_bytes(), place) for place in places)
    sent = set(seen.probes.round.frames())
    came = Counter(
        (frame.octets, frame.interface) for frame in seen.decoded if frame.octets in sent
    )
    missing, surplus = due - came, came - due
    wrong = [f"{place}: missing" for _, place in missing]
    wrong += [f"{place}: one too many" for _, place in surplus]
    detail = (
        f"{due.total()} copies due at router interfaces, "
        f"{missing.total()} missing, {surplus.total()} too many"
    )
    return Invariant(bool(due) and not wrong, detail + examples(wrong))


def tree_interfaces(plan: Plan, client: str, routes: Routes | None = None) -> set[str]:
    """Names the routers' interfaces that a client's packets pass: two for each link between them.

    The trees are those of the kernels' ``routes`` where there are any, and else the Plan's.
    """
    planned = {router: plan.multicast_routes(router) for router in plan.multicast_routers}
    return set(follow(plan, client, routes or planned).interfaces)


def kernels_have_trees(seen: Seen) -> Invariant:
    """Followed through the routers' kernels, packets reach every other member once and nobody else.

    Patent: Fig. 13 parts 1301, 1302.
    """
    faults = tree_faults(seen.plan, seen.routes)
    detail = f"{len(seen.clients)} trees through {len(seen.routes)} routers' kernels"
    return Invariant(bool(seen.routes) and not faults, detail + examples(faults))


def packets_are_bare(seen: Seen) -> Invariant:
    """Routers carry ESP straight to the group's address: no VPN header, no UDP, hop limit 64 at first."""
    groups = {group.multicast_address for group in seen.plan.groups}
    datagrams = sum(1 for _ in udp_payloads(seen.outside, DEFAULT_DATA_PORT))
    packets = wrong = highest = 0
    for packet in esp_packets(seen.outside):
        packets += 1
        try:
            header = IpHeader.parse(packet)
        except WireError:
            wrong += 1
            continue
        highest = max(highest, header.hop_limit)
        wrong += header.destination not in groups
    detail = (
        f"{packets} ESP packets, {wrong} not to a group; {datagrams} datagrams; hop limit {highest}"
    )
    return Invariant(packets > 0 and not wrong and not datagrams and highest == HOP_LIMIT, detail)


def counters_balance(seen: Seen) -> Invariant:
    """What a client's group has sealed is what came to every other member, delivered or dropped."""
    wrong = []
    for group in seen.plan.groups:
        members = [client.name for client in seen.plan.clients(group.vpn_id)]
        counters = {name: seen.counters_since(name) for name in members}
        sealed = {name: counters[name].get("frames_sealed", 0) for name in members}
        for name in members:
            due = sum(sealed.values()) - sealed[name]
            came = counters[name].get("frames_delivered", 0) + received_drops(counters[name])
            if due != came:
                wrong.append(f"{name}: {due} due, {came} came")
    return Invariant(not wrong, f"{len(seen.clients)} clients" + examples(wrong))


MULTICAST_INVARIANTS: dict[str, Callable[[Seen], Invariant]] = {
    **{name: check for name, check in INVARIANTS.items() if name not in _OF_A_RELAY},
    "server_is_idle": server_is_idle,
    "one_copy_on_each_link_of_the_tree": one_copy_on_each_link,
    "packets_are_bare_esp_to_the_group": packets_are_bare,
    "sealed_packets_reach_every_other_member": counters_balance,
}

PIM_INVARIANTS: dict[str, Callable[[Seen], Invariant]] = {
    **MULTICAST_INVARIANTS,
    "trees_in_the_kernels_reach_every_other_member_once": kernels_have_trees,
}
"""Those where the routers have found their trees themselves."""
