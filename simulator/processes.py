"""The processes of a world: each drives protocol objects as its namesake in a real process does.

Every one takes what arrives, does all that the objects want done, and arms one timer. A process that
crashes takes its memory with it; a new one is made in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from protocol.client import Client
from protocol.client import actions as client_actions
from protocol.client.loop_protection import SILENCE
from protocol.client.tables import AuthenticationInformation
from protocol.distribution.subscriber import NOTHING, SendReport, Subscriber
from protocol.errors import WireError
from protocol.relay import Forward, Relay, TaggedRelay
from protocol.types import SECOND, Address, IpAddress, Secret, VpnId
from protocol.wire import claim, esp, messages, table_messages
from protocol.wire.binding import BINDING, is_binding
from protocol.wire.codec import Message, MessageBuffer, pack
from protocol.wire.probe import LENGTH as PROBE_LENGTH
from protocol.wire.probe import PROBE
from simulator.channels import Channel
from simulator.packets import UDP, Packet, address_of
from topologies.plan import Node

if TYPE_CHECKING:
    from simulator.world import World

FIRST_PAUSE = SECOND // 4
LONGEST_PAUSE = 10 * SECOND
LONGEST_REPORTER_PAUSE = SECOND
"""ns before a control channel is tried again: doubled each time."""
HELD = 200
"""Frames, and packets, that wait for a client that does nothing; what comes then is lost."""


class Timed(Protocol):
    """What has a timer."""

    def next_timeout(self) -> int | None:
        """Returns when it is due."""

    def handle_timeout(self, now: int) -> None:
        """Does what is due."""


class Process:
    """What all processes have in common: a host, a timer, an end."""

    def __init__(self, world: World, node: Node) -> None:
        self.running = True
        self.name = node.name
        self.world = world
        self.engine = world.engine
        self.address = world.plan.data_address(node.name)
        self.port = world.settings.data_ports.get(node.name, world.settings.data_port)
        self._armed: int | None = None

    @property
    def now(self) -> int:
        """The time, in ns."""
        return self.engine.now

    def timed(self) -> Iterator[Timed]:
        """Yields what has a timer."""
        yield from ()

    def act(self) -> None:
        """Does all that is to be done, and arms the timer."""
        self.drain()
        times = [time for one in self.timed() if (time := one.next_timeout()) is not None]
        due = min(times, default=None)
        if due is not None and (self._armed is None or due < self._armed):
            self._armed = max(due, self.now)
            self.engine.at(self._armed, self._time_out, self._armed)

    def drain(self) -> None:
        """Does all that the protocol's objects want done."""

    def crash(self) -> None:
        """Ends at once, memory and all."""
        self.running = False

    def send_datagram(self, payload: bytes, destination: Address) -> None:
        """Sends a datagram from the data port."""
        ports = (self.port, destination.port)
        packet = Packet(self.address, address_of(destination.host), UDP, payload, ports)
        self.world.network.send(self.name, packet)

    def note(self, event: str, octets: bytes = b"") -> None:
        """Notes an event of this process in the world's trace."""
        self.world.trace.note(self.now, self.name, event, octets)

    def _time_out(self, armed: int) -> None:
        if not self.running or armed != self._armed:
            return
        self._armed = None
        for one in self.timed():
            due = one.next_timeout()
            if due is not None and due <= self.now:
                one.handle_timeout(self.now)
        self.act()


class Connecting(Process):
    """A process that keeps a control channel to a server open."""

    kind = "client"
    longest_pause = LONGEST_PAUSE

    def __init__(self, world: World, node: Node, server: str) -> None:
        super().__init__(world, node)
        self.channel: Channel | None = None
        self._server = server
        self._buffer = MessageBuffer(table_messages.MAXIMUM_LENGTH)
        self._pause = FIRST_PAUSE

    def connect(self) -> None:
        """Opens the channel, and goes on trying."""
        if self.running and self.channel is None:
            self.world.exchange.connect(self, self.name, self._server, self.kind)

    def channel_refused(self) -> None:
        """Tries again later."""
        self.engine.after(self._pause, self.connect)
        self._pause = min(2 * self._pause, self.longest_pause)

    def channel_opened(self, channel: Channel) -> None:
        """Takes the channel."""
        self.channel, self._pause = channel, FIRST_PAUSE
        self._buffer = MessageBuffer(table_messages.MAXIMUM_LENGTH)

    def octets_received(self, channel: Channel, octets: bytes) -> None:
        """Cuts what was received into messages."""
        self.note("told", octets)
        self._buffer.append(octets)
        try:
            while self.channel is channel and (body := self._buffer.next_body()) is not None:
                self.body_received(body)
        except WireError:
            channel.close(self)
        self.act()

    def body_received(self, body: bytes) -> None:
        """Takes one message."""

    def channel_lost(self, channel: Channel) -> None:
        """Tries again, unless the process is to have no channel any more."""
        if self.channel is channel:
            self.channel = None
            self.engine.after(self._pause, self.connect)

    def say(self, message: Message) -> None:
        """Sends a message, if there is a channel."""
        if self.channel is not None:
            self.channel.send(self, pack(message))

    def close(self) -> None:
        """Ends the channel."""
        if self.channel is not None:
            self.channel.close(self)

    def crash(self) -> None:
        """Ends; the server is told that the channel is gone."""
        super().crash()
        if self.channel is not None:
            self.channel.crash(self)


class ClientProcess(Connecting):
    """A VPN client.

    Patent: Fig. 3-2.
    """

    def __init__(self, world: World, node: Node, server: str) -> None:
        super().__init__(world, node, server)
        assert node.user is not None
        assert node.vpn_id is not None
        password = Secret(world.password_of(node.user))
        authentication = AuthenticationInformation(node.user, password, VpnId(node.vpn_id))
        self.client = Client(authentication, self.port)
        self.groups: set[IpAddress] = set()
        self.wanted = True
        """Whether it is to be in its group."""
        self.refusals: list[messages.Refused] = []
        self.taken = 0
        """Frames of the LAN and packets of the group that the client was given."""
        self.opening = b""
        """The packet that the client was given last."""
        self._frame = b""
        self.stalled_at = 0
        """When it last went on after it had stood still, but not for so long that others took over."""
        self._held: list[tuple[Callable[..., None], tuple[Any, ...]]] | None = None
        self._paused_at = 0

    @property
    def paused(self) -> bool:
        """Whether the process does nothing, as one that was stopped."""
        return self._held is not None

    def pause(self) -> None:
        """Does nothing from now on: what comes waits."""
        if self._held is None:
            self._held, self._paused_at = [], self.now

    def resume(self) -> None:
        """Takes what has waited: sockets first, then timers."""
        held, self._held = self._held or [], None
        if self.now - self._paused_at < SILENCE:
            self.stalled_at = self.now
        timers = [one for one in held if one[0] == self._time_out]
        for act, arguments in [one for one in held if one not in timers] + timers:
            if self.running:
                act(*arguments)

    def _hold(self, act: Callable[..., None], *arguments: Any) -> bool:
        """Has a call wait while the process does nothing; False when it does not."""
        if self._held is None:
            return False
        sockets = (self.receive_frame, self.receive_packet)
        if act not in sockets or sum(one == act for one, _ in self._held) < HELD:
            self._held.append((act, arguments))
        return True

    def _time_out(self, armed: int) -> None:
        if not self._hold(self._time_out, armed):
            super()._time_out(armed)

    @property
    def registered(self) -> bool:
        """Whether the client is in its group, as far as it knows, and knows who forwards for its LAN."""
        return self.client.registered

    def timed(self) -> Iterator[Timed]:
        """Yields the client."""
        yield self.client

    def connect(self) -> None:
        """Opens the channel, if the client is to be in its group."""
        if self.wanted:
            super().connect()

    def leave(self) -> None:
        """Leaves the group in good order."""
        self.wanted = False
        self.client.leave(self.now)
        self.act()

    def channel_opened(self, channel: Channel) -> None:
        """Registers."""
        if self._hold(self.channel_opened, channel):
            return
        super().channel_opened(channel)
        self.client.channel_opened(self.now)
        self.act()

    def octets_received(self, channel: Channel, octets: bytes) -> None:
        """Takes messages of the server."""
        if not self._hold(self.octets_received, channel, octets):
            super().octets_received(channel, octets)

    def channel_lost(self, channel: Channel) -> None:
        """Tells the client, and tries again."""
        if self._hold(self.channel_lost, channel):
            return
        if self.channel is channel:
            self.client.channel_lost(self.now)
        super().channel_lost(channel)
        self.act()

    def body_received(self, body: bytes) -> None:
        """Hands the server's message on."""
        self.client.receive_message(messages.parse_from_server(body), self.now)
        self.drain()

    def receive_frame(self, frame: bytes) -> None:
        """Takes a frame of the LAN (step 801)."""
        if not self.running or self._hold(self.receive_frame, frame):
            return
        self.note("frame", frame)
        self._frame = frame
        self.taken += 1
        self.client.receive_frame(frame, self.now)
        self.act()
        self._frame = b""

    def receive_packet(self, packet: Packet) -> None:
        """Takes a packet from outside (step 810)."""
        if self._hold(self.receive_packet, packet):
            return
        self.note("packet", packet.payload)
        self.opening = packet.payload
        if packet.protocol == UDP and packet.ports[1] == self.port:
            self.taken += not (is_probe(packet.payload) or is_binding(packet.payload))
            self.client.receive_datagram(packet.payload, packet.sender(), self.now)
        elif packet.protocol == esp.NEXT_HEADER and packet.destination in self.groups:
            self.taken += 1
            self.client.receive_packet(packet.payload, packet.destination, self.now)
        self.act()

    def drain(self) -> None:
        """Does what the client wants done."""
        while (action := self.client.next_action()) is not None:
            self._do(action)

    def _do(self, action: client_actions.Action) -> None:
        if isinstance(action, client_actions.SendDatagram):
            if action.payload[0] not in (PROBE, BINDING):
                self.world.observer.sealed(self, self._frame, action.payload)
            self.send_datagram(action.payload, action.destination)
        elif isinstance(action, client_actions.SendPacket):
            self.world.observer.sealed_packet(self, self._frame, action.packet)
            packet = Packet(self.address, action.destination, esp.NEXT_HEADER, action.packet)
            self.world.network.send(self.name, packet)
        elif isinstance(action, client_actions.DeliverFrame):
            self.world.observer.opened(self, action.frame)
            self.world.lan_of[self.name].send(self.name, action.frame)
        elif isinstance(action, client_actions.SendClaim):
            self.world.observer.claimed(self, claim.packet_of(action.frame))
            self.world.lan_of[self.name].send(self.name, action.frame)
        elif isinstance(action, client_actions.Announce):
            self.world.lan_of[self.name].send(self.name, action.frame)
        elif isinstance(action, client_actions.JoinGroup):
            self.groups.add(action.multicast_address)
        elif isinstance(action, client_actions.LeaveGroup):
            self.groups.discard(action.multicast_address)
        elif isinstance(action, client_actions.SendMessage):
            self.say(action.message)
        elif isinstance(action, client_actions.CloseChannel):
            self.close()
        elif isinstance(action, client_actions.Rejected):
            self.refusals.append(action.refusal)
            self.wanted = False


@dataclass
class DataPort:
    """What relays: a datagram in, its copies out."""

    process: Process
    relay: Relay
    taken: int = 0
    copies: int = 0
    """Datagrams in and out, probes and their echoes among them; answers to bindings are not."""

    def receive(self, packet: Packet) -> None:
        """Takes a datagram (step 709), and sends what the relay decides (step 719)."""
        process, world = self.process, self.process.world
        if packet.protocol != UDP or packet.ports[1] != process.port:
            return
        process.note("datagram", packet.payload)
        self.taken += 1
        world.observer.at_relay(process.name, packet.payload)
        verdict = self.relay.receive_datagram(packet.payload, packet.sender(), process.now)
        if isinstance(verdict, Forward):
            for destination in verdict.destinations:
                self.copies += 1
                copy = bytes(destination.copy_of(packet.payload))
                process.send_datagram(copy, destination.address)
        for payload, to in self.relay.bindings.take_answers():
            process.send_datagram(payload, to)
        process.act()


def is_probe(payload: bytes) -> bool:
    """Tells whether a client takes a payload for the answer to a probe."""
    return len(payload) == PROBE_LENGTH and payload[0] == PROBE


def relay_of(world: World) -> Relay:
    """Makes a relay as the world's settings have it."""
    kind = TaggedRelay if world.settings.hop_tags else Relay
    return kind(world.settings.strip, split_horizon=world.settings.split_horizon)


class RelayProcess(Connecting):
    """A VPN server that only relays.

    Patent: Fig. 15 parts 1502, 1503.
    """

    kind = "server"
    longest_pause = LONGEST_REPORTER_PAUSE

    def __init__(self, world: World, node: Node, server: str) -> None:
        super().__init__(world, node, server)
        self.relay = relay_of(world)
        self.subscriber = Subscriber(self.relay, start=self.now)
        self.data_port = DataPort(self, self.relay)

    @property
    def serving(self) -> bool:
        """Whether it has tables."""
        return self.subscriber.epoch != NOTHING

    def timed(self) -> Iterator[Timed]:
        """Yields relay and subscriber."""
        yield self.relay
        yield self.subscriber

    def channel_opened(self, channel: Channel) -> None:
        """Greets the representative."""
        super().channel_opened(channel)
        self.subscriber.channel_opened(self.now)
        self.act()

    def channel_lost(self, channel: Channel) -> None:
        """Tells the subscriber, and tries again."""
        if self.channel is channel:
            self.subscriber.channel_lost(self.now)
        super().channel_lost(channel)
        self.act()

    def body_received(self, body: bytes) -> None:
        """Hands the representative's message on."""
        self.world.observer.told_relay(self.name, body)
        message = table_messages.parse_from_representative(body)
        self.subscriber.receive_message(message, self.now)
        self.drain()

    def drain(self) -> None:
        """Reports stations, and does what the subscriber wants done."""
        self.subscriber.report()
        while (action := self.subscriber.next_action()) is not None:
            if isinstance(action, SendReport):
                self.say(action.message)
            else:
                self.close()
