"""An in-memory world of a representative, VPN servers and clients, with delays, losses and crashes.

Everything that crosses between two of them is octets, and arrives after the delay between the two; time
passes only in :meth:`ServersWorld.run`. Processes crash and come back with nothing but their configuration.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from itertools import count
from typing import Protocol

from protocol.client import Client
from protocol.client import actions as client_actions
from protocol.client.tables import AuthenticationInformation
from protocol.distribution.hop_keys import HopKeys
from protocol.distribution.publisher import CloseServer, Distribution, Publisher, SendTables
from protocol.distribution.representative import Representative
from protocol.distribution.subscriber import SendReport, Subscriber
from protocol.management import GroupConfiguration, Management, UserRecord
from protocol.management import actions as management_actions
from protocol.management.servers import VpnServer, VpnServers
from protocol.relay import Forward, Relay, TaggedRelay
from protocol.types import SECOND, Address, Secret, ServerDelivery, VpnId
from protocol.wire import messages, table_messages
from protocol.wire.binding import is_binding
from protocol.wire.codec import Message, MessageBuffer, pack
from tests.world import (
    DATA_PORT,
    GROUP_ADDRESSES,
    VPN,
    Datagram,
    Peer,
    client_address,
    due_of,
    password_of,
)

MILLISECOND = 1_000_000
REPRESENTATIVE = "representative"
RETRY = 200 * MILLISECOND
"""How long after a channel is lost it is opened again."""
RECOVERY = 3 * SECOND
GRACE = 8 * SECOND
OPEN_TIME = SECOND
QUIET = 26.0
"""Seconds after which nothing of a fault is left: silence, registration, roll-over and grace are over."""


class Timed(Protocol):
    """What has a timer."""

    def next_timeout(self) -> int | None:
        """Returns when it goes off."""

    def handle_timeout(self, now: int) -> None:
        """Does what is due."""


class Channel:
    """A stream of octets between the representative and one other process."""

    def __init__(self, number: int, client: Peer | None, server: ServerProcess | None) -> None:
        self.number = number
        self.client = client
        self.server = server
        self.open = True
        limit = table_messages.MAXIMUM_LENGTH
        self.to_representative, self.from_representative = (
            MessageBuffer(limit),
            MessageBuffer(limit),
        )

    @property
    def end(self) -> str:
        """The name of the process at the other end."""
        if self.client is not None:
            return self.client.name
        assert self.server is not None
        return self.server.name


@dataclass(eq=False)
class ServerProcess:
    """A VPN server: what it is in memory, or None while it is down."""

    name: str
    address: Address
    relay: Relay
    subscriber: Subscriber
    running: bool = True
    reachable: bool = True
    """Whether its channel to the representative can be opened."""
    channel: Channel | None = None
    received: int = 0
    drops: Counter[str] = field(default_factory=Counter)


class ServersWorld:
    """Embodiments 4 and 5 but sockets, clocks and processes."""

    def __init__(
        self,
        *users: str,
        servers: Iterable[str] = ("one", "two", "three"),
        delivery: ServerDelivery = "direct",
        distribution: Distribution = "delta",
        reports: bool = True,
        split_horizon: bool = True,
        mac_lifetime: int = 3600 * SECOND,
        seed: int = 0,
        hop_tags: bool = False,
    ) -> None:
        """Takes the users (``d@1002`` is of VPN 1002), the servers' names and the switches."""
        self.now = SECOND
        self.random = random.Random(seed)
        self.vpn_of = {
            name: VpnId(int(vpn or VPN)) for name, _, vpn in (user.partition("@") for user in users)
        }
        self.delays: dict[frozenset[str], int] = {}
        """One-way delays in ns; a millisecond where nothing is said."""
        self.on_datagram: Callable[[Datagram], bool] = lambda datagram: True
        """Whether a datagram arrives."""
        self.datagrams = 0
        self.datagram_limit: int | None = None
        """After so many nothing more arrives: the end of a storm."""
        self.given_out: list[tuple[int, int]] = []
        """Every (SPI, sender ID) that a client was given."""
        self.client_ids: list[int] = []
        self.epoch = 0
        self.representative: Representative | None = None
        self._delivery, self._distribution, self._reports = delivery, distribution, reports
        self._split_horizon, self._lifetime = split_horizon, mac_lifetime
        self.hop_tags = hop_tags
        self._numbers = count(1)
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._channels: dict[int, Channel] = {}
        self.servers = {
            name: self._server_process(name, Address(f"3ffe::1000:{index:x}", DATA_PORT))
            for index, name in enumerate(servers, start=0xA)
        }
        self.peers = {name: self._peer(name, index) for index, name in enumerate(self.vpn_of)}
        self.wanted: set[str] = set()
        """Users whose clients are to be registered."""
        self._name_of = {one.address.host: one.name for one in self.servers.values()}
        self._name_of |= {peer.address.host: peer.name for peer in self.peers.values()}
        self.start_representative()

    # -- processes

    def start_representative(self) -> None:
        """Starts the representative, with an epoch of its own and nothing in memory."""
        self.epoch += 1
        management = Management(
            groups=[
                GroupConfiguration(VpnId(vpn), ip_address(address))
                for vpn, address in GROUP_ADDRESSES[6].items()
            ],
            users=[UserRecord(name, vpn) for name, vpn in self.vpn_of.items()],
            relay=VpnServers(VpnServer(one.name, one.address) for one in self.servers.values()),
            random_octets=self.random.randbytes,
            epoch=self.epoch,
            recovered_at=self.now + RECOVERY if self.epoch > 1 else 0,
            delivery=self._delivery,
            open_at=self.now + OPEN_TIME,
            hop_tags=self.hop_tags,
        )
        assert management.servers is not None
        publisher = Publisher(
            management.servers,
            management.placement,
            self.epoch,
            management.placement.token,
            self._delivery,
            self._distribution,
            self._reports,
            GRACE,
            HopKeys(self.random.randbytes) if self.hop_tags else None,
        )
        self.representative = Representative(management, publisher)
        for server in self.servers.values():
            self._after(0, partial(self._open_server, server))
        for name in self.vpn_of:
            self._after(0, partial(self._open_client, name))

    def crash_representative(self) -> None:
        """Ends the representative: its channels break."""
        self.representative = None
        for channel in list(self._channels.values()):
            self.cut(channel)

    def crash_server(self, name: str) -> None:
        """Ends a VPN server."""
        server = self.servers[name]
        server.running = False
        if server.channel is not None:
            self.cut(server.channel)

    def start_server(self, name: str) -> None:
        """Starts a VPN server anew, without tables."""
        before = self.servers[name]
        if not before.running:
            server = self.servers[name] = self._server_process(name, before.address)
            self._open_server(server)

    def cut(self, channel: Channel | None) -> None:
        """Breaks a channel: what is on its way is lost, and both ends notice."""
        if channel is None or not channel.open:
            return
        channel.open = False
        del self._channels[channel.number]
        if channel.client is not None:
            channel.client.connection = None
            channel.client.client.channel_lost(self.now)
            self._after(RETRY, lambda: self._open_client(channel.end))
        if channel.server is not None:
            server = channel.server
            server.channel = None
            server.subscriber.channel_lost(self.now)
            self._after(RETRY, lambda: self._open_server(server))
        if self.representative is not None:
            if channel.client is not None:
                self.representative.management.connection_lost(channel.number, self.now)
            else:
                self.representative.server_lost(channel.number, self.now)

    def cut_client(self, name: str) -> None:
        """Breaks a client's channel."""
        self.cut(self._channels.get(self.peers[name].connection or 0))

    # -- what users do

    def join(self, *names: str, seconds: float = 3) -> None:
        """Has clients register, and gives them time to."""
        for name in names:
            if name not in self.wanted:
                self.wanted.add(name)
                self.peers[name].client.establishment.information = None
                self._open_client(name)
        self.run(seconds)

    def leave(self, name: str) -> None:
        """Has a client leave in good order."""
        self.wanted.discard(name)
        self.peers[name].client.leave(self.now)
        self.run(0.5)

    def send(self, name: str, octets: bytes, seconds: float = 0.5) -> dict[str, list[bytes]]:
        """Lets a LAN send a frame, and returns what the LANs are given in the next moments."""
        self.take_frames()
        self.peers[name].client.receive_frame(octets, self.now)
        self.run(seconds)
        return self.take_frames()

    def take_frames(self) -> dict[str, list[bytes]]:
        """Returns the frames that each LAN was given since the last call (LANs with none left out)."""
        frames = {name: peer.frames for name, peer in self.peers.items() if peer.frames}
        for peer in self.peers.values():
            peer.frames = []
        return frames

    def server_of(self, name: str) -> str | None:
        """Returns by which server a client sends, or None while it has none."""
        information = self.peers[name].client.information
        return None if information is None else self._name_of[information.relay.host]

    def registered(self) -> set[str]:
        """Returns the users whose clients are registered with the representative that runs."""
        states = {name: peer.client.establishment.state for name, peer in self.peers.items()}
        return {name for name, state in states.items() if state.value == "registered"}

    # -- time

    def run(self, seconds: float) -> None:
        """Lets time pass; what is due happens at its own time, in order."""
        end = self.now + round(seconds * SECOND)
        self._drain()
        while (due := self._next_due()) <= end:
            self.now = max(self.now, due)
            if self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()
            else:
                self._handle_timeouts()
            self._drain()
        self.now = end

    def _next_due(self) -> int:
        times = [
            due_of(one) if isinstance(one, Client) else one.next_timeout() for one in self._timed()
        ]
        due = [time for time in times if time is not None]
        return min(due + [event[0] for event in self._events[:1]])

    def _timed(self) -> Iterator[Timed]:
        if self.representative is not None:
            yield self.representative
        for server in self.servers.values():
            if server.running:
                yield from (server.relay, server.subscriber)
        for peer in self.peers.values():
            yield peer.client

    def _handle_timeouts(self) -> None:
        for one in self._timed():
            due = one.next_timeout()
            if due is not None and due <= self.now:
                one.handle_timeout(self.now)

    def _after(self, delay: int, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + delay, next(self._numbers), act))

    def _delay(self, one: str, other: str) -> int:
        return self.delays.get(frozenset((one, other)), MILLISECOND)

    # -- actions

    def _drain(self) -> None:
        acted = True
        while acted:
            acted = self._drain_representative()
            for server in self.servers.values():
                acted = self._drain_server(server) or acted
            for peer in self.peers.values():
                while (step := peer.client.next_action()) is not None:
                    self._act_for_client(peer, step)
                    acted = True

    def _drain_representative(self) -> bool:
        acted = False
        while self.representative is not None:
            action = self.representative.next_action()
            if action is None:
                break
            self._act_for_representative(self.representative, action)
            acted = True
        return acted

    def _act_for_representative(self, representative: Representative, action: object) -> None:
        if isinstance(action, management_actions.CheckCredentials):
            right = action.password.reveal() == password_of(action.user).encode()
            representative.management.credentials_checked(action.connection, right, self.now)
        elif isinstance(action, (SendTables, management_actions.SendMessage)):
            self._note(action.message)
            self._say(self._channels.get(action.connection), action.message, down=True)
        elif isinstance(action, (CloseServer, management_actions.CloseConnection)):
            channel = self._channels.get(action.connection)
            if channel is not None:
                delay = self._delay(REPRESENTATIVE, channel.end)
                self._after(delay, lambda: self.cut(channel))
        else:
            raise TypeError(f"what to do with {action}?")

    def _note(self, message: Message) -> None:
        if isinstance(message, messages.Registered):
            self.client_ids.append(message.client_id)
            given = (message.security_association, *message.older)
            self.given_out += [(one.spi, one.sender_id) for one in given]
        elif isinstance(message, messages.NewSecurityAssociation):
            one = message.security_association
            self.given_out.append((one.spi, one.sender_id))

    def _drain_server(self, server: ServerProcess) -> bool:
        if not server.running:
            return False
        acted = False
        server.subscriber.report()
        while (action := server.subscriber.next_action()) is not None:
            acted = True
            if isinstance(action, SendReport):
                self._say(server.channel, action.message, down=False)
            else:
                self.cut(server.channel)
        return acted

    def _act_for_client(self, peer: Peer, action: client_actions.Action) -> None:
        channel = self._channels.get(peer.connection or 0)
        if isinstance(action, client_actions.SendDatagram):
            self.transmit(Datagram(peer.address, action.destination, action.payload))
        elif isinstance(action, client_actions.DeliverFrame):
            peer.frames.append(action.frame)
        elif isinstance(action, client_actions.SendMessage):
            self._say(channel, action.message, down=False)
        elif isinstance(action, client_actions.Joined):
            peer.joined += 1
        elif isinstance(action, client_actions.Rejected):
            peer.refusals.append(action.refusal)
        elif isinstance(action, client_actions.CloseChannel) and channel is not None:
            self._after(self._delay(REPRESENTATIVE, peer.name), lambda: self.cut(channel))

    # -- channels

    def _open_server(self, server: ServerProcess) -> None:
        if self.servers[server.name] is not server or not (server.running and server.reachable):
            return
        if self.representative is None or server.channel is not None:
            return
        server.channel = self._channel(None, server)
        assert self.representative.server_connected(server.channel.number, server.name, self.now)
        server.subscriber.channel_opened(self.now)

    def _open_client(self, name: str) -> None:
        peer = self.peers[name]
        if name not in self.wanted or self.representative is None or peer.connection is not None:
            return
        channel = self._channel(peer, None)
        peer.connection = channel.number
        self.representative.management.connection_made(channel.number, peer.address.host, self.now)
        peer.client.channel_opened(self.now)

    def _channel(self, client: Peer | None, server: ServerProcess | None) -> Channel:
        channel = Channel(next(self._numbers), client, server)
        self._channels[channel.number] = channel
        return channel

    def _say(self, channel: Channel | None, message: Message, *, down: bool) -> None:
        if channel is None or not channel.open:
            return
        octets = pack(message)
        arrive = self._arrive_down if down else self._arrive_up
        self._after(
            self._delay(REPRESENTATIVE, channel.end),
            lambda: arrive(channel, octets) if channel.open else None,
        )

    def _arrive_up(self, channel: Channel, octets: bytes) -> None:
        assert self.representative is not None
        channel.to_representative.append(octets)
        while (body := channel.to_representative.next_body()) is not None:
            if channel.client is not None:
                said = messages.parse_from_client(body)
                self.representative.management.receive_message(channel.number, said, self.now)
            else:
                told = table_messages.parse_from_vpn_server(body)
                self.representative.server_message(channel.number, told, self.now)

    def _arrive_down(self, channel: Channel, octets: bytes) -> None:
        channel.from_representative.append(octets)
        while (body := channel.from_representative.next_body()) is not None:
            if channel.client is not None:
                said = messages.parse_from_server(body)
                channel.client.client.receive_message(said, self.now)
            elif channel.server is not None:
                told = table_messages.parse_from_representative(body)
                channel.server.subscriber.receive_message(told, self.now)

    # -- datagrams

    def transmit(self, datagram: Datagram) -> None:
        """Puts a datagram on the network."""
        self.datagrams += not is_binding(datagram.payload)
        over = self.datagram_limit is not None and self.datagrams > self.datagram_limit
        if over or not self.on_datagram(datagram):
            return
        between = (
            self._name_of.get(one.host, "") for one in (datagram.source, datagram.destination)
        )
        self._after(self._delay(*between), lambda: self._arrive(datagram))

    def _arrive(self, datagram: Datagram) -> None:
        name = self._name_of.get(datagram.destination.host, "")
        server = self.servers.get(name)
        if server is None:
            for peer in self.peers.values():
                if peer.address == datagram.destination:
                    peer.client.receive_datagram(datagram.payload, datagram.source, self.now)
            return
        if not server.running:
            return
        server.received += 1
        verdict = server.relay.receive_datagram(datagram.payload, datagram.source, self.now)
        if not isinstance(verdict, Forward):
            server.drops[verdict.reason.value] += 1
            return
        for to in verdict.destinations:
            octets = bytes(to.copy_of(datagram.payload))
            self.transmit(Datagram(server.address, to.address, octets))
        for payload, address in server.relay.bindings.take_answers():
            self.transmit(Datagram(server.address, address, payload))

    # -- making

    def _server_process(self, name: str, address: Address) -> ServerProcess:
        kind = TaggedRelay if self.hop_tags else Relay
        relay = kind(mac_lifetime=self._lifetime, split_horizon=self._split_horizon)
        return ServerProcess(name, address, relay, Subscriber(relay, start=self.now))

    def _peer(self, name: str, index: int) -> Peer:
        secret = Secret(password_of(name).encode())
        information = AuthenticationInformation(name, secret, self.vpn_of[name])
        address = Address(client_address(index, 6), DATA_PORT)
        return Peer(name, Client(information, address.port, self._lifetime, listening=0), address)


def relay_state(relay: Relay) -> tuple[object, ...]:
    """Returns all that a relay holds of the representative's tables, so that two states compare."""
    return (
        {row.vpn_id: (row.multicast_address, row.spis) for row in relay.multicast_addresses.rows()},
        {
            one.client_id: (one, one.hop_keys)
            for _, members in relay.unicast_groups.rows()
            for one in members
        },
        {
            hop.name: (hop, hop.send_key, hop.hop_keys, vpn_ids)
            for hop, vpn_ids in relay.next_hops.rows()
        },
        {station: member.client_id for station, member in relay.stations.elsewhere()},
    )


def published_state(world: ServersWorld, name: str) -> tuple[object, ...]:
    """Returns what the representative says that a server holds, in the shape of :func:`relay_state`."""
    assert world.representative is not None
    relay = Relay()
    subscriber = Subscriber(relay, 1)
    rows = world.representative.publisher.tables(name).rows()
    whole = table_messages.Snapshot(1, 1, rows, Secret(bytes(16)), reports=False, grace=0)
    subscriber.receive_message(whole, 0)
    assert not subscriber.ignored
    return relay_state(relay)
