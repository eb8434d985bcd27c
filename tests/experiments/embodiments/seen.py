"""A run of embodiment 1 that was never run: everything that invariants look at, made by hand.

Two groups of two clients with one terminal each; every sender has sent its probe frames, and all
went well. A negative control changes one thing.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any, cast

from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import wrpcap

from experiments.embodiments.seen import Seen
from experiments.traffic.deliveries import compare
from experiments.traffic.probe import ReceivedFrame, observe
from experiments.traffic.probing import Outcome, Round, plan_round
from experiments.traffic.terminals import Attempt
from protocol.security_association import SecurityAssociation
from protocol.types import Secret
from protocol.wire.inner_packet import InnerPacket
from protocol.wire.messages import GroupSecurityAssociation
from protocol.wire.vpn_header import VpnHeader
from topologies.catalog import single
from topologies.plan import Plan

DATA_PORT = 4790
SALT = b"salt"
SPIS = {1001: 0x1001, 1002: 0x1002}
KEYS = {1001: bytes(range(16)), 1002: bytes(range(16, 32))}
MIB = 1 << 20


@dataclass(frozen=True)
class Datagram:
    """A datagram outside: addresses and payload."""

    source: IPv6Address
    destination: IPv6Address
    payload: bytes


def of_statuses(
    plan: Plan, statuses: dict[str, Any], server_kernel: Mapping[str, int] | None = None
) -> Seen:
    """Makes what is seen where processes' statuses alone are looked at."""
    nothing = cast(Any, None)
    return Seen(
        plan=plan,
        strip="keep",
        server="server",
        statuses=statuses,
        maps={},
        pings=(),
        neighbours=(),
        connections=(),
        probes=nothing,
        outside=nothing,
        inside=nothing,
        keys={},
        server_kernel=dict(server_kernel or {}),
    )


def good(folder: Path) -> Seen:
    """Makes what is seen when all invariants hold."""
    plan = single(clients=2, terminals=1, second_group=2)
    sent = plan_round(plan, 1, random.Random(1))
    outside, inside = folder / "outside.pcap", folder / "inside.pcap"
    datagrams = sealed(plan, sent)
    write_outside(outside, datagrams)
    wrpcap(str(inside), [Ether(frame) for frame in sent.frames()])
    return Seen(
        plan=plan,
        strip="keep",
        server="server",
        statuses=_statuses(plan, sent),
        maps={name: maps_of(name != "server") for name in ("server", "c1", "c2", "c3", "c4")},
        pings=[Attempt("t1a", "t2a", "ping IPv6", True, "answered")],
        neighbours=[Attempt("t1a", "t2a", "ARP", True, "10.0.0.2 is 02:00:00:00:bb:01")],
        connections=[Attempt("t1a", "t2a", "TCP", True, "262144 octets or more")],
        probes=outcome(plan, sent, received(plan, sent)),
        outside=outside,
        inside=inside,
        keys=member_keys(),
        server_kernel={},
    )


def received(plan: Plan, sent: Round) -> dict[str, list[ReceivedFrame]]:
    """Gives every terminal what is due to it."""
    records: dict[str, list[ReceivedFrame]] = {node.name: [] for node in plan.terminals()}
    for delivery in sent.expected(plan):
        records[delivery.receiver].append(observe(delivery.frame.to_bytes(), 0))
    return records


def outcome(plan: Plan, sent: Round, records: dict[str, list[ReceivedFrame]]) -> Outcome:
    """Compares as a run does."""
    expected = sent.expected(plan)
    return Outcome(sent, expected, records, compare(expected, records))


def sealed(plan: Plan, sent: Round) -> list[Datagram]:
    """Seals every frame at its client, and has the server send it on to the other."""
    server = address_of(plan, "server")
    datagrams = []
    for name, send_plan in sent.plans.items():
        client = plan.client_of(name)
        assert client.vpn_id is not None
        (other,) = (node for node in plan.clients(client.vpn_id) if node.name != client.name)
        association = association_of(client.vpn_id, send_plan.sender)
        here, there = address_of(plan, client.name), address_of(plan, other.name)
        for stream in send_plan.streams:
            for probe in send_plan.frames_of(stream):
                payload = payload_of(plan, client.name, association, probe.to_bytes())
                datagrams += [Datagram(here, server, payload), Datagram(server, there, payload)]
    return datagrams


def packet(datagram: Datagram, *extension: Any) -> Any:
    """Makes a packet, on request with extension headers."""
    outer: Any = Ether(src="02:00:00:00:01:01", dst="02:00:00:00:01:02") / IPv6(
        src=str(datagram.source), dst=str(datagram.destination)
    )
    for header in extension:
        outer = outer / header
    return outer / UDP(sport=DATA_PORT, dport=DATA_PORT) / Raw(datagram.payload)


def write_outside(path: Path, datagrams: Iterable[Datagram], more: Iterable[Any] = ()) -> None:
    """Writes a capture of datagrams, and of whatever more packets."""
    wrpcap(str(path), [*map(packet, datagrams), *more])


def member_keys() -> dict[int, list[dict[str, Any]]]:
    """Gives the SA of each group as a member says it."""
    return {
        vpn_id: [
            {
                "spi": spi,
                "algorithm": "aes-128-gcm",
                "key": KEYS[vpn_id].hex(),
                "salt": SALT.hex(),
            }
        ]
        for vpn_id, spi in SPIS.items()
    }


def payload_of(plan: Plan, client: str, association: SecurityAssociation, frame: bytes) -> bytes:
    """Seals a frame at a client, with the VPN header before it."""
    vpn_id = plan.node(client).vpn_id
    assert vpn_id is not None
    group = plan.group(vpn_id).multicast_address
    inner = InnerPacket(address_of(plan, client), group, association.seal(frame)).pack()
    return VpnHeader((frame[6:12], frame[:6])).pack() + inner


def association_of(vpn_id: int, sender_id: int) -> SecurityAssociation:
    """Gives a group's SA as one sender has it."""
    return SecurityAssociation(
        GroupSecurityAssociation(
            SPIS[vpn_id], "aes-128-gcm", Secret(KEYS[vpn_id]), Secret(SALT), sender_id
        )
    )


def address_of(plan: Plan, name: str) -> IPv6Address:
    """Gives a node's data address."""
    address = ip_address(str(plan.data_address(name)))
    assert isinstance(address, IPv6Address)
    return address


def maps_of(cipher: bool) -> str:
    """Says what a process has loaded, a library with a cipher or none."""
    library = "/lib/cryptography/_rust.abi3.so" if cipher else "/usr/lib/libc.so.6"
    return f"7f00-7f01 r-xp 00000000 00:00 0 {library}\n"


def _statuses(plan: Plan, sent: Round) -> dict[str, dict[str, Any]]:
    frames = len(sent.frames())
    groups = [
        [group.vpn_id, str(group.multicast_address), f"{SPIS[group.vpn_id]:#010x}"]
        for group in plan.groups
    ]
    statuses: dict[str, dict[str, Any]] = {
        "server": {
            "tables": {
                "508 multicast address": {
                    "columns": ["VPN ID", "multicast address", "SPI"],
                    "rows": groups,
                }
            },
            "counters": {"datagrams_in": frames, "copies_out": frames},
            "process": process_view(0),
        }
    }
    for number, client in enumerate(plan.clients(), start=1):
        (row,) = (row for row in groups if row[0] == client.vpn_id)
        each = frames // len(plan.clients())
        statuses[client.name] = {
            "tables": {
                "308 SA management": {
                    "columns": ["SPI", "sender ID"],
                    "rows": [[row[2], number]],
                },
                "309 VPN information": {"columns": ["multicast address"], "rows": [[row[1]]]},
            },
            "counters": {"frames_sealed": each, "frames_delivered": each},
            "process": process_view(each),
        }
    return statuses


def process_view(calls: int) -> dict[str, Any]:
    """Says how often a process has called a cipher, and what memory it takes."""
    return {
        "resident_octets": 30 * MIB,
        "peak_resident_octets": 50 * MIB,
        "cipher_loaded": calls > 0,
        "frames_sealed": calls,
        "frames_opened": calls,
    }
