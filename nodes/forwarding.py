"""The ways in which a server can forward, behind one interface: relay, hub, and null for measuring.

Only a hub loads a cipher, and only when it is asked for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from nodes import server_view
from nodes.configuration import ServerConfiguration
from nodes.kernel.library import KernelPlaneError
from nodes.kernel.plane import KernelPlane, open_kernel_plane
from nodes.planes import Plane, Planes
from nodes.server_view import Table
from nodes.udp import UdpSocket
from protocol.management import AssociationPer
from protocol.null_forwarder import NullForwarder
from protocol.relay import Member, Passed, Relay, RelayedGroup, Strip, TaggedRelay
from protocol.relay.bindings import Bindings
from protocol.types import SECOND, Address, ClientId, IpAddress
from protocol.wire.messages import GroupSecurityAssociation

if TYPE_CHECKING:
    from protocol.hub import Hub


class Forwarding(ABC):
    """What a server needs of a way of forwarding."""

    association_per = AssociationPer.GROUP

    def __init__(self, core: Relay | Hub | NullForwarder) -> None:
        self.install_group: Callable[[RelayedGroup], None] = core.install_group
        self.add_member: Callable[[Member], None] = core.add_member
        self.remove_member: Callable[[ClientId], None] = core.remove_member
        self.next_timeout: Callable[[], int | None] = core.next_timeout
        self.handle_timeout: Callable[[int], None] = core.handle_timeout
        self.take_news: Callable[[], bool] = lambda: True
        """Tells whether datagrams may have left anything to do since the last call."""

    def install_association(
        self, client_id: ClientId, parameters: GroupSecurityAssociation
    ) -> None:
        """Takes the SA shared with a client; raises TypeError: only a hub has a use for a key."""
        raise TypeError("a data key for something that does not decrypt")

    @abstractmethod
    def plane(self, planes: Planes, udp: UdpSocket, arm_timer: Callable[[], None]) -> Plane:
        """Returns what moves datagrams this way."""

    def kernel_plane(self, address: IpAddress, port: int) -> KernelPlane:
        """Returns what takes decided flows off the socket plane; raises KernelPlaneError."""
        raise KernelPlaneError('expected forwarding = "relay": nothing else decides by flows')

    @abstractmethod
    def tables(self, now: int) -> dict[str, Table]:
        """Returns the tables that ``--status`` shows."""

    @abstractmethod
    def counters(self) -> dict[str, int]:
        """Returns what has passed, and what was dropped, by reason."""

    def passed(self) -> tuple[dict[ClientId, Passed], dict[Address, Passed]] | None:
        """Returns what has come from each client and gone to each address; None if that is not counted."""
        return None

    @property
    def bindings(self) -> Bindings | None:
        """What clients have shown of where they are; None where they cannot."""
        return None


class RelayForwarding(Forwarding):
    """The patent's: forwards as the clear headers say."""

    def __init__(self, relay: Relay) -> None:
        super().__init__(relay)
        self._relay = relay
        self.take_news = relay.take_news

    def plane(self, planes: Planes, udp: UdpSocket, arm_timer: Callable[[], None]) -> Plane:
        """Returns the plane that sends payloads as they came."""
        return planes.deciding(udp, self._relay, arm_timer)

    def kernel_plane(self, address: IpAddress, port: int) -> KernelPlane:
        """Returns the relay's decisions in the kernel."""
        return open_kernel_plane(self._relay, address, port)

    def tables(self, now: int) -> dict[str, Table]:
        """Returns tables 507, 508 and 509."""
        found = server_view.unicast_groups(self._relay)
        return found | server_view.learnt_tables(self._relay, now)

    def counters(self) -> dict[str, int]:
        """Returns the relay's counters."""
        return server_view.relay_counters(self._relay)

    def passed(self) -> tuple[dict[ClientId, Passed], dict[Address, Passed]]:
        """Returns what the relay's flows have counted."""
        return self._relay.flows.passed()

    @property
    def bindings(self) -> Bindings:
        """Returns the relay's."""
        return self._relay.bindings


class HubForwarding(Forwarding):
    """The baseline: decrypts, and encrypts again for each destination."""

    association_per = AssociationPer.CLIENT

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub)
        self._hub = hub

    def install_association(
        self, client_id: ClientId, parameters: GroupSecurityAssociation
    ) -> None:
        """Takes the SA that the hub shares with a client."""
        self._hub.install_association(client_id, parameters)

    def plane(self, planes: Planes, udp: UdpSocket, arm_timer: Callable[[], None]) -> Plane:
        """Returns the plane that sends what was sealed anew."""
        return planes.resealing(udp, self._hub, arm_timer)

    def tables(self, now: int) -> dict[str, Table]:
        """Returns tables 507, 508 and 509."""
        return server_view.unicast_groups(self._hub) | server_view.learnt_tables(self._hub, now)

    def counters(self) -> dict[str, int]:
        """Returns the hub's counters."""
        return server_view.hub_counters(self._hub)


class NullForwarding(Forwarding):
    """For measuring: sends on without looking."""

    def __init__(self, null: NullForwarder) -> None:
        super().__init__(null)
        self._null = null
        self.take_news = lambda: False

    def plane(self, planes: Planes, udp: UdpSocket, arm_timer: Callable[[], None]) -> Plane:
        """Returns the relay's plane."""
        return planes.deciding(udp, self._null, arm_timer)

    def tables(self, now: int) -> dict[str, Table]:
        """Returns table 507."""
        return server_view.unicast_groups(self._null)

    def counters(self) -> dict[str, int]:
        """Returns nothing: it does not count either."""
        return {}


def forwarding_of(configuration: ServerConfiguration) -> Forwarding:
    """Returns the way of forwarding that a configuration asks for."""
    section, timers = configuration.server, configuration.timers
    strip = Strip(section.strip)
    lifetime, hold_down = (
        round(seconds * SECOND) for seconds in (timers.mac_lifetime_s, timers.hold_down_s)
    )
    if section.forwarding == "null":
        return NullForwarding(NullForwarder())
    if section.forwarding == "hub":
        from protocol.hub import Hub  # loads the cipher

        return HubForwarding(Hub(section.address, strip, lifetime, hold_down))
    kind = TaggedRelay if section.hop_tags == "required" else Relay
    return RelayForwarding(kind(strip, lifetime, hold_down))
