"""The relay's tables: who uses which group. No key has a place in them.

Patent: Fig. 7-1 steps 706, 707; Fig. 7-2 steps 717, 718; table 507; table 508 (without the SA's key).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from protocol.types import (
    ONLY_SUB_ID,
    Address,
    ClientId,
    IpAddress,
    MemberDelivery,
    Secret,
    SubId,
    VpnId,
)

NO_PORT = 0
"""In the address of a client that has still to show where its datagrams come from."""


@dataclass(frozen=True)
class Member:
    """A registered client as a relay knows it."""

    client_id: ClientId
    vpn_id: VpnId
    address: Address
    """Where its datagrams come from and go to."""
    home: bool = True
    """Whether it sends by this relay; another VPN server's client is only sent to."""
    sub_id: SubId = ONLY_SUB_ID
    """Which of the group's SAs it holds."""
    hop_keys: tuple[Secret, ...] = field(default=(), repr=False, compare=False)
    """What its datagrams are tagged with, where tags are required; behind the first, which is in use, those
    from before that it may still use. They open nothing."""
    binding_key: Secret | None = field(default=None, repr=False, compare=False)
    """What it shows with where its datagrams come from; None: it does not. It opens nothing."""

    @property
    def is_reached(self) -> bool:
        """Whether it is known where its datagrams come from; without a port only the host is."""
        return self.address.port != NO_PORT


@dataclass(frozen=True)
class NextHop:
    """Another VPN server, which sends on to the clients that it holds.

    Patent: Fig. 19; effect E5.
    """

    name: str
    address: Address
    send_key: Secret | None = field(default=None, repr=False, compare=False)
    """Where tags are required, what it is sent is tagged with; None: it could not check them yet."""
    hop_keys: tuple[Secret, ...] = field(default=(), repr=False, compare=False)
    """What its datagrams are tagged with, as those of a :class:`Member`."""


Sender = Member | NextHop
"""Whom a relay takes datagrams from, and where stations are."""


@dataclass(frozen=True)
class RelayedGroup:
    """A row of table 508 as a relay holds it: the address and the SPIs, not the key.

    Patent: tables 508, 12-1; part 1201.
    """

    vpn_id: VpnId
    multicast_address: IpAddress
    spis: frozenset[int]
    sub_ids: frozenset[tuple[int, SubId]] = frozenset()
    """(SPI, Sub ID whose SA it is); an SPI without one is everybody's."""
    member_delivery: MemberDelivery = "patent"

    def is_read_by(self, member: Member, spi: int) -> bool:
        """Tells whether a member holds the SA of that SPI."""
        return all(one != spi or sub_id == member.sub_id for one, sub_id in self.sub_ids)

    def is_sent_to(self, member: Member, spi: int) -> bool:
        """Tells whether a member is to be sent packets with that SPI."""
        return self.member_delivery == "patent" or self.is_read_by(member, spi)


class UnicastGroupTable:
    """Table 507: the unicast addresses in use in each group, in the order of registration."""

    def __init__(self) -> None:
        self._by_address: dict[tuple[str, int], Member] = {}
        self._by_group: dict[VpnId, dict[ClientId, Member]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_group.values()))

    def add(self, member: Member) -> None:
        """Adds a client; raises ValueError when its address or number is taken (check first)."""
        group = self._by_group.setdefault(member.vpn_id, {})
        if member.address in self._by_address or member.client_id in group:
            raise ValueError(f"client {member.client_id} at {member.address} is registered already")
        if member.is_reached:
            self._by_address[member.address] = member
        group[member.client_id] = member

    def change(self, member: Member) -> None:
        """Puts a client with other hop keys, or at an address that is free, in the place of itself."""
        group = self._by_group[member.vpn_id]
        self._by_address.pop(group[member.client_id].address, None)
        if member.is_reached:
            self._by_address[member.address] = member
        group[member.client_id] = member

    def remove(self, member: Member) -> None:
        """Removes a client, and the group's entry with its last one."""
        self._by_address.pop(member.address, None)
        group = self._by_group[member.vpn_id]
        del group[member.client_id]
        if not group:
            del self._by_group[member.vpn_id]

    def at(self, address: tuple[str, int]) -> Member | None:
        """Returns the client whose datagrams come from ``address``."""
        return self._by_address.get(address)

    def members(self, vpn_id: VpnId) -> list[Member]:
        """Returns the group's clients, in the order of registration (step 718)."""
        return list(self._by_group.get(vpn_id, {}).values())

    def rows(self) -> Iterator[tuple[VpnId, list[Member]]]:
        """Yields each group with its clients."""
        for vpn_id in self._by_group:
            yield vpn_id, self.members(vpn_id)


class NextHopTable:
    """The other VPN servers, and which groups each has clients of: a set, so each gets one copy.

    Patent: Fig. 19; tables 19, 507; effect E5.
    """

    def __init__(self) -> None:
        self._by_address: dict[tuple[str, int], NextHop] = {}
        self._by_name: dict[str, tuple[NextHop, frozenset[VpnId]]] = {}

    def __len__(self) -> int:
        return len(self._by_name)

    def install(self, hop: NextHop, vpn_ids: frozenset[VpnId]) -> frozenset[VpnId]:
        """Adds or replaces a server, and returns the groups it had clients of."""
        before = self.remove(hop.name)
        self._by_name[hop.name] = hop, vpn_ids
        self._by_address[hop.address] = hop
        return before

    def remove(self, name: str) -> frozenset[VpnId]:
        """Removes a server if it is there, and returns the groups it had clients of."""
        hop, vpn_ids = self._by_name.pop(name, (None, frozenset[VpnId]()))
        if hop is not None:
            del self._by_address[hop.address]
        return vpn_ids

    def at(self, address: tuple[str, int]) -> NextHop | None:
        """Returns the server whose datagrams come from ``address``."""
        return self._by_address.get(address)

    def named(self, name: str) -> NextHop | None:
        """Returns the server of that name."""
        hop, _ = self._by_name.get(name, (None, None))
        return hop

    def of_group(self, vpn_id: VpnId) -> list[NextHop]:
        """Returns the servers that have clients of a group."""
        return [hop for hop, vpn_ids in self._by_name.values() if vpn_id in vpn_ids]

    def rows(self) -> Iterator[tuple[NextHop, frozenset[VpnId]]]:
        """Yields each server with the groups that it has clients of."""
        yield from self._by_name.values()


class MulticastAddressTable:
    """Table 508 without keys: multicast address to group."""

    def __init__(self) -> None:
        self._by_group: dict[VpnId, RelayedGroup] = {}
        self._by_address: dict[IpAddress, RelayedGroup] = {}

    def install(self, group: RelayedGroup) -> None:
        """Adds or replaces a group; raises ValueError when another group has the address."""
        other = self._by_address.get(group.multicast_address)
        if other is not None and other.vpn_id != group.vpn_id:
            raise ValueError(f"{group.multicast_address} belongs to VPN {other.vpn_id}")
        self.remove(group.vpn_id)
        self._by_group[group.vpn_id] = group
        self._by_address[group.multicast_address] = group

    def remove(self, vpn_id: VpnId) -> None:
        """Removes a group if it is there."""
        group = self._by_group.pop(vpn_id, None)
        if group is not None:
            del self._by_address[group.multicast_address]

    def at(self, multicast_address: IpAddress) -> RelayedGroup | None:
        """Returns the group that uses ``multicast_address`` (step 717)."""
        return self._by_address.get(multicast_address)

    def rows(self) -> Iterator[RelayedGroup]:
        """Yields each group."""
        yield from self._by_group.values()
