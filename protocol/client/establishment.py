"""VPN establishment processing 313: registration, keys and leaving, over an ordered stream of messages.

Patent: Fig. 1; Fig. 3-2 part 313; Fig. 7-1 steps 701, 708 (as the client sees them); claim 7.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import Enum

from protocol import binding_tag, hop_tag
from protocol.client.actions import (
    Action,
    CloseChannel,
    Joined,
    JoinGroup,
    LeaveGroup,
    Rejected,
    SendMessage,
)
from protocol.client.binding import Bindings
from protocol.client.probing import Probing
from protocol.client.tables import AuthenticationInformation, SaManagementTable, VpnInformation
from protocol.security_association import SecurityAssociation
from protocol.types import ClientId, IpAddress, Secret, VpnId
from protocol.wire.messages import (
    VERSION,
    Candidates,
    GroupSecurityAssociation,
    KeepAlive,
    Leave,
    NewRelay,
    NewSecurityAssociation,
    RefusalReason,
    Refused,
    Register,
    Registered,
    RekeyRequest,
    ServerMessage,
)

MILLISECOND = 1_000_000
SILENCE = 3
"""Keep-alive intervals without a word from the server after which the channel counts as dead."""


NO_MEMBER = (RefusalReason.EXPELLED, RefusalReason.CREDENTIALS, RefusalReason.VPN)
"""Refusals that say: this user is not in the group, or not any more."""


class State(Enum):
    """Where the registration stands."""

    APART = "apart"
    REGISTERING = "registering"
    PROBING = "probing"
    REGISTERED = "registered"
    LEFT = "left"


class Establishment:
    """Gets a client into its group and keeps table 308 as the server says."""

    def __init__(
        self,
        authentication: AuthenticationInformation,
        data_port: int,
        associations: SaManagementTable,
        act: Callable[[Action], None],
    ) -> None:
        """Takes table 310, the own UDP port, table 308, and where actions go."""
        self.state = State.APART
        self.information: VpnInformation | None = None
        self.probing: Probing | None = None
        self.last_probing: Probing | None = None
        """The last round, whether it goes on or is over."""
        self.bindings: Bindings | None = None
        """Where the client says that it is; they go on while the channel is lost."""
        self.authentication = authentication
        self._data_port = data_port
        self._associations = associations
        self._act = act
        self._keepalive_interval = 0
        self._keepalive_due: int | None = None
        self._silent_at: int | None = None
        self._activations: list[tuple[int, int]] = []
        self._deactivations: list[tuple[int, int]] = []
        self._multicast_group: IpAddress | None = None

    def channel_opened(self, now: int) -> None:
        """Registers: the control channel to the server is there."""
        self.state = State.REGISTERING
        authentication = self.authentication
        self._act(
            SendMessage(
                Register(
                    VERSION,
                    authentication.user,
                    authentication.password,
                    authentication.vpn_id,
                    self._data_port,
                )
            )
        )

    def channel_lost(self, now: int) -> None:
        """Notes that the channel is gone; SA and addresses serve until a new registration."""
        if self.state is not State.LEFT:
            self.state = State.APART
        self.probing = None
        self._keepalive_due = self._silent_at = None

    def receive_message(self, message: ServerMessage, now: int) -> None:
        """Does what the server says; a message out of turn ends the channel."""
        if self._silent_at is not None:
            self._silent_at = now + SILENCE * self._keepalive_interval
        if isinstance(message, Refused):
            self._refused(message)
        elif isinstance(message, Candidates) and self.state is State.REGISTERING:
            self.state = State.PROBING
            self.probing = self.last_probing = Probing(message, self._act, now)
        elif isinstance(message, Registered) and self.state in (State.REGISTERING, State.PROBING):
            self.probing = None
            self._registered(message, now)
        elif isinstance(message, NewRelay) and self.state is State.REGISTERED:
            self._new_relay(message, now)
        elif isinstance(message, NewSecurityAssociation) and self.state is State.REGISTERED:
            self._new_association(message, now)
        elif not (isinstance(message, KeepAlive) and self.state is State.REGISTERED):
            self._act(CloseChannel())

    def leave(self, now: int) -> None:
        """Leaves the group: seals and opens nothing more."""
        if self.state is State.REGISTERED:
            self._act(SendMessage(Leave()))
        self.state = State.LEFT
        self._listen_to(None)
        self._forget_group()
        self._act(CloseChannel())

    def _refused(self, message: Refused) -> None:
        """Ends; who is in the group no more keeps no key of it."""
        self.state = State.LEFT
        self._listen_to(None)
        self.bindings = None
        if message.reason in NO_MEMBER:
            self._forget_group()
        self._act(Rejected(message))

    def _forget_group(self) -> None:
        self.information = self.probing = self.bindings = None
        self._associations.clear()
        self._keepalive_due = self._silent_at = None
        self._activations, self._deactivations = [], []

    def check_counter(self) -> None:
        """Asks for a new SA while the one that seals has sealed as many packets as it should."""
        association = self._associations.sealing
        if association is not None and association.is_worn and self.state is State.REGISTERED:
            self._act(SendMessage(RekeyRequest(association.spi)))

    def next_timeout(self) -> int | None:
        """Returns when :meth:`handle_timeout` is due, or None."""
        times = [self._keepalive_due, self._silent_at]
        if self.probing is not None:
            times.append(self.probing.next_timeout())
        if self.bindings is not None:
            times.append(self.bindings.next_timeout())
        times += [due for due, _ in (*self._activations, *self._deactivations)]
        return min((time for time in times if time is not None), default=None)

    def handle_timeout(self, now: int) -> None:
        """Does what is due: probes, keep-alive, the end of a silent channel, the steps of a roll-over."""
        if self.probing is not None:
            self.probing.handle_timeout(now)
        if self.bindings is not None:
            self.bindings.handle_timeout(now)
        if self._keepalive_due is not None and now >= self._keepalive_due:
            self._act(SendMessage(KeepAlive()))
            self._keepalive_due = now + self._keepalive_interval
        if self._silent_at is not None and now >= self._silent_at:
            self._silent_at = None
            self._act(CloseChannel())
        while self._activations and now >= self._activations[0][0]:
            self._associations.activate(self._activations.pop(0)[1])
        while self._deactivations and now >= self._deactivations[0][0]:
            self._associations.remove_older(self._deactivations.pop(0)[1])

    def _registered(self, message: Registered, now: int) -> None:
        older = [self._association(given) for given in message.older]
        association = self._association(message.security_association)
        if association is None or None in older:
            return
        if not _are_keys(message):
            self._act(CloseChannel())
            return
        self.state = State.REGISTERED
        self.information = VpnInformation(
            ClientId(message.client_id),
            VpnId(message.vpn_id),
            message.client_address,
            message.multicast_address,
            message.relay.address,
            message.lan_mtu,
            message.delivery,
            frozenset(one.address for one in message.relays),
            message.hop_key,
        )
        self._listen_to(message.multicast_address if message.delivery == "multicast" else None)
        self._take_associations(
            message, association, [one for one in older if one is not None], now
        )
        self._keepalive_interval = message.keepalive_interval * MILLISECOND
        if self._keepalive_interval:
            self._keepalive_due = now + self._keepalive_interval
            self._silent_at = now + SILENCE * self._keepalive_interval
        self._act(Joined(message.lan_mtu))
        self._bind(message.binding_key, now)

    def _take_associations(
        self,
        message: Registered,
        association: SecurityAssociation,
        older: list[SecurityAssociation],
        now: int,
    ) -> None:
        """Begins with the server's SAs, or goes over to them while the group still uses another.

        A server that has come back asks for the second: its members arrive one by one.
        """
        if message.activation_delay and self._associations.sealing is not None:
            self._activations, self._deactivations = [], []
            for one in older:
                self._associations.install(one)
            activation = now + message.activation_delay * MILLISECOND
            self._install(association, activation, message.deactivation_delay)
            return
        self._start_again(association, older, now + message.deactivation_delay * MILLISECOND)

    def _start_again(
        self,
        association: SecurityAssociation,
        older: list[SecurityAssociation],
        deactivation: int,
    ) -> None:
        """Seals with this SA and opens with those alone; the older ones until ``deactivation``."""
        self._activations, self._deactivations = [], []
        self._associations.replace_all(association, older)
        if older:
            self._deactivations.append((deactivation, association.spi))

    def _new_relay(self, message: NewRelay, now: int) -> None:
        """Sends to another VPN server: the one before is gone."""
        assert self.information is not None
        if not _are_keys(message):
            self._act(CloseChannel())
            return
        self.information = replace(
            self.information,
            relay=message.relay.address,
            relays=frozenset(one.address for one in message.relays),
            hop_key=message.hop_key,
        )
        self._bind(message.binding_key, now)

    def _bind(self, key: Secret | None, now: int) -> None:
        """Begins to tell the relay where the client is, under the key that both have been given."""
        self.bindings = None
        if key is not None and self.information is not None:
            client_id, relay = self.information.client_id, self.information.relay
            self.bindings = Bindings(client_id, key, relay, self._act, now)

    def _listen_to(self, multicast_address: IpAddress | None) -> None:
        """Joins the group address and leaves the one before; nothing when it is the same.

        Patent: Fig. 13.
        """
        if multicast_address == self._multicast_group:
            return
        if self._multicast_group is not None:
            self._act(LeaveGroup(self._multicast_group))
        if multicast_address is not None:
            self._act(JoinGroup(multicast_address))
        self._multicast_group = multicast_address

    def _new_association(self, message: NewSecurityAssociation, now: int) -> None:
        """Receives with the new SA at once, then seals with it, then forgets the old one.

        With another Sub ID all three are done at once: the old SAs are those of a group that the user
        is not in any more.

        Patent: Fig. 11; claim 2.
        """
        older = [self._association(given) for given in message.older]
        association = self._association(message.security_association)
        if association is None or None in older:
            return
        if message.replaces == "all":
            deactivation = now + message.deactivation_delay * MILLISECOND
            self._start_again(association, [one for one in older if one is not None], deactivation)
        else:
            activation = now + message.activation_delay * MILLISECOND
            self._install(association, activation, message.deactivation_delay)

    def _install(
        self, association: SecurityAssociation, activation: int, deactivation_delay: int
    ) -> None:
        """Receives with the SA now, seals with it at ``activation``, and later forgets the others."""
        self._associations.install(association)
        deactivation = activation + deactivation_delay * MILLISECOND
        self._activations.append((activation, association.spi))
        self._deactivations.append((deactivation, association.spi))

    def _association(self, given: GroupSecurityAssociation) -> SecurityAssociation | None:
        """Builds the SA, or ends the channel: its key does not fit, or its nonces would repeat.

        A known SPI with a known sender ID would start the counter again under the same key.
        """
        known = self._associations.history(given.spi)
        try:
            if known is not None and not known.is_fresh(given.sender_id):
                raise ValueError(f"sender ID {given.sender_id} was used under SPI {given.spi}")
            return SecurityAssociation(given, predecessor=known)
        except ValueError:
            self._act(CloseChannel())
            return None


def _are_keys(message: Registered | NewRelay) -> bool:
    """Tells whether what a message has as keys for the way to the relay can be such."""
    hop_key, binding_key = message.hop_key, message.binding_key
    return (hop_key is None or len(hop_key) == hop_tag.KEY_LENGTH) and (
        binding_key is None or len(binding_key) == binding_tag.KEY_LENGTH
    )
