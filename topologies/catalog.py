"""The networks that `make experiment TOPO=<name>` can build, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import ip_interface

from topologies.branches import (
    LAN_MTU,
    MAXIMUM_CLIENTS,
    MAXIMUM_SIMULATED_CLIENTS,
    MULTICAST_LAN_MTU,
    OUTSIDE_MTU,
    assemble,
    check_family,
    check_range,
    members_of,
    trunk,
    user_of,
)
from topologies.plan import Interface, Kind, Link, Node, Plan, PlanError, Role
from topologies.sites import cascade, multiserver

__all__ = [
    "CATALOG",
    "EMULATED_CLIENTS",
    "WITH_SERVERS",
    "cascade",
    "multicast",
    "multiserver",
    "single",
    "subgroups",
    "user_of",
]

MESH = (("m1", "m2"), ("m2", "m3"), ("m3", "m4"), ("m4", "m1"), ("m1", "m3"))
"""Links between the multicast routers: a ring with a chord, so that every link has a way round it."""
MESH_ROUTERS = ("m1", "m2", "m3", "m4")
MAXIMUM_MULTICAST_CLIENTS = 48
"""A kernel forwards multicast between 32 interfaces at most; clients are spread over the routers."""
MINIMUM_SUBGROUPS_CLIENTS = 4
EMULATED_CLIENTS: Mapping[str, tuple[int, int]] = {
    "single": (2, MAXIMUM_CLIENTS),
    "subgroups": (MINIMUM_SUBGROUPS_CLIENTS, MAXIMUM_CLIENTS),
    "multicast": (2, MAXIMUM_MULTICAST_CLIENTS),
    "multiserver": (2, MAXIMUM_CLIENTS),
    "cascade": (2, MAXIMUM_CLIENTS),
}
"""How few and how many clients of the first group one machine runs as processes."""


def single(
    clients: int = 3,
    terminals: int = 2,
    family: int = 6,
    second_group: int = 2,
    lan_mtu: int | None = None,
) -> Plan:
    """Plans one server and `clients` clients of group 1001, each with `terminals` terminals.

    `second_group` more clients form group 1002; their terminals have the MAC and IP addresses of
    those on the first LANs of group 1001, so that only the groups keep them apart. `lan_mtu` is in
    octets; by default the largest that never needs cutting. Outside addresses are the patent's
    (IPv6) or from 198.18.0.0/15, RFC 2544 (IPv4). PlanError for a value out of range.

    Patent: Fig. 2 parts 101-111; Figs. 6-1, 6-2.
    """
    check_family("single", family)
    mtu = LAN_MTU[family] if lan_mtu is None else lan_mtu
    check_range("single", "clients", clients, 2, MAXIMUM_SIMULATED_CLIENTS)
    members = members_of("single", clients, terminals, second_group, mtu)
    return assemble("single", 1, trunk(family), members, family, mtu, ("internet",))


def subgroups(
    clients: int = 4,
    terminals: int = 2,
    family: int = 6,
    second_group: int = 2,
    lan_mtu: int | None = None,
) -> Plan:
    """Plans the network of `single` with the third client in Sub ID 2, apart from the others' 1.

    Of four clients and more the last is the one that an administrator will expel. PlanError for a
    value out of range.

    Patent: Figs. 11, 12-2.
    """
    check_family("subgroups", family)
    mtu = LAN_MTU[family] if lan_mtu is None else lan_mtu
    check_range(
        "subgroups", "clients", clients, MINIMUM_SUBGROUPS_CLIENTS, MAXIMUM_SIMULATED_CLIENTS
    )
    members = members_of("subgroups", clients, terminals, second_group, mtu)
    members[2] = replace(members[2], sub_id=2)
    return assemble("subgroups", 2, trunk(family), members, family, mtu, ("internet",))


def multicast(
    clients: int = 4,
    terminals: int = 2,
    family: int = 6,
    second_group: int = 2,
    lan_mtu: int | None = None,
) -> Plan:
    """Plans four multicast routers in a mesh, the clients spread over them, and a server outside.

    The server hangs on a router that forwards no multicast packet: clients reach it by unicast.
    Groups and terminals are those of `single`. PlanError for a value out of range.
    IPv6 routers have the Plan's trees; IPv4 routers find theirs by OSPF and PIM-SM.

    Patent: Fig. 13 parts 1301, 1302.
    """
    if family not in MULTICAST_LAN_MTU:
        raise PlanError(f"multicast: family: expected 4 or 6, got {family!r}")
    mtu = MULTICAST_LAN_MTU[family] if lan_mtu is None else lan_mtu
    check_range("multicast", "clients", clients, 2, MAXIMUM_MULTICAST_CLIENTS)
    members = members_of("multicast", clients, terminals, second_group, mtu)
    nodes, links = trunk(family)
    nodes += [Node(name, Role.ROUTER, multicast=True) for name in MESH_ROUTERS]
    for number, (one, other) in enumerate([*MESH, ("m1", "internet")], 1):
        links.append(_mesh_link(one, other, number, family))
    return assemble("multicast", 3, (nodes, links), members, family, mtu, MESH_ROUTERS)


CATALOG: dict[str, Callable[..., Plan]] = {
    "single": single,
    "subgroups": subgroups,
    "multicast": multicast,
    "multiserver": multiserver,
    "cascade": cascade,
}
WITH_SERVERS = ("multiserver", "cascade")
"""Topologies that take the number of their VPN servers."""


def _mesh_link(one: str, other: str, number: int, family: int) -> Link:
    def end(node: str, towards: str, host: int) -> Interface:
        text = f"3ffe:0:0:{number:x}::{host}/64" if family == 6 else f"198.19.{number}.{host}/24"
        address = ip_interface(text)
        return Interface(f"{node}-{towards}", Kind.OUTSIDE, None, (address,), OUTSIDE_MTU)

    return Link((one, other), (end(one, other, 1), end(other, one, 2)))
