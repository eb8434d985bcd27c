"""The values a Plan is made of: nodes, interfaces, links, groups and routes.

They are plain immutable data. What one value alone can get wrong is checked where it is made; what
only the whole can get wrong (addresses used twice, missing paths) is checked by `validation`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)

Address = IPv4Address | IPv6Address
InterfaceAddress = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network

NAME_OCTETS = 15
"""The longest name Linux gives an interface (IFNAMSIZ less the final zero)."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_MINIMUM_MTU = 68
_MAXIMUM_MTU = 65535


class PlanError(ValueError):
    """Says which node, link or attribute of a Plan is wrong and what was expected."""


class Role(Enum):
    """What a node is for; a relay is a VPN server beside the representative.

    Patent: Figs. 15, 17 parts 1501-1503.
    """

    SERVER = "server"
    RELAY = "relay"
    CLIENT = "client"
    TERMINAL = "terminal"
    LAN = "lan"
    ROUTER = "router"


class Kind(Enum):
    """The side of the VPN an interface is on: the Internet or a LAN."""

    OUTSIDE = "outside"
    LAN = "lan"


@dataclass(frozen=True)
class Group:
    """One VPN group and the multicast address that its members share.

    Patent: tables 506, 508; claim 3.
    """

    vpn_id: int
    multicast_address: Address

    def __post_init__(self) -> None:
        if not 0 < self.vpn_id < 2**32:
            raise PlanError(f"group: vpn_id: expected 1 to {2**32 - 1}, got {self.vpn_id}")
        if not self.multicast_address.is_multicast:
            raise PlanError(
                f"group {self.vpn_id}: multicast_address: expected a multicast address, "
                f"got {self.multicast_address}"
            )


@dataclass(frozen=True)
class Interface:
    """One end of a link: name, side, MAC (None: the kernel chooses), addresses, MTU in octets."""

    name: str
    kind: Kind
    mac: str | None = None
    addresses: tuple[InterfaceAddress, ...] = ()
    mtu: int = 1500

    def __post_init__(self) -> None:
        check_name("interface", self.name)
        if not _MINIMUM_MTU <= self.mtu <= _MAXIMUM_MTU:
            raise PlanError(
                f"interface {self.name}: mtu: expected {_MINIMUM_MTU} to {_MAXIMUM_MTU}, "
                f"got {self.mtu}"
            )
        if self.mac is not None and not _is_unicast_mac(self.mac):
            raise PlanError(
                f"interface {self.name}: mac: expected a unicast address like "
                f"02:00:00:00:aa:01, got {self.mac!r}"
            )


@dataclass(frozen=True)
class Node:
    """One machine: its role, and for members of a group the VPN ID.

    `multicast` says of a router that it forwards multicast packets. `user` is a client's user ID.
    `command` is the command line of the node's process, with the fields `{python}` (the interpreter)
    and `{run}` (the run's folder) still to be filled in. `sub_id` divides a group's clients: those of
    different ones cannot read each other (embodiment 2).

    Patent: Fig. 12-2.
    """

    name: str
    role: Role
    vpn_id: int | None = None
    user: str | None = None
    command: tuple[str, ...] = ()
    multicast: bool = False
    sub_id: int = 1

    def __post_init__(self) -> None:
        check_name("node", self.name)
        if not 0 < self.sub_id < 2**32:
            raise PlanError(
                f"node {self.name}: sub_id: expected 1 to {2**32 - 1}, got {self.sub_id}"
            )


@dataclass(frozen=True)
class Link:
    """A cable between two nodes; `interfaces` are in the order of `ends`.

    `delay_ns` is one-way in nanoseconds, `rate_bits` in bit/s; None means unlimited.
    """

    ends: tuple[str, str]
    interfaces: tuple[Interface, Interface]
    delay_ns: int | None = None
    rate_bits: int | None = None

    def __post_init__(self) -> None:
        if self.ends[0] == self.ends[1]:
            raise PlanError(f"link {self.name}: ends: expected two different nodes")
        first, second = self.interfaces
        if first.kind is not second.kind:
            raise PlanError(
                f"link {self.name}: kind: expected the same at both ends, "
                f"got {first.kind.value} and {second.kind.value}"
            )
        if first.mtu != second.mtu:
            raise PlanError(
                f"link {self.name}: mtu: expected the same at both ends, "
                f"got {first.mtu} and {second.mtu}"
            )
        if self.delay_ns is not None and self.delay_ns < 0:
            raise PlanError(f"link {self.name}: delay_ns: expected 0 or more, got {self.delay_ns}")
        if self.rate_bits is not None and self.rate_bits <= 0:
            raise PlanError(
                f"link {self.name}: rate_bits: expected more than 0, got {self.rate_bits}"
            )
        if self.shaped and self.kind is Kind.LAN:
            raise PlanError(f"link {self.name}: delay_ns, rate_bits: expected none on a LAN")

    @property
    def name(self) -> str:
        """Names both ends, for messages."""
        return "-".join(self.ends)

    @property
    def shaped(self) -> bool:
        """Tells whether the link has a delay or a limited rate."""
        return bool(self.delay_ns) or self.rate_bits is not None

    @property
    def kind(self) -> Kind:
        """Tells the side of the VPN both interfaces are on."""
        return self.interfaces[0].kind

    def interface_of(self, node: str) -> Interface:
        """Returns the interface at `node`'s end; PlanError when the link does not end there."""
        if node not in self.ends:
            raise PlanError(f"link {self.name}: expected one of its ends, got {node}")
        return self.interfaces[self.ends.index(node)]

    def other_end(self, node: str) -> str:
        """Returns the name of the node at the other end; PlanError as `interface_of`."""
        if node not in self.ends:
            raise PlanError(f"link {self.name}: expected one of its ends, got {node}")
        return self.ends[1 - self.ends.index(node)]


@dataclass(frozen=True)
class Route:
    """A static route of one node: everything for `destination` goes to `gateway`."""

    destination: Network
    gateway: Address
    interface: str


@dataclass(frozen=True)
class MulticastRoute:
    """One multicast router's part of a tree: packets of `source` to `group`, and where they go on.

    Patent: Fig. 13 part 1301.
    """

    group: Address
    source: Address
    incoming: str
    outgoing: tuple[str, ...]


def check_name(what: str, name: str, octets: int = NAME_OCTETS) -> None:
    """Refuses a name that Linux would not take for an interface, with a PlanError."""
    if not _NAME.fullmatch(name) or len(name.encode()) > octets:
        raise PlanError(
            f"{what} {name!r}: name: expected 1 to {octets} letters, digits, '-', '_' or '.'"
        )


def address_in(addresses: Sequence[InterfaceAddress], network: Network) -> Address | None:
    """Returns the first of `addresses` that belongs to `network`, or None."""
    return next((item.ip for item in addresses if item.network == network), None)


def _is_unicast_mac(mac: str) -> bool:
    return bool(_MAC.fullmatch(mac)) and not int(mac[:2], 16) & 1 and mac != "00:00:00:00:00:00"
