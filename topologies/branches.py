"""What the topologies have in common: the server's link, routers' links, clients with their LANs.

Outside addresses are the patent's (IPv6) or from 198.18.0.0/15, RFC 2544 (IPv4).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_interface

from topologies.plan import Group, Interface, Kind, Link, Node, Plan, PlanError, Role

MAXIMUM_CLIENTS = 64
"""As many as one machine emulates."""
MAXIMUM_SIMULATED_CLIENTS = 1000
MAXIMUM_TERMINALS = 26
OUTSIDE_MTU = 1500
LAN_MTU = {6: 1346, 4: 1386}
"""Octets of a LAN packet that still fit, sealed and encapsulated, into an outside MTU of 1500."""
MULTICAST_LAN_MTU = {6: 1410, 4: 1430}
"""The same when the sealed packet is sent as it is."""
HOP_TAG = 8
"""Octets that a hop tag takes of it."""

_LETTERS = ("aaaa", "bbbb", "cccc", "dddd", "eeee", "ffff")
_NETWORKS = 255
_TERMINALS_ON_A_SUBNET = 254
"""With more in a group its subnet is a /16."""
_TERMINALS_OF_A_GROUP = 26_000


@dataclass(frozen=True)
class Member:
    """One client: `number` counts through the Plan, `position` within its group, both from 1.

    `name` is the node's; `terminals` hang on its LAN, and `terminals_before` on its group's LANs
    before it.
    """

    number: int
    position: int
    vpn_id: int
    name: str
    terminals: int
    terminals_before: int
    sub_id: int = 1
    prefix: int = 24
    """Length of the prefix of the terminals' IPv4 addresses."""


def user_of(number: int) -> str:
    """Names the user of client `number` (from 1): A, B, … Z, AA, AB, …"""
    letters = ""
    while number > 0:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def members_of(
    name: str, clients: int, terminals: int, second_group: int, lan_mtu: int
) -> list[Member]:
    """Lists the clients of both groups; PlanError for a value out of range."""
    check_range(name, "terminals", terminals, 1, MAXIMUM_TERMINALS)
    check_range(name, "second_group", second_group, 0, clients)
    check_range(name, "lan_mtu", lan_mtu, 1280, 9000)
    vpn_ids = [1001] * clients + [1002] * second_group
    return number_members(
        name, [(f"c{i}", vpn_id, terminals) for i, vpn_id in enumerate(vpn_ids, 1)]
    )


def number_members(name: str, clients: Sequence[tuple[str, int, int]]) -> list[Member]:
    """Numbers clients that are given by name, VPN ID and terminals.

    PlanError when a group has more terminals than its subnet has addresses.
    """
    totals: Counter[int] = Counter()
    for _, vpn_id, terminals in clients:
        totals[vpn_id] += terminals
    for count in totals.values():
        if count > _TERMINALS_OF_A_GROUP:
            raise PlanError(
                f"{name}: clients x terminals: expected at most {_TERMINALS_OF_A_GROUP}, got {count}"
            )
    members: list[Member] = []
    peers: Counter[int] = Counter()
    before: Counter[int] = Counter()
    for number, (client, vpn_id, terminals) in enumerate(clients, 1):
        peers[vpn_id] += 1
        prefix = 24 if totals[vpn_id] <= _TERMINALS_ON_A_SUBNET else 16
        place = (number, peers[vpn_id], vpn_id, client, terminals, before[vpn_id])
        members.append(Member(*place, prefix=prefix))
        before[vpn_id] += terminals
    return members


def command(module: str, node: str) -> tuple[str, ...]:
    """Returns the command line of a node's process."""
    return ("{python}", "-m", module, "--config", "{run}/" + node + ".toml")


def trunk(family: int) -> tuple[list[Node], list[Link]]:
    """Plans the server and the router before it."""
    nodes = [
        Node("server", Role.SERVER, command=command("nodes.server", "server")),
        Node("internet", Role.ROUTER),
    ]
    return nodes, [server_link(family)]


def server_link(family: int, server: str = "server", router: str = "internet") -> Link:
    """Plans the link between the server and its router."""
    near, far = ("3ffe::1000/64", "3ffe::1/64")
    if family == 4:
        near, far = ("198.18.0.100/24", "198.18.0.1/24")
    return outside_link(server, f"{server}-out", router, near, far)


def assemble(
    name: str,
    embodiment: int,
    trunk: tuple[list[Node], list[Link]],
    members: Sequence[Member],
    family: int,
    lan_mtu: int,
    routers: Sequence[str],
) -> Plan:
    """Hangs the clients, in turn, on `routers`."""
    nodes, links = trunk
    for member in members:
        router = routers[(member.number - 1) % len(routers)]
        client_nodes, client_links = branch(member, family, lan_mtu, router)
        nodes += client_nodes
        links += client_links
    return Plan(name, embodiment, family, groups_of(members, family), tuple(nodes), tuple(links))


def with_room_for_hop_tags(plan: Plan) -> Plan:
    """Returns the plan with LAN packets that leave room for a hop tag."""

    def smaller(interface: Interface) -> Interface:
        if interface.kind is not Kind.LAN:
            return interface
        return replace(interface, mtu=interface.mtu - HOP_TAG)

    links = [
        replace(link, interfaces=(smaller(link.interfaces[0]), smaller(link.interfaces[1])))
        for link in plan.links
    ]
    return replace(plan, links=tuple(links))


def groups_of(members: Sequence[Member], family: int) -> tuple[Group, ...]:
    """Plans the members' groups; each has a multicast address of its own."""
    vpn_ids = sorted({member.vpn_id for member in members})
    pattern = "ff1e::{:x}" if family == 6 else "239.192.0.{}"
    return tuple(
        Group(vpn_id, ip_address(pattern.format(number)))
        for number, vpn_id in enumerate(vpn_ids, 1)
    )


def branch(member: Member, family: int, lan_mtu: int, router: str) -> tuple[list[Node], list[Link]]:
    """Plans a client with its uplink, its LAN and the terminals on it."""
    client, lan = member.name, f"l{member.number}"
    user = user_of(member.number)
    nodes = [
        Node(
            client,
            Role.CLIENT,
            member.vpn_id,
            user,
            command("nodes.client", client),
            sub_id=member.sub_id,
        ),
        Node(lan, Role.LAN, member.vpn_id),
    ]
    inside = (
        Interface(f"{client}-lan", Kind.LAN, mtu=lan_mtu),
        Interface(f"{lan}-{client}", Kind.LAN, mtu=lan_mtu),
    )
    links = [
        outside_link(client, f"{client}-out", router, *_client_addresses(member.number, family)),
        Link((client, lan), inside),
    ]
    for index in range(member.terminals):
        terminal = f"t{member.number}{chr(ord('a') + index)}"
        nodes.append(Node(terminal, Role.TERMINAL, member.vpn_id))
        attachment = (
            Interface(f"{lan}-{terminal}", Kind.LAN, mtu=lan_mtu),
            _terminal_interface(terminal, member, index, lan_mtu),
        )
        links.append(Link((lan, terminal), attachment))
    return nodes, links


def outside_link(
    node: str, interface: str, router: str, near: str, far: str, far_interface: str | None = None
) -> Link:
    """Plans a link between a node and a router from the addresses of both."""
    far_name = far_interface or f"{router}-{node}"
    return Link(
        (node, router),
        (
            Interface(interface, Kind.OUTSIDE, None, (ip_interface(near),), OUTSIDE_MTU),
            Interface(far_name, Kind.OUTSIDE, None, (ip_interface(far),), OUTSIDE_MTU),
        ),
    )


def check_range(name: str, parameter: str, value: int, lowest: int, highest: int) -> None:
    """Raises PlanError unless a parameter is a whole number in its range."""
    if not isinstance(value, int) or not lowest <= value <= highest:
        raise PlanError(f"{name}: {parameter}: expected {lowest} to {highest}, got {value!r}")


def check_family(name: str, family: int) -> None:
    """Raises PlanError unless the IP version outside is one that is built."""
    if family not in LAN_MTU:
        raise PlanError(f"{name}: family: expected 4 or 6, got {family!r}")


def _client_addresses(number: int, family: int) -> tuple[str, str]:
    """Returns the client's and the router's address on the client's prefix.

    The patent has 3ffe:aaaa::, bbbb and cccc; after ffff the client's decimal number is used.
    IPv4 networks after the 255th are from 172.16.0.0/12, RFC 1918.
    """
    if family == 4 and number > _NETWORKS:
        network = f"172.{16 + number // 256}.{number % 256}"
        return f"{network}.1/24", f"{network}.254/24"
    if family == 4:
        return f"198.18.{number}.1/24", f"198.18.{number}.254/24"
    part = _LETTERS[number - 1] if number <= len(_LETTERS) else str(number)
    return f"3ffe:{part}::1/64", f"3ffe:{part}::ffff/64"


def _terminal_interface(terminal: str, member: Member, index: int, mtu: int) -> Interface:
    """Plans a terminal's interface: its addresses depend only on its place in the group."""
    position = member.position
    lan = _LETTERS[position - 1][:2] if position <= len(_LETTERS) else f"{position % 100:02d}"
    host = member.terminals_before + index + 1
    return Interface(
        f"{terminal}-eth0",
        Kind.LAN,
        f"02:00:00:{position // 100:02d}:{lan}:{index + 1:02d}",
        (
            ip_interface(f"10.0.{host // 256}.{host % 256}/{member.prefix}"),
            ip_interface(f"fd00::{host:x}/64"),
        ),
        mtu,
    )
