"""An in-memory world: user VPN management, a relay and clients, joined without a socket or a clock.

Actions are done until none is left; messages cross as octets, cut by the same buffer as on a stream; time
passes only in :meth:`World.advance`; random octets come from a seed. Hooks see every datagram on its way.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address

from protocol.client import Client
from protocol.client import actions as client_actions
from protocol.client.tables import AuthenticationInformation
from protocol.errors import DropReason, WireError
from protocol.management import GroupConfiguration, Management, Rekeying, RekeyPolicy, UserRecord
from protocol.management import actions as management_actions
from protocol.relay import Forward, Relay, Strip
from protocol.types import (
    SECOND,
    Address,
    Algorithm,
    Delivery,
    IpAddress,
    MemberDelivery,
    Secret,
    SubId,
    VpnId,
)
from protocol.wire import messages
from protocol.wire.binding import is_binding
from protocol.wire.codec import MOST_PACKETS, MessageBuffer, pack
from protocol.wire.ethernet import BROADCAST, EthernetHeader, parse_mac
from protocol.wire.messages import Refused

VPN = 1001
OTHER_VPN = 1002
GROUP_ADDRESSES = {
    6: {VPN: "ff1e::1", OTHER_VPN: "ff1e::2"},
    4: {VPN: "239.1.1.1", OTHER_VPN: "239.1.1.2"},
}
RELAY = {6: Address("3ffe::1000", 5000), 4: Address("192.0.2.100", 5000)}
DATA_PORT = 5000


@dataclass(frozen=True)
class Datagram:
    """The payload of one UDP datagram, and between whom."""

    source: Address
    destination: Address
    payload: bytes


@dataclass(frozen=True)
class MulticastPacket:
    """An ESP packet on the multicast network, with the addresses of its IP header."""

    source: str
    destination: IpAddress
    packet: bytes


Hook = Callable[[Datagram], Iterable[Datagram]]
"""What becomes of a datagram: itself, several, others, or none."""


def unchanged(datagram: Datagram) -> Iterable[Datagram]:
    """Lets the datagram pass: the hook that does nothing."""
    return (datagram,)


def due_of(client: Client) -> int:
    """Returns when a client is due: what it has kept must be what it works out anew."""
    kept = client.next_timeout()
    client._due = None
    assert client.next_timeout() == kept
    return kept


@dataclass(eq=False)
class Peer:
    """A client with its side of the control channel and what came out of it."""

    name: str
    client: Client
    address: Address
    connection: int | None = None
    frames: list[bytes] = field(default_factory=list)
    refusals: list[Refused] = field(default_factory=list)
    joined: int = 0
    groups: set[IpAddress] = field(default_factory=set)
    """Multicast addresses that the client listens to."""
    deaf: bool = False
    """Set by a test: what the server says is lost on its way."""
    held: list[bytes] | None = None
    """Set by a test to a list: what the server says waits there for :meth:`World.release`."""
    to_server: MessageBuffer = field(default_factory=MessageBuffer)
    to_client: MessageBuffer = field(default_factory=MessageBuffer)


def mac(name: str) -> bytes:
    """Returns the MAC address of terminal ``name``: two hexadecimal digits, as ``aa`` in the patent."""
    return parse_mac(f"02:00:00:00:00:{name}")


def frame(destination: str, source: str, payload: bytes = b"hello") -> bytes:
    """Builds a frame between two terminals; destination ``*`` is everybody."""
    to = BROADCAST if destination == "*" else mac(destination)
    return EthernetHeader(to, mac(source), 0x88B5).pack() + payload


def client_address(index: int, family: int) -> str:
    """Returns the unicast address of the client with that index: 3ffe:aaaa::1, 3ffe:bbbb::1, ..."""
    if family == 4:
        return f"198.51.100.{index + 1}"
    return f"3ffe:{0xAAAA + 0x1111 * index:x}::1" if index < 6 else f"3ffe:1:{index:x}::1"


class World:
    """Everything of the system but sockets, clocks and processes."""

    def __init__(
        self,
        *users: str,
        strip: Strip = Strip.KEEP,
        family: int = 6,
        seed: int = 0,
        algorithm: Algorithm = "aes-128-gcm",
        mac_lifetime: int = 3600 * SECOND,
        delivery: Delivery = "relay",
        rekey: RekeyPolicy = "on-leave",
        member_delivery: MemberDelivery = "patent",
        sa_lifetime: int = 8 * 3600 * SECOND,
        sa_packets: int = MOST_PACKETS,
    ) -> None:
        """Takes the users; ``d@1002`` is user d of VPN 1002, one without a number is of VPN 1001."""
        self.now = SECOND
        self.family = family
        self.random = random.Random(seed)
        self.vpn_of = {
            name: VpnId(int(vpn or VPN)) for name, _, vpn in (user.partition("@") for user in users)
        }
        self.sub_ids = dict.fromkeys(self.vpn_of, SubId(1))
        self.management = Management(
            groups=[
                GroupConfiguration(VpnId(vpn), ip_address(address), algorithm, delivery)
                for vpn, address in GROUP_ADDRESSES[family].items()
            ],
            users=self.records(),
            relay=RELAY[family],
            random_octets=self.random.randbytes,
            rekeying=Rekeying(rekey, sa_lifetime, sa_packets),
            member_delivery=member_delivery,
        )
        self.relay = Relay(strip, mac_lifetime)
        self.peers: dict[str, Peer] = {}
        self.on_uplink: Hook = unchanged
        self.on_downlink: Hook = unchanged
        self.uplink: list[Datagram] = []
        self.downlink: list[Datagram] = []
        self.multicast: list[MulticastPacket] = []
        self.relay_forwarded = 0
        self.relay_dropped: Counter[DropReason] = Counter()
        self._lifetime = mac_lifetime
        self._next_connection = 1
        self._by_connection: dict[int, Peer] = {}
        self._everyone: list[Peer] = []

    # -- registration

    def peer(self, name: str) -> Peer:
        """Returns the client of user ``name``; the server has not heard of it before it joins."""
        if name not in self.peers:
            self.peers[name] = self.new_peer(name)
        return self.peers[name]

    def new_peer(self, name: str, password: str | None = None, vpn_id: int | None = None) -> Peer:
        """Makes a client that no table of this world knows: :meth:`join` it for a registration."""
        authentication = AuthenticationInformation(
            name,
            Secret((password or password_of(name)).encode()),
            VpnId(vpn_id or self.vpn_of.get(name, VpnId(VPN))),
        )
        index = list(self.vpn_of).index(name) if name in self.vpn_of else len(self.vpn_of)
        address = Address(client_address(index, self.family), DATA_PORT)
        return Peer(
            name, Client(authentication, address.port, self._lifetime, listening=0), address
        )

    def join(self, *names: str) -> list[Peer]:
        """Registers these users, one after the other, and returns their clients."""
        return [self.connect(self.peer(name)) for name in names]

    def join_all(self) -> list[Peer]:
        """Registers every user of the world."""
        return self.join(*self.vpn_of)

    def connect(self, peer: Peer) -> Peer:
        """Opens the peer's control channel and does all that follows."""
        self.peers[peer.name] = peer
        if peer not in self._everyone:
            self._everyone.append(peer)
        peer.connection, self._next_connection = self._next_connection, self._next_connection + 1
        peer.to_server, peer.to_client = MessageBuffer(), MessageBuffer()
        self._by_connection[peer.connection] = peer
        self.management.connection_made(peer.connection, peer.address.host, self.now)
        if peer.connection is not None:
            peer.client.channel_opened(self.now)
        self.settle()
        return peer

    def disconnect(self, name: str) -> None:
        """Breaks the control channel of user ``name``: both sides notice."""
        peer = self.peers[name]
        connection = peer.connection
        if connection is None:
            return
        self._hang_up(connection)
        self.management.connection_lost(connection, self.now)
        self.settle()

    def leave(self, name: str) -> None:
        """Has user ``name`` leave its group in good order."""
        self.peers[name].client.leave(self.now)
        self.settle()

    def say(self, name: str, message: messages.ClientMessage) -> None:
        """Sends a message on the control channel of user ``name``, whether its client wants or not."""
        self._message_to_server(self.peers[name], pack(message))
        self.settle()

    def release(self, name: str) -> None:
        """Lets what the server has said reach user ``name``, as far as his channel is still there."""
        peer = self.peers[name]
        held, peer.held = peer.held or [], None
        for octets in held:
            if peer.connection is not None:
                self._message_to_client(peer.connection, octets)
        self.settle()

    # -- what administrators do

    def records(self) -> list[UserRecord]:
        """Returns table 506 as the administrators have it."""
        return [UserRecord(name, vpn, self.sub_ids[name]) for name, vpn in self.vpn_of.items()]

    def move(self, **sub_ids: int) -> None:
        """Gives users other Sub IDs, all in one change; a user who was expelled is added again."""
        for name, sub_id in sub_ids.items():
            self.vpn_of.setdefault(name, VpnId(VPN))
            self.sub_ids[name] = SubId(sub_id)
        self.management.users_changed(self.records(), self.now)
        self.settle()

    def expel(self, *names: str) -> None:
        """Takes users out of table 506, all in one change."""
        for name in names:
            self.vpn_of.pop(name, None)
        self.management.users_changed(self.records(), self.now)
        self.settle()

    # -- frames

    def send(self, name: str, octets: bytes) -> None:
        """Lets the LAN of user ``name`` send a frame, and does all that follows."""
        self.peers[name].client.receive_frame(octets, self.now)
        self.settle()

    def take_frames(self) -> dict[str, list[bytes]]:
        """Returns the frames that each LAN was given since the last call (LANs with none left out)."""
        frames = {name: peer.frames for name, peer in self.peers.items() if peer.frames}
        for peer in self.peers.values():
            peer.frames = []
        return frames

    def drops_of(self, name: str) -> dict[DropReason, int]:
        """Returns what the client of user ``name`` has dropped, by reason."""
        return dict(self.peers[name].client.drops)

    # -- time

    def advance(self, seconds: float) -> None:
        """Lets time pass; every timer goes off at its own time, in order."""
        end = self.now + round(seconds * SECOND)
        while (due := self._next_due()) is not None and due <= end:
            self.now = max(self.now, due)
            self.management.handle_timeout(self.now)
            self.relay.handle_timeout(self.now)
            for peer in self._everyone:
                peer.client.handle_timeout(self.now)
            self.settle()
        self.now = end

    def _next_due(self) -> int | None:
        times = [self.management.next_timeout(), self.relay.next_timeout()]
        times += [due_of(peer.client) for peer in self._everyone]
        return min((time for time in times if time is not None), default=None)

    # -- actions

    def settle(self) -> None:
        """Does actions until there is none left."""
        acted = True
        while acted:
            acted = False
            while (action := self.management.next_action()) is not None:
                self._act_for_management(action)
                acted = True
            for peer in self._everyone:
                while (step := peer.client.next_action()) is not None:
                    self._act_for_client(peer, step)
                    acted = True

    def _act_for_management(self, action: management_actions.Action) -> None:
        if isinstance(action, management_actions.CheckCredentials):
            self.management.credentials_checked(action.connection, self.verify(action), self.now)
        elif isinstance(action, management_actions.SendMessage):
            self._message_to_client(action.connection, pack(action.message))
        elif isinstance(action, management_actions.CloseConnection):
            self._hang_up(action.connection)
        else:
            assert not isinstance(action, management_actions.ClientKeyMade), "a key for a relay"
            apply_to_relay(self.relay, action)

    def verify(self, check: management_actions.CheckCredentials) -> bool:
        """Compares the password with the one that :func:`password_of` knows; no hashing in tests."""
        known = check.user in self.vpn_of
        return known and check.password.reveal() == password_of(check.user).encode()

    def _act_for_client(self, peer: Peer, action: client_actions.Action) -> None:
        if isinstance(action, client_actions.SendDatagram):
            self._to_relay(Datagram(peer.address, action.destination, action.payload))
        elif isinstance(action, client_actions.SendPacket):
            self.replicate(MulticastPacket(peer.address.host, action.destination, action.packet))
        elif isinstance(action, client_actions.JoinGroup):
            peer.groups.add(action.multicast_address)
        elif isinstance(action, client_actions.LeaveGroup):
            peer.groups.remove(action.multicast_address)
        elif isinstance(action, client_actions.DeliverFrame):
            peer.frames.append(action.frame)
        elif isinstance(action, client_actions.SendMessage):
            self._message_to_server(peer, pack(action.message))
        elif isinstance(action, client_actions.Joined):
            peer.joined += 1
        elif isinstance(action, client_actions.Rejected):
            peer.refusals.append(action.refusal)
        elif isinstance(action, client_actions.CloseChannel) and peer.connection is not None:
            connection = peer.connection
            self._hang_up(connection)
            self.management.connection_lost(connection, self.now)

    def _message_to_server(self, peer: Peer, octets: bytes) -> None:
        if peer.connection is None:
            return
        peer.to_server.append(octets)
        try:
            while peer.connection is not None and (body := peer.to_server.next_body()) is not None:
                message = messages.parse_from_client(body)
                self.management.receive_message(peer.connection, message, self.now)
        except WireError as error:
            self.management.message_broken(peer.connection, str(error))

    def _message_to_client(self, connection: int, octets: bytes) -> None:
        peer = self._by_connection.get(connection)
        if peer is None or peer.deaf:
            return
        if peer.held is not None:
            peer.held.append(octets)
            return
        peer.to_client.append(octets)
        while (body := peer.to_client.next_body()) is not None:
            peer.client.receive_message(messages.parse_from_server(body), self.now)

    def _hang_up(self, connection: int) -> None:
        peer = self._by_connection.pop(connection, None)
        if peer is not None and peer.connection == connection:
            peer.connection = None
            peer.client.channel_lost(self.now)

    # -- datagrams

    def _to_relay(self, datagram: Datagram) -> None:
        if is_binding(datagram.payload):
            self._bind(datagram)
            return
        self.uplink.append(datagram)
        for passed in self.on_uplink(datagram):
            self.inject(passed)

    def _bind(self, datagram: Datagram) -> None:
        """Gives the relay a binding, and the client its answer."""
        self.relay.receive_datagram(datagram.payload, datagram.source, self.now)
        for payload, destination in self.relay.bindings.take_answers():
            self.deliver(Datagram(datagram.destination, destination, payload))
        for client_id, address in self.relay.bindings.take_bound().items():
            self.management.bound(client_id, address)

    def inject(self, datagram: Datagram) -> None:
        """Gives the relay a datagram, as from the network, and hands on what it forwards."""
        verdict = self.relay.receive_datagram(datagram.payload, datagram.source, self.now)
        if not isinstance(verdict, Forward):
            self.relay_dropped[verdict.reason] += 1
            return
        self.relay_forwarded += 1
        for to in verdict.destinations:
            octets = bytes(to.copy_of(datagram.payload))
            copy = Datagram(datagram.destination, to.address, octets)
            self.downlink.append(copy)
            for passed in self.on_downlink(copy):
                self.deliver(passed)

    def replicate(self, packet: MulticastPacket) -> None:
        """Gives every client that listens the packet, as multicast routers do; never its source."""
        self.multicast.append(packet)
        for peer in self._everyone:
            if packet.destination in peer.groups and peer.address.host != packet.source:
                peer.client.receive_packet(packet.packet, packet.destination, self.now)

    def deliver(self, datagram: Datagram) -> None:
        """Gives the client at the datagram's destination the datagram, as from the network."""
        for peer in self._everyone:
            if peer.address == datagram.destination:
                peer.client.receive_datagram(datagram.payload, datagram.source, self.now)


def password_of(user: str) -> str:
    """Returns the right password of a user in this world."""
    return f"open sesame, {user}"


def apply_to_relay(relay: Relay, action: management_actions.RelayAction) -> None:
    """Does at the relay what user VPN management says of tables 507 and 508."""
    if isinstance(action, management_actions.GroupChanged):
        relay.install_group(action.group)
    elif isinstance(action, management_actions.MemberJoined):
        relay.add_member(action.member)
    elif isinstance(action, management_actions.MemberLeft):
        relay.remove_member(action.client_id)


def differences(expected: dict[str, list[bytes]], delivered: dict[str, list[bytes]]) -> list[str]:
    """Compares frames octet by octet, LAN by LAN, and returns a line for each that differs."""
    lines = []
    for name in sorted(expected.keys() | delivered.keys()):
        due, came = Counter(expected.get(name, [])), Counter(delivered.get(name, []))
        lines += [f"{name}: missing {octets.hex()}" for octets in (due - came).elements()]
        lines += [f"{name}: surplus {octets.hex()}" for octets in (came - due).elements()]
    return lines
