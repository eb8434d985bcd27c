"""The client's tables.

Patent: Fig. 3-2 tables 308-311; Fig. 8-1 steps 803, 805, 808; Fig. 8-2 steps 812, 813; claims 8, 9.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from protocol.security_association import History, SecurityAssociation
from protocol.types import Address, ClientId, Delivery, IpAddress, Secret, VpnId
from protocol.wire import esp
from protocol.wire.ip import HeaderTemplate

HISTORIES = 64
"""SAs whose history is remembered after they were taken away all at once."""


class SaManagementTable:
    """Table 308: the group's SAs by SPI, and which of them seals.

    There are two while a new SA replaces an old one: both open, one seals (RFC 9838). Of SAs that were
    taken away the keys are forgotten, and what was accepted is not: a user who is moved to another
    Sub ID and back may be handed the same SA, and must not take old packets for new ones.
    """

    def __init__(self) -> None:
        self._by_spi: dict[int, SecurityAssociation] = {}
        self._histories: dict[int, History] = {}
        self._sealing: SecurityAssociation | None = None

    @property
    def sealing(self) -> SecurityAssociation | None:
        """The SA that seals own frames (step 805)."""
        return self._sealing

    def at(self, spi: int) -> SecurityAssociation | None:
        """Returns the SA that opens packets with ``spi`` (step 812)."""
        return self._by_spi.get(spi)

    def history(self, spi: int) -> History | None:
        """Returns what is known of an SA that is, or was, in the table."""
        known = self._by_spi.get(spi)
        return known.history if known is not None else self._histories.get(spi)

    def install(self, association: SecurityAssociation) -> None:
        """Adds an SA to receive with; the first one seals too."""
        self._by_spi[association.spi] = association
        if self._sealing is None:
            self._sealing = association

    def activate(self, spi: int) -> None:
        """Seals with the SA from now on, if it is still there."""
        self._sealing = self._by_spi.get(spi, self._sealing)

    def remove_older(self, spi: int) -> None:
        """Forgets every SA that came before this one, if this one is still there."""
        if spi not in self._by_spi:
            return
        order = list(self._by_spi)
        for older in order[: order.index(spi)]:
            del self._by_spi[older]

    def replace_all(
        self, association: SecurityAssociation, older: Iterable[SecurityAssociation] = ()
    ) -> None:
        """Starts again with one SA, and those that only open for a while: a new registration or Sub ID."""
        self._remember()
        self._by_spi = {one.spi: one for one in (*older, association)}
        self._sealing = association

    def clear(self) -> None:
        """Forgets every SA: the client is in its group no more."""
        self._remember()
        self._by_spi = {}
        self._sealing = None

    def _remember(self) -> None:
        """Keeps the history of every SA, the latest ones last."""
        for spi, association in self._by_spi.items():
            self._histories.pop(spi, None)
            self._histories[spi] = association.history
        for spi in list(self._histories)[:-HISTORIES]:
            del self._histories[spi]

    def rows(self) -> Iterator[tuple[SecurityAssociation, bool]]:
        """Yields each SA and whether it seals."""
        for association in self._by_spi.values():
            yield association, association is self._sealing


@dataclass(frozen=True)
class VpnInformation:
    """Table 309: where to send (server) and to which group, with what a registration said besides."""

    client_id: ClientId
    vpn_id: VpnId
    client_address: IpAddress
    """The source of inner packets."""
    multicast_address: IpAddress
    relay: Address
    lan_mtu: int
    delivery: Delivery = "relay"
    relays: frozenset[Address] = frozenset()
    """Whose datagrams are taken; the own relay's always."""
    hop_key: Secret | None = field(default=None, repr=False)
    """What datagrams to the relay are tagged with; None: not at all."""
    inner_header: HeaderTemplate = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        template = HeaderTemplate(self.client_address, self.multicast_address, esp.NEXT_HEADER)
        object.__setattr__(self, "inner_header", template)
        object.__setattr__(self, "relays", self.relays | {self.relay})


@dataclass(frozen=True)
class AuthenticationInformation:
    """Table 310: what proves who the user is."""

    user: str
    password: Secret
    vpn_id: VpnId


class Side(Enum):
    """On which side of the client a station is: its own LAN, or outside (table 311)."""

    LAN = "lan"
    OUTSIDE = "outside"
