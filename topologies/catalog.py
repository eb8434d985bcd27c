"""The networks that `make experiment TOPO=<name>` can build, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface

from topologies.plan import Group, Interface, Kind, Link, Node, Plan, PlanError, Role

MAXIMUM_CLIENTS = 64
MAXIMUM_TERMINALS = 26
OUTSIDE_MTU = 1500
LAN_MTU = {6: 1346, 4: 1386}
"""Octets of a LAN packet that still fit, sealed and encapsulated, into an outside MTU of 1500."""
MULTICAST_LAN_MTU = {6: 1410, 4: 1430}
"""The same when the sealed packet is sent as it is."""
MESH = (("m1", "m2"), ("m2", "m3"), ("m3", "m4"), ("m4", "m1"), ("m1", "m3"))
"""Links between the multicast routers: a ring with a chord, so that every link has a way round it."""
MESH_ROUTERS = ("m1", "m2", "m3", "m4")
MAXIMUM_MULTICAST_CLIENTS = 48
"""A kernel forwards multicast between 32 interfaces at most; clients are spread over the routers."""

_MULTICAST = {6: ("ff1e::1", "ff1e::2"), 4: ("239.192.0.1", "239.192.0.2")}
_LETTERS = ("aaaa", "bbbb", "cccc", "dddd", "eeee", "ffff")
_TERMINALS_ON_A_SUBNET = 254


@dataclass(frozen=True)
class _Member:
    """One client: `number` counts through the Plan, `position` within its group, both from 1."""

    number: int
    position: int
    vpn_id: int


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
    if family not in LAN_MTU:
        raise PlanError(f"single: family: expected 4 or 6, got {family!r}")
    mtu = LAN_MTU[family] if lan_mtu is None else lan_mtu
    _check_range("single", "clients", clients, 2, MAXIMUM_CLIENTS)
    members = _members("single", clients, terminals, second_group, mtu)
    nodes, links = _trunk(family)
    return _assemble("single", 1, (nodes, links), members, terminals, family, mtu, ("internet",))


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
    _check_range("multicast", "clients", clients, 2, MAXIMUM_MULTICAST_CLIENTS)
    members = _members("multicast", clients, terminals, second_group, mtu)
    nodes, links = _trunk(family)
    nodes += [Node(name, Role.ROUTER, multicast=True) for name in MESH_ROUTERS]
    for number, (one, other) in enumerate([*MESH, ("m1", "internet")], 1):
        links.append(_mesh_link(one, other, number, family))
    trunk = (nodes, links)
    return _assemble("multicast", 3, trunk, members, terminals, family, mtu, MESH_ROUTERS)


CATALOG: dict[str, Callable[..., Plan]] = {"single": single, "multicast": multicast}


def user_of(number: int) -> str:
    """Names the user of client `number` (from 1): A, B, … Z, AA, AB, …"""
    letters = ""
    while number > 0:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def _members(
    name: str, clients: int, terminals: int, second_group: int, lan_mtu: int
) -> list[_Member]:
    """Lists the clients of both groups; PlanError for a value out of range."""
    _check_range(name, "terminals", terminals, 1, MAXIMUM_TERMINALS)
    _check_range(name, "second_group", second_group, 0, clients)
    _check_range(name, "lan_mtu", lan_mtu, 1280, 9000)
    if clients * terminals > _TERMINALS_ON_A_SUBNET:
        raise PlanError(
            f"{name}: clients x terminals: expected at most {_TERMINALS_ON_A_SUBNET}, "
            f"got {clients * terminals}"
        )
    members = [_Member(number, number, 1001) for number in range(1, clients + 1)]
    return members + [
        _Member(clients + number, number, 1002) for number in range(1, second_group + 1)
    ]


def _trunk(family: int) -> tuple[list[Node], list[Link]]:
    """Plans the server and the router before it."""
    nodes = [
        Node("server", Role.SERVER, command=_command("nodes.server", "server")),
        Node("internet", Role.ROUTER),
    ]
    return nodes, [_server_link(family)]


def _mesh_link(one: str, other: str, number: int, family: int) -> Link:
    def end(node: str, towards: str, host: int) -> Interface:
        text = f"3ffe:0:0:{number:x}::{host}/64" if family == 6 else f"198.19.{number}.{host}/24"
        address = ip_interface(text)
        return Interface(f"{node}-{towards}", Kind.OUTSIDE, None, (address,), OUTSIDE_MTU)

    return Link((one, other), (end(one, other, 1), end(other, one, 2)))


def _assemble(
    name: str,
    embodiment: int,
    trunk: tuple[list[Node], list[Link]],
    members: list[_Member],
    terminals: int,
    family: int,
    lan_mtu: int,
    routers: Sequence[str],
) -> Plan:
    """Hangs the clients, in turn, on ``routers``."""
    vpn_ids = sorted({member.vpn_id for member in members})
    groups = tuple(
        Group(vpn_id, ip_address(address))
        for vpn_id, address in zip(vpn_ids, _MULTICAST[family], strict=False)
    )
    nodes, links = trunk
    for member in members:
        router = routers[(member.number - 1) % len(routers)]
        client_nodes, client_links = _branch(member, terminals, family, lan_mtu, router)
        nodes += client_nodes
        links += client_links
    return Plan(name, embodiment, family, groups, tuple(nodes), tuple(links))


def _server_link(family: int) -> Link:
    near, far = ("3ffe::1000/64", "3ffe::1/64")
    if family == 4:
        near, far = ("198.18.0.100/24", "198.18.0.1/24")
    return _outside_link("server", "server-out", "internet", near, far)


def _branch(
    member: _Member, terminals: int, family: int, lan_mtu: int, router: str
) -> tuple[list[Node], list[Link]]:
    """Plans a client with its uplink, its LAN and the terminals on it."""
    client, lan = f"c{member.number}", f"l{member.number}"
    nodes = [
        Node(
            client,
            Role.CLIENT,
            member.vpn_id,
            user_of(member.number),
            _command("nodes.client", client),
        ),
        Node(lan, Role.LAN, member.vpn_id),
    ]
    inside = (
        Interface(f"{client}-lan", Kind.LAN, mtu=lan_mtu),
        Interface(f"{lan}-{client}", Kind.LAN, mtu=lan_mtu),
    )
    links = [
        _outside_link(client, f"{client}-out", router, *_client_addresses(member.number, family)),
        Link((client, lan), inside),
    ]
    for index in range(terminals):
        terminal = f"t{member.number}{chr(ord('a') + index)}"
        nodes.append(Node(terminal, Role.TERMINAL, member.vpn_id))
        attachment = (
            Interface(f"{lan}-{terminal}", Kind.LAN, mtu=lan_mtu),
            _terminal_interface(terminal, member.position, index, terminals, lan_mtu),
        )
        links.append(Link((lan, terminal), attachment))
    return nodes, links


def _outside_link(node: str, interface: str, router: str, near: str, far: str) -> Link:
    return Link(
        (node, router),
        (
            Interface(interface, Kind.OUTSIDE, None, (ip_interface(near),), OUTSIDE_MTU),
            Interface(f"{router}-{node}", Kind.OUTSIDE, None, (ip_interface(far),), OUTSIDE_MTU),
        ),
    )


def _client_addresses(number: int, family: int) -> tuple[str, str]:
    """Returns the client's and the router's address on the client's prefix.

    The patent has 3ffe:aaaa::, bbbb and cccc; after ffff the client's decimal number is used.
    """
    if family == 4:
        return f"198.18.{number}.1/24", f"198.18.{number}.254/24"
    part = _LETTERS[number - 1] if number <= len(_LETTERS) else str(number)
    return f"3ffe:{part}::1/64", f"3ffe:{part}::ffff/64"


def _terminal_interface(
    terminal: str, position: int, index: int, terminals: int, mtu: int
) -> Interface:
    """Plans a terminal's interface: its addresses depend only on its place in the group."""
    lan = _LETTERS[position - 1][:2] if position <= len(_LETTERS) else f"{position:02d}"
    host = (position - 1) * terminals + index + 1
    return Interface(
        f"{terminal}-eth0",
        Kind.LAN,
        f"02:00:00:00:{lan}:{index + 1:02d}",
        (ip_interface(f"10.0.0.{host}/24"), ip_interface(f"fd00::{host:x}/64")),
        mtu,
    )


def _command(module: str, node: str) -> tuple[str, ...]:
    return ("{python}", "-m", module, "--config", "{run}/" + node + ".toml")


def _check_range(name: str, parameter: str, value: int, lowest: int, highest: int) -> None:
    if not isinstance(value, int) or not lowest <= value <= highest:
        raise PlanError(f"{name}: {parameter}: expected {lowest} to {highest}, got {value!r}")
