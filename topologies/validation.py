"""What must hold for a Plan as a whole; every breach is a PlanError that names its place."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Protocol

from topologies.parts import Group, Interface, Kind, Link, Node, PlanError, Role

_IPV6_MINIMUM_MTU = 1280


class Whole(Protocol):
    """The parts of a Plan that are checked."""

    @property
    def family(self) -> int: ...
    @property
    def groups(self) -> Sequence[Group]: ...
    @property
    def nodes(self) -> Sequence[Node]: ...
    @property
    def links(self) -> Sequence[Link]: ...


def check(plan: Whole) -> None:
    """Raises PlanError for the first thing found wrong."""
    if plan.family not in (4, 6):
        raise PlanError(f"family: expected 4 or 6, got {plan.family}")
    _check_unique("node", "name", ((node.name, node.name) for node in plan.nodes))
    _check_groups(plan)
    _check_links(plan)
    for node in plan.nodes:
        _check_node(plan, node)
    _check_users(plan)
    _check_addresses(plan)


def _check_groups(plan: Whole) -> None:
    _check_unique("group", "vpn_id", ((str(group.vpn_id), group.vpn_id) for group in plan.groups))
    _check_unique(
        "group",
        "multicast_address",
        ((str(group.vpn_id), group.multicast_address) for group in plan.groups),
    )
    for group in plan.groups:
        if group.multicast_address.version != plan.family:
            raise PlanError(
                f"group {group.vpn_id}: multicast_address: expected family {plan.family}, "
                f"got {group.multicast_address}"
            )


def _check_links(plan: Whole) -> None:
    names = {node.name for node in plan.nodes}
    for link in plan.links:
        for end in link.ends:
            if end not in names:
                raise PlanError(f"link {link.name}: ends: expected a node's name, got {end!r}")
        if link.kind is Kind.OUTSIDE:
            _check_outside_link(plan, link)
    _check_unique("link", "ends", ((link.name, frozenset(link.ends)) for link in plan.links))


def _check_outside_link(plan: Whole, link: Link) -> None:
    for interface in link.interfaces:
        for address in interface.addresses:
            if address.version != plan.family:
                raise PlanError(
                    f"link {link.name}: interface {interface.name}: addresses: expected family "
                    f"{plan.family}, got {address}"
                )
        if plan.family == 6 and interface.mtu < _IPV6_MINIMUM_MTU:
            raise PlanError(
                f"link {link.name}: mtu: expected at least {_IPV6_MINIMUM_MTU} for IPv6, "
                f"got {interface.mtu}"
            )
    near, far = ({a.network for a in item.addresses} for item in link.interfaces)
    if near and far and not near & far:
        raise PlanError(
            f"link {link.name}: addresses: expected one network for both ends, got "
            f"{', '.join(sorted(map(str, near | far)))}"
        )


def _check_node(plan: Whole, node: Node) -> None:
    interfaces = list(_interfaces_of(plan, node.name))
    _check_unique(
        f"node {node.name}: interface", "name", ((item.name, item.name) for item in interfaces)
    )
    groups = {group.vpn_id for group in plan.groups}
    if node.vpn_id is not None and node.vpn_id not in groups:
        raise PlanError(
            f"node {node.name}: vpn_id: expected one of {sorted(groups)}, got {node.vpn_id}"
        )
    if node.role is Role.CLIENT:
        _check_client(node, interfaces)
    elif node.user is not None:
        raise PlanError(f"node {node.name}: user: expected none for a {node.role.value}")
    if node.role in (Role.SERVER, Role.RELAY) and not _addressed(interfaces):
        raise PlanError(
            f"node {node.name}: addresses: expected an outside address for a {node.role.value}"
        )
    if node.role is Role.LAN:
        _check_lan(node, interfaces)
    if node.role is Role.TERMINAL:
        _check_terminal(node, interfaces)


def _check_client(node: Node, interfaces: Sequence[Interface]) -> None:
    if not node.user:
        raise PlanError(f"node {node.name}: user: expected a user ID for a client")
    if node.vpn_id is None:
        raise PlanError(f"node {node.name}: vpn_id: expected a group for a client")
    if not _addressed(interfaces):
        raise PlanError(f"node {node.name}: addresses: expected an outside address for a client")
    inside = [item for item in interfaces if item.kind is Kind.LAN]
    if len(inside) != 1:
        raise PlanError(f"node {node.name}: links: expected one LAN link, got {len(inside)}")
    if inside[0].addresses:
        raise PlanError(
            f"node {node.name}: interface {inside[0].name}: addresses: expected none on the LAN"
        )


def _check_lan(node: Node, interfaces: Sequence[Interface]) -> None:
    if any(item.addresses for item in interfaces):
        raise PlanError(f"node {node.name}: addresses: expected none on a bridge's ports")
    mtus = {item.mtu for item in interfaces}
    if len(mtus) > 1:
        raise PlanError(f"node {node.name}: mtu: expected one for all ports, got {sorted(mtus)}")
    if any(item.name == node.name for item in interfaces):
        raise PlanError(
            f"node {node.name}: interface {node.name}: name: expected another, the bridge has it"
        )


def _check_terminal(node: Node, interfaces: Sequence[Interface]) -> None:
    if node.vpn_id is None:
        raise PlanError(f"node {node.name}: vpn_id: expected a group for a terminal")
    if len(interfaces) != 1 or interfaces[0].kind is not Kind.LAN:
        raise PlanError(f"node {node.name}: links: expected exactly one LAN link")


def _check_users(plan: Whole) -> None:
    clients = [node for node in plan.nodes if node.role is Role.CLIENT]
    _check_unique("node", "user", ((node.name, node.user) for node in clients))


def _check_addresses(plan: Whole) -> None:
    """Requires IP and MAC addresses to be unique where frames or packets can meet.

    That is outside as a whole, and on the LANs of each group, which the VPN joins into one.
    Different groups may use the same ones: nothing passes between them.
    """
    members = {node.name: node.vpn_id for node in plan.nodes}
    ends = [
        (end, interface)
        for link in plan.links
        for end, interface in zip(link.ends, link.interfaces, strict=True)
    ]
    _check_unique(
        "node",
        "addresses",
        (
            (name, (interface.kind, _domain(interface, members[name]), address.ip))
            for name, interface in ends
            for address in interface.addresses
        ),
    )
    _check_unique(
        "node",
        "mac",
        (
            (name, (interface.kind, _domain(interface, members[name]), interface.mac))
            for name, interface in ends
            if interface.mac is not None
        ),
    )


def _domain(interface: Interface, vpn_id: int | None) -> int | None:
    return vpn_id if interface.kind is Kind.LAN else None


def _addressed(interfaces: Iterable[Interface]) -> bool:
    return any(item.kind is Kind.OUTSIDE and item.addresses for item in interfaces)


def _interfaces_of(plan: Whole, name: str) -> Iterator[Interface]:
    return (link.interface_of(name) for link in plan.links if name in link.ends)


def _check_unique(what: str, attribute: str, owned: Iterable[tuple[str, Hashable]]) -> None:
    owners: dict[Hashable, str] = {}
    for owner, value in owned:
        if value in owners:
            raise PlanError(
                f"{what} {owner}: {attribute}: expected one of its own, but {_text(value)} is "
                f"used twice (first by {owners[value]})"
            )
        owners[value] = owner


def _text(value: Hashable) -> str:
    if isinstance(value, frozenset):
        return "-".join(sorted(map(str, value)))
    return str(value[-1] if isinstance(value, tuple) else value)
