"""The network on which CPU load is measured: each server alone behind a bridge, one node for all members."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_interface

from topologies.plan import Group, Interface, Kind, Link, Node, Plan, PlanError, Role

MEMBERS = "members"
SERVER_INTERFACE = "server-out"
MAXIMUM_MEMBERS = 96
_FIRST_GROUP = 1000
_FIRST_MEMBER = 0x10


def rig(
    servers: Sequence[str] = ("null", "relay", "hub"),
    groups: Sequence[int] = (8,),
    module: str = "nodes.server",
) -> Plan:
    """Plans one node for each server and the node `members`, a bridge between each pair.

    `groups` are the sizes of the groups that every server has, at most 96 members together. Group
    n of a plan has the VPN ID 1000 + its size. The members' interface towards a server holds one
    address for each member. `module` is what is started as a server. PlanError for a value out of range.

    Patent: Fig. 2 parts 101-104.
    """
    if len(set(groups)) != len(groups) or not all(size >= 2 for size in groups):
        raise PlanError(f"rig: groups: expected different sizes from 2, got {list(groups)}")
    if not 0 < sum(groups) <= MAXIMUM_MEMBERS:
        raise PlanError(f"rig: groups: expected at most {MAXIMUM_MEMBERS} members together")
    if MEMBERS in servers:
        raise PlanError(f"rig: servers: expected other names than {MEMBERS}")
    nodes = [Node(MEMBERS, Role.ROUTER)]
    links: list[Link] = []
    for number, server in enumerate(servers, start=1):
        nodes += [_server(server, module), Node(bridge_of(server), Role.LAN)]
        links += _links(number, server, sum(groups))
    planned = (Group(vpn_id_of(size), ip_address(f"ff1e::{size:x}")) for size in groups)
    return Plan("rig", 1, 6, tuple(planned), tuple(nodes), tuple(links))


def vpn_id_of(size: int) -> int:
    """Returns the VPN ID of the group with `size` members."""
    return _FIRST_GROUP + size


def bridge_of(server: str) -> str:
    """Names the bridge before a server."""
    return f"br-{server}"


def members_interface(server: str) -> str:
    """Names the members' interface towards a server."""
    return f"to-{server}"


def unknown_neighbour(plan: Plan, server: str) -> tuple[str, str]:
    """Returns an IP address on a server's network, and a MAC, that nobody has."""
    number = plan.servers.index(plan.node(server)) + 1
    return f"3ffe:{number:x}::dead", f"02:00:00:00:{number:02x}:ff"


def _server(name: str, module: str) -> Node:
    command = ("{python}", "-m", module, "--config", "{run}/" + name + ".toml")
    return Node(name, Role.SERVER, command=command)


def _links(number: int, server: str, members: int) -> tuple[Link, Link]:
    network, bridge = f"3ffe:{number:x}::", bridge_of(server)
    addresses = tuple(
        ip_interface(f"{network}{_FIRST_MEMBER + index:x}/64") for index in range(members)
    )
    own = Interface(
        SERVER_INTERFACE,
        Kind.OUTSIDE,
        f"02:00:00:00:{number:02x}:01",
        (ip_interface(f"{network}1000/64"),),
    )
    theirs = Interface(
        members_interface(server), Kind.OUTSIDE, f"02:00:00:00:{number:02x}:02", addresses
    )
    return (
        Link((server, bridge), (own, Interface("port-server", Kind.OUTSIDE))),
        Link((MEMBERS, bridge), (theirs, Interface("port-members", Kind.OUTSIDE))),
    )
