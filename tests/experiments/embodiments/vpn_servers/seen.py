"""Runs with three VPN servers that were never run, one for each way of delivery.

Six clients with one terminal each: those of group 1001 are with servers a, b, c and a, those of group
1002 with b and c. Every sender has sent its probe frames, and all went well.

Patent: Figs. 15, 17.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from experiments.embodiments.seen import Seen
from experiments.traffic.probe import mac_from_text
from experiments.traffic.probing import BROADCAST, Round, plan_round
from experiments.traffic.terminals import Attempt
from tests.experiments.embodiments import seen as made
from tests.experiments.embodiments.seen import DATA_PORT, SPIS, Datagram, address_of
from topologies.catalog import cascade, multiserver
from topologies.plan import Plan

KERNEL = ("InDatagrams", "NoPorts", "InErrors", "OutDatagrams")


def good(folder: Path, delivery: str, strip: str = "keep") -> Seen:
    """Makes what is seen when all invariants hold."""
    planned = multiserver if delivery == "direct" else cascade
    plan = planned(clients=4, terminals=1, second_group=2, servers=3)
    sent = plan_round(plan, 1, random.Random(1))
    outside, inside = folder / "outside.pcap", folder / "inside.pcap"
    datagrams = list(flow(plan, sent, strip))
    write_captured(outside, plan, datagrams)
    wrpcap(str(inside), [Ether(frame) for frame in sent.frames()])
    servers = [relay.name for relay in plan.relays]
    clients = [client.name for client in plan.clients()]
    return Seen(
        plan=plan,
        strip=strip,
        server="server",
        statuses=_statuses(plan, sent, datagrams),
        maps={name: made.maps_of(name in clients) for name in ("server", *servers, *clients)},
        pings=[Attempt("t1a", "t2a", "ping IPv6", True, "answered")],
        neighbours=[Attempt("t1a", "t2a", "ARP", True, "10.0.0.2 is 02:00:00:00:bb:01")],
        connections=[Attempt("t1a", "t2a", "TCP", True, "262144 octets or more")],
        probes=made.outcome(plan, sent, made.received(plan, sent)),
        outside=outside,
        inside=inside,
        keys=made.member_keys(),
        server_kernel=dict.fromkeys(KERNEL, 0),
    )


def flow(plan: Plan, sent: Round, strip: str = "keep") -> Iterator[Datagram]:
    """Yields every datagram of a round once, in the order in which they are sent."""
    for name, send_plan in sent.plans.items():
        client = plan.client_of(name).name
        vpn_id = plan.node(client).vpn_id
        assert vpn_id is not None
        association = made.association_of(vpn_id, send_plan.sender)
        for stream in send_plan.streams:
            for probe in send_plan.frames_of(stream):
                payload = made.payload_of(plan, client, association, probe.to_bytes())
                yield from _ways(plan, client, stream.destination, payload, strip)


def between(plan: Plan, datagram: Datagram) -> bool:
    """Tells whether a datagram goes from server to server."""
    servers = {plan.data_address(relay.name) for relay in plan.relays}
    return {datagram.source, datagram.destination} <= servers


def is_broadcast(datagram: Datagram) -> bool:
    """Tells whether the VPN header's destination is the broadcast address."""
    return datagram.payload[10:16] == mac_from_text(BROADCAST)


def write_captured(path: Path, plan: Plan, datagrams: list[Datagram]) -> None:
    """Writes what is captured at the servers' links: what goes between two of them passes both."""
    captured = [one for one in datagrams for _ in range(1 + between(plan, one))]
    made.write_outside(path, captured)


def _ways(
    plan: Plan, client: str, destination: str, payload: bytes, strip: str
) -> Iterator[Datagram]:
    """Yields a frame's datagrams: to the client's server, on to others, to the clients."""
    home = plan.nearest(client)
    to_clients = payload if strip == "keep" else payload[16:]
    members = [one.name for one in plan.clients(plan.node(client).vpn_id) if one.name != client]
    if destination != BROADCAST:
        members = [name for name in members if _has(plan, name, destination)]
    yield Datagram(address_of(plan, client), address_of(plan, home), payload)
    if plan.delivery == "cascade":
        for other in sorted({plan.nearest(name) for name in members} - {home}):
            yield Datagram(address_of(plan, home), address_of(plan, other), payload)
    for name in members:
        last = plan.nearest(name) if plan.delivery == "cascade" else home
        yield Datagram(address_of(plan, last), address_of(plan, name), to_clients)


def _has(plan: Plan, client: str, mac: str) -> bool:
    terminals = plan.terminals_of(client)
    return any(plan.lan_interface(terminal.name).mac == mac for terminal in terminals)


def _statuses(plan: Plan, sent: Round, datagrams: list[Datagram]) -> dict[str, dict[str, Any]]:
    """Counts as the processes would, and gives their tables."""
    left, came = (
        Counter(one.source for one in datagrams),
        Counter(one.destination for one in datagrams),
    )
    crossed = Counter(one.source for one in datagrams if between(plan, one))
    groups = [
        [group.vpn_id, str(group.multicast_address), f"{SPIS[group.vpn_id]:#010x}"]
        for group in plan.groups
    ]
    statuses = {"server": _representative(plan, groups)}
    for relay in plan.relays:
        here = address_of(plan, relay.name)
        statuses[relay.name] = {
            "tables": {"507 unicast group": _table_507(plan, relay.name)},
            "counters": {
                "datagrams_in": came[here],
                "copies_out": left[here],
                "copies_to_servers": crossed[here],
            },
            "process": made.process_view(0),
        }
    for number, client in enumerate(plan.clients(), start=1):
        here = address_of(plan, client.name)
        (group,) = (row for row in groups if row[0] == client.vpn_id)
        statuses[client.name] = _client(plan, client.name, group, number, left[here], came[here])
    return statuses


def _representative(plan: Plan, groups: list[list[Any]]) -> dict[str, Any]:
    clients = [
        [number, _port(address_of(plan, client.name)), plan.nearest(client.name)]
        for number, client in enumerate(plan.clients(), start=1)
    ]
    return {
        "tables": {
            "508 multicast address": {
                "columns": ["VPN ID", "multicast address", "SPI"],
                "rows": groups,
            },
            "clients": {"columns": ["client", "unicast address", "server"], "rows": clients},
        },
        "counters": {},
        "process": made.process_view(0),
    }


def _table_507(plan: Plan, server: str) -> dict[str, Any]:
    """Gives a server's clients, and the others' or, by cascade, the servers that hold those."""
    rows: list[list[Any]] = []
    for number, client in enumerate(plan.clients(), start=1):
        own = plan.nearest(client.name) == server
        if own or plan.delivery == "direct":
            place = _port(address_of(plan, client.name))
            rows.append([number, place, "own" if own else "elsewhere"])
    if plan.delivery == "cascade":
        for relay in plan.relays:
            if relay.name != server:
                rows.append([relay.name, _port(address_of(plan, relay.name)), "VPN server"])
    return {"columns": ["client or server", "unicast address", "held"], "rows": rows}


def _client(
    plan: Plan, name: str, group: list[Any], sender_id: int, sealed: int, delivered: int
) -> dict[str, Any]:
    server = _port(address_of(plan, plan.nearest(name)))
    return {
        "tables": {
            "308 SA management": {
                "columns": ["SPI", "sender ID"],
                "rows": [[group[2], sender_id]],
            },
            "309 VPN information": {
                "columns": ["server", "multicast address"],
                "rows": [[server, group[1]]],
            },
        },
        "counters": {"frames_sealed": sealed, "frames_delivered": delivered},
        "process": made.process_view(sealed + delivered),
    }


def _port(address: IPv6Address) -> str:
    return f"[{address}]:{DATA_PORT}"
