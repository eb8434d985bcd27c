"""What must hold in every run with several VPN servers, beside what holds with one.

Patent: Figs. 15-19; effects E4, E5.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from experiments.embodiments.invariants import INVARIANTS
from experiments.embodiments.seen import Seen, examples
from experiments.embodiments.vpn_servers.nearest import equally_near
from experiments.observation.udp_payloads import udp_payloads, without_hop_tag
from experiments.records.record import Invariant
from nodes.sections import DEFAULT_DATA_PORT
from protocol.wire.vpn_header import MAC_BLOCK_FOLLOWS

_Address = IPv4Address | IPv6Address
_KERNEL_COUNTERS = ("InDatagrams", "NoPorts", "InErrors", "OutDatagrams")
_ADDRESS = "unicast address"
_BROADCAST = b"\xff" * 6
_SEALED_FROM = 16
"""Octets of a VPN header: behind them a payload is the same on every way that it takes."""


def representative_carries_no_frame(seen: Seen) -> Invariant:
    """No datagram has reached the representative or left it: its kernel has counted none."""
    kernel = {name: seen.server_kernel[name] for name in _KERNEL_COUNTERS}
    flowed = sum(seen.counter(client, "frames_delivered") for client in seen.clients)
    detail = f"its kernel's UDP {kernel}; clients delivered {flowed} frames"
    return Invariant(not any(kernel.values()) and flowed > 0, detail)


def clients_have_their_nearest(seen: Seen) -> Invariant:
    """Every client sends to a VPN server than which none is nearer in the Plan."""
    wrong = []
    for client in seen.clients:
        nearest = {name: _endpoints(seen, name) for name in equally_near(seen.plan, client)}
        (given,) = seen.column(client, "309", "server")
        if not any(given in endpoints for endpoints in nearest.values()):
            wrong.append(f"{client} has {given}, nearest is {' or '.join(sorted(nearest))}")
    return Invariant(not wrong, f"{len(seen.clients)} clients" + examples(wrong))


def nothing_comes_twice(seen: Seen) -> Invariant:
    """No server sends a payload to anyone twice, and no client has dropped one as a replay."""
    sent = _hops(seen)
    twice = [hop for hop, count in sent.items() if count > 1]
    replays = sum(seen.counter(client, "dropped_replayed") for client in seen.clients)
    detail = f"{sent.total()} datagrams of servers, {len(twice)} repeated; {replays} replays"
    return Invariant(bool(sent) and not twice and not replays, detail)


def one_copy_to_each_server(seen: Seen) -> Invariant:
    """A broadcast crosses once to each other server with clients of its group, and no further."""
    servers = {seen.plan.data_address(name): name for name in seen.forwarders}
    holding = _holding(seen)
    ways: dict[bytes, list[tuple[str, str]]] = {}
    for (source, destination, payload), count in _hops(seen).items():
        if destination in servers and source in servers:
            ways.setdefault(payload, []).extend([(servers[source], servers[destination])] * count)
    crossings = sum(map(len, ways.values()))
    counted = sum(seen.counter(name, "copies_to_servers") for name in seen.forwarders)
    if all(len(names) < 2 for names in holding.values()):
        said = f"not applicable: each group is held by one server; {crossings} copies"
        return Invariant(not ways and not counted, said)
    wrong = [*_wrong_crossings(seen, ways, holding), *_missing_crossings(seen, ways, holding)]
    detail = f"{len(ways)} payloads crossed, {crossings} copies; relays counted {counted}"
    return Invariant(bool(ways) and not wrong and counted > 0, detail + examples(wrong))


def _wrong_crossings(
    seen: Seen, ways: Mapping[bytes, list[tuple[str, str]]], holding: Mapping[int, set[str]]
) -> Iterator[str]:
    """Tells of payloads that crossed from two servers, twice to one, or to others than are due."""
    under_way = _under_way(seen)
    for payload, hops in ways.items():
        if payload in under_way:
            continue
        origins, reached = {one for one, _ in hops}, [other for _, other in hops]
        if len(origins) > 1 or len(reached) != len(set(reached)):
            yield f"{len(hops)} copies from {sorted(origins)}"
        elif _is_broadcast(payload):
            due = holding[_group_of(seen, payload)] - origins
            if set(reached) != due:
                yield f"a broadcast from {origins} to {reached}, due {sorted(due)}"


def _missing_crossings(
    seen: Seen, ways: Mapping[bytes, list[tuple[str, str]]], holding: Mapping[int, set[str]]
) -> Iterator[str]:
    """Tells of clients' broadcasts that crossed to nobody, though another server has clients."""
    for payload, home in _entered(seen).items():
        if payload in ways or not _is_broadcast(payload):
            continue
        if due := holding[_group_of(seen, payload)] - {home}:
            yield f"a broadcast from {home} to nobody, due {sorted(due)}"


def servers_send_to_clients_alone(seen: Seen) -> Invariant:
    """With direct delivery no datagram goes from server to server."""
    servers = {seen.plan.data_address(name) for name in seen.forwarders}
    hops = _hops(seen)
    between = sum(count for (_, to, _), count in hops.items() if to in servers)
    counted = sum(seen.counter(name, "copies_to_servers") for name in seen.forwarders)
    detail = f"{hops.total()} datagrams of servers, {between} of them to servers"
    return Invariant(bool(hops) and not between and not counted, detail)


def tables_are_the_representatives(seen: Seen) -> Invariant:
    """Every server holds in table 507 what the representative says, and all of the epoch."""
    said = _rows(seen, seen.server, "clients", "client", _ADDRESS, "server")
    wrong = []
    for name in seen.forwarders:
        rows = _rows(seen, name, "507", "client or server", _ADDRESS, "held")
        held = {(client, address, how) for client, address, how in rows if how != "VPN server"}
        due = {
            (client, address, "own" if server == name else "elsewhere")
            for client, address, server in said
            if seen.plan.delivery == "direct" or server == name
        }
        if held != due:
            wrong.append(f"{name} holds {sorted(held)}, said was {sorted(due)}")
    detail = f"{len(seen.forwarders)} servers, {len(said)} clients"
    return Invariant(bool(said) and not wrong, detail + examples(wrong))


def _rows(seen: Seen, node: str, table: str, *columns: str) -> list[tuple[Any, ...]]:
    """Returns some columns of a process's table, row by row."""
    return list(zip(*(seen.column(node, table, name) for name in columns), strict=True))


def _hops(seen: Seen) -> Counter[tuple[_Address, _Address, bytes]]:
    """Counts what servers have sent."""
    servers = {seen.plan.data_address(name) for name in seen.forwarders}
    hops = _sightings(seen)
    # A datagram between two servers passes two places of capture.
    for hop in hops:
        if hop[1] in servers:
            hops[hop] = hops[hop] // 2 + hops[hop] % 2
    return hops


def _under_way(seen: Seen) -> set[bytes]:
    """Finds payloads that were between two servers when what is looked at began or ended."""
    servers = {seen.plan.data_address(name) for name in seen.forwarders}
    return {hop[2] for hop, count in _sightings(seen).items() if hop[1] in servers and count % 2}


def _sightings(seen: Seen) -> Counter[tuple[_Address, _Address, bytes]]:
    """Counts what of servers' was captured where each server is linked to the network."""
    servers = {seen.plan.data_address(name) for name in seen.forwarders}
    return Counter(
        (source, destination, payload)
        for payload, source, destination in _payloads(seen)
        if source in servers
    )


def _payloads(seen: Seen) -> Iterator[tuple[bytes, _Address, _Address]]:
    """Yields (payload, source, destination); a payload is the same on every hop."""
    for payload, source, destination in udp_payloads(seen.outside, DEFAULT_DATA_PORT):
        yield without_hop_tag(payload), source, destination


def _entered(seen: Seen) -> dict[bytes, str]:
    """Tells at which server each payload of a client came in."""
    servers = {seen.plan.data_address(name): name for name in seen.forwarders}
    return {
        payload: servers[destination]
        for payload, source, destination in _payloads(seen)
        if destination in servers and source not in servers
    }


def _holding(seen: Seen) -> dict[int, set[str]]:
    """Tells which servers have clients of each group."""
    holding: dict[int, set[str]] = {group.vpn_id: set() for group in seen.plan.groups}
    for client in seen.plan.clients():
        (given,) = seen.column(client.name, "309", "server")
        for name in seen.forwarders:
            if given in _endpoints(seen, name):
                assert client.vpn_id is not None
                holding[client.vpn_id].add(name)
    return holding


def _endpoints(seen: Seen, name: str) -> tuple[str, str]:
    """Returns how a client's table names a server, in either IP version."""
    address = seen.plan.data_address(name)
    return f"[{address}]:{DEFAULT_DATA_PORT}", f"{address}:{DEFAULT_DATA_PORT}"


def _is_broadcast(payload: bytes) -> bool:
    return payload[0] == MAC_BLOCK_FOLLOWS and payload[10:16] == _BROADCAST


def _group_of(seen: Seen, payload: bytes) -> int:
    """Reads whose multicast address the inner packet goes to."""
    inner = payload[_SEALED_FROM:]
    octets = inner[24:40] if inner[0] >> 4 == 6 else inner[16:20]
    return next(g.vpn_id for g in seen.plan.groups if g.multicast_address.packed == octets)


_BOTH: dict[str, Callable[[Seen], Invariant]] = {
    **INVARIANTS,
    "representative_carries_no_frame": representative_carries_no_frame,
    "clients_have_their_nearest_server": clients_have_their_nearest,
    "nothing_comes_twice": nothing_comes_twice,
    "server_tables_are_the_representatives": tables_are_the_representatives,
}
DIRECT_INVARIANTS: dict[str, Callable[[Seen], Invariant]] = {
    **_BOTH,
    "servers_send_to_clients_alone": servers_send_to_clients_alone,
}
CASCADE_INVARIANTS: dict[str, Callable[[Seen], Invariant]] = {
    **_BOTH,
    "one_copy_to_each_server": one_copy_to_each_server,
}


def invariants_of(delivery: str) -> dict[str, Callable[[Seen], Invariant]]:
    """Returns what must hold with a way of delivery."""
    return CASCADE_INVARIANTS if delivery == "cascade" else DIRECT_INVARIANTS
