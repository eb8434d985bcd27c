"""What the kernel is told to become a Plan's network: texts for `ip -batch` and `sh`.

Nothing runs here. `emulate` feeds these texts to programs, a few for the whole network rather than
many for every interface.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from topologies.plan import Interface, Kind, Link, Plan, Role
from topologies.shaping import MAXIMUM_FRAMES

_EVERYWHERE = {
    "ipv4/conf/all/rp_filter": 0,
    "ipv4/conf/default/rp_filter": 0,
    # Addresses can be used at once, and nobody asks for routers while we measure.
    "ipv6/conf/all/accept_dad": 0,
    "ipv6/conf/default/accept_dad": 0,
    "ipv6/conf/default/accept_ra": 0,
    "ipv6/conf/default/autoconf": 0,
    "ipv6/conf/default/router_solicitations": 0,
}
_ROUTER = {"ipv4/ip_forward": 1, "ipv6/conf/all/forwarding": 1}
_BRIDGE = {"ipv6/conf/all/disable_ipv6": 1, "ipv6/conf/default/disable_ipv6": 1}
_OFFLOADS = ("rx", "tx", "sg", "tso", "gso", "gro")
_SET = 'assign() { echo "$2" > "/proc/sys/net/$1"; }\n'


def first_script(plan: Plan, name: str) -> str:
    """Returns the `sh` script for a node's empty namespace, before any link is there."""
    values = dict(_EVERYWHERE)
    role = plan.node(name).role
    if role is Role.ROUTER:
        values |= _ROUTER
    if role is Role.LAN:
        values |= _BRIDGE
    lines = [_SET, "set -e\n", *_assignments(values), "ip link set dev lo up\n"]
    return "".join(lines)


def link_batch(plan: Plan, links: Iterable[Link], processes: Mapping[str, int]) -> str:
    """Returns the `ip -batch` text that makes all bridges, and `links`.

    `processes` maps each node to the ID of a process in its namespace. Both ends of a link come
    into being there, so that no name ever appears in the caller's namespace.
    """
    lines = []
    for lan in plan.with_role(Role.LAN):
        lines.append(
            f"link add name {lan.name} netns {processes[lan.name]} type bridge "
            "stp_state 0 mcast_snooping 0 forward_delay 0"
        )
    for link in links:
        near, far = (
            f"{_naming(interface)} netns {processes[end]}"
            for end, interface in zip(link.ends, link.interfaces, strict=True)
        )
        lines.append(f"link add {near} type veth peer {far}")
    return "".join(f"{line}\n" for line in lines)


def second_script(plan: Plan, name: str) -> str:
    """Returns the `sh` script that sets up a node's links, addresses and routes.

    Outside, a batch is cut before it leaves a node: a wire carries it as single datagrams.
    """
    node = plan.node(name)
    interfaces = plan.interfaces(name)
    inside = [item for item in interfaces if item.kind is Kind.LAN]
    lines = [_SET, "set -e\n"]
    if node.role is Role.CLIENT:
        for interface in inside:
            lines += _assignments(_silent(interface))
    lines += [
        f"ethtool -K {item.name} {' '.join(f'{offload} off' for offload in _OFFLOADS)}"
        " > /dev/null\n"
        for item in inside
    ]
    if node.role is not Role.LAN:
        lines += [
            f"ethtool -K {item.name} tx-udp-segmentation off > /dev/null\n"
            for item in interfaces
            if item.kind is Kind.OUTSIDE
        ]
    batch = [
        *_tap_lines(plan, name),
        *_bridge_lines(plan, name),
        *_address_lines(interfaces),
        *_route_lines(plan, name),
    ]
    lines += ["ip -batch - << end\n", *(f"{line}\n" for line in batch), "end\n"]
    return "".join(lines)


def _silent(interface: Interface) -> dict[str, int]:
    """Keeps the kernel of a client from saying anything of its own on the LAN."""
    return {
        f"ipv6/conf/{interface.name}/disable_ipv6": 1,
        f"ipv4/conf/{interface.name}/arp_ignore": 8,
    }


def _assignments(values: Mapping[str, int]) -> Iterator[str]:
    return (f"assign {name} {value}\n" for name, value in values.items())


def _naming(interface: Interface) -> str:
    address = f" address {interface.mac}" if interface.mac else ""
    return f"name {interface.name}{address} mtu {interface.mtu}"


def _tap_lines(plan: Plan, name: str) -> Iterator[str]:
    """Gives the ends of links with a delay what they were not made with, if they are TAP devices.

    Their queue holds what the link may: the 1000 frames of a new one are fewer than clients send at
    a time.
    """
    for link in plan.links_of(name):
        if link.shaped:
            interface = link.interface_of(name)
            address = f" address {interface.mac}" if interface.mac else ""
            yield (
                f"link set dev {interface.name}{address} mtu {interface.mtu} "
                f"txqueuelen {MAXIMUM_FRAMES}"
            )


def _bridge_lines(plan: Plan, name: str) -> Iterator[str]:
    if plan.node(name).role is not Role.LAN:
        return
    for interface in plan.interfaces(name):
        yield f"link set dev {interface.name} master {name}"
    yield f"link set dev {name} up"


def _address_lines(interfaces: tuple[Interface, ...]) -> Iterator[str]:
    for interface in interfaces:
        yield f"link set dev {interface.name} up"
        for address in interface.addresses:
            nodad = " nodad" if address.version == 6 else ""
            yield f"address add {address} dev {interface.name}{nodad}"


def _route_lines(plan: Plan, name: str) -> Iterator[str]:
    for route in plan.routes(name):
        yield f"route add {route.destination} via {route.gateway} dev {route.interface}"
