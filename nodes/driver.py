"""What stands between a client's protocol and its machine: LAN, sockets, timer, and what is to be done.

Patent: Fig. 3-2; steps 801, 810.
"""

from __future__ import annotations

import asyncio
from typing import Any

from nodes import client_view, interface
from nodes.channel import Channel
from nodes.clock import Timer, now
from nodes.counter_file import CounterFile
from nodes.datagram_queue import DatagramQueue
from nodes.lan import Lan
from nodes.membership import Membership
from nodes.process import complain
from nodes.tap_lan import TapLan
from protocol.client import Client
from protocol.client.actions import (
    Action,
    Announce,
    CloseChannel,
    DeliverFrame,
    DeliverFrames,
    Joined,
    JoinGroup,
    LeaveGroup,
    Rejected,
    SendClaim,
    SendDatagram,
    SendDatagrams,
    SendMessage,
    SendPacket,
    StandBy,
)
from protocol.errors import WireError
from protocol.types import FrameRun, IpAddress
from protocol.wire import ethernet
from protocol.wire.messages import Refused, parse_from_server

PROGRAM = "blindrelay client"
BATCH = 128
"""Frames or datagrams that are sent on together, those of the last read beyond it."""
DATAGRAMS = 160
"""The same for datagrams: more than another client makes of a batch, whose last few are dear alone."""
ROUNDS = 3
"""So many batches are taken for one wake-up: what they share is in the caches from the second on."""

_HEADER = slice(ethernet.HEADER_LENGTH)


class Driver:
    """Drives one :class:`Client`; ``ended`` is set when it cannot or need not go on."""

    def __init__(
        self, client: Client, lan: Lan, udp: DatagramQueue, outside_interface: str | None = None
    ) -> None:
        self.client = client
        self.ended = asyncio.Event()
        self.refusal: Refused | None = None
        self.failure: OSError | interface.LanError | None = None
        self.lan_gone = False
        self.channel: Channel | None = None
        self.channel_down = asyncio.Event()
        self.counter_file: CounterFile | None = None
        self._lan = lan
        self._to_lan: list[FrameRun] = []
        self._udp = udp
        self._membership = Membership(udp.host, outside_interface, self._multicast_readable)
        self._errors_seen = 0
        self._loop = asyncio.get_running_loop()
        self._timer = Timer(self._loop, self._time_out)

    def start(self) -> None:
        """Begins to listen to the LAN and the outside."""
        self._loop.add_reader(self._lan.fileno(), self._lan_readable)
        self._loop.add_reader(self._udp.fileno(), self._udp_readable)
        self.act()

    def stop(self) -> None:
        """Listens no more, and closes what it has opened itself."""
        self._loop.remove_reader(self._lan.fileno())
        self._loop.remove_reader(self._udp.fileno())
        self._membership.leave()
        if self.counter_file is not None:
            self.counter_file.close()

    def snapshot(self) -> dict[str, Any]:
        """Returns tables and counters for the status."""
        client = self.client
        return {
            "tables": client_view.client_tables(client, now()),
            "counters": {
                **client_view.client_counters(client),
                "datagrams_refused_by_network": self._udp.refused,
                "packets_refused_by_network": self._membership.refused,
                **{f"lan_{name}": value for name, value in self._lan.counters().items()},
            },
            "process": client_view.process_view(client),
        }

    # -- the LAN and the outside

    def _lan_readable(self) -> None:
        """Takes waiting frames of the LAN (step 801)."""
        for _ in range(ROUNDS):
            more = self._take_frames()
            self.act()
            if not more:
                break

    def _take_frames(self) -> bool:
        """Takes a batch, neighbours with the same header together; tells whether more may wait."""
        time, taken = now(), 0
        alike: list[bytes] = []
        while taken < BATCH:
            frames = self._lan.receive()
            if frames is None:
                self._watch_lan()
                break
            taken += len(frames) or 1
            if alike and frames and frames[0][_HEADER] != alike[0][_HEADER]:
                self.client.receive_frames(alike, time)
                alike = []
            alike += frames
        self.client.receive_frames(alike, time)
        return taken >= BATCH

    def _udp_readable(self) -> None:
        """Takes waiting datagrams (step 810)."""
        for _ in range(ROUNDS):
            more = self._take_datagrams()
            self.act()
            if not more:
                break

    def _take_datagrams(self) -> bool:
        """Takes a batch; tells whether more may wait."""
        taken = 0
        while taken < DATAGRAMS:
            received = self._udp.receive(DATAGRAMS - taken)
            if received is None:
                break
            # its own time: a probe's round trip must not bear what was done for those before it
            octets, size, source, last = received
            self.client.receive_datagrams(octets, size, source, now())
            taken += len(octets) // (size or 1) or 1
            if last:
                return False
        return taken >= DATAGRAMS

    def _multicast_readable(self) -> None:
        """Takes waiting packets of the group (step 810)."""
        time = now()
        for _ in range(BATCH):
            received = self._membership.receive()
            if received is None:
                break
            self.client.receive_packet(received.packet, received.destination, time)
        self.act()

    def _watch_lan(self) -> None:
        """Ends the process when its LAN interface is gone: nothing can be forwarded any more."""
        if self._lan.receive_errors != self._errors_seen:
            self._errors_seen = self._lan.receive_errors
            if self._lan.gone:
                self.lan_gone = True
                self.ended.set()

    # -- the control channel

    def channel_opened(self, channel: Channel) -> None:
        """Registers."""
        self.channel = channel
        self.client.channel_opened(now())
        self.act()

    def body_received(self, channel: Channel, body: bytes) -> None:
        """Hands the server's message to the client."""
        try:
            self.client.receive_message(parse_from_server(body), now())
        except WireError as error:
            self.stream_broken(channel, str(error))
        self.act()

    def stream_broken(self, channel: Channel, detail: str) -> None:
        """Ends a channel whose octets are no message."""
        complain(PROGRAM, f"server {channel.peer}: {detail}")
        channel.close()

    def channel_lost(self, channel: Channel) -> None:
        """Notes that the channel is gone."""
        self.channel = None
        self.client.channel_lost(now())
        self.channel_down.set()
        self.act()

    # -- what the client wants done

    def act(self) -> None:
        """Does all that the client has to be done, sends what waits, and arms the timer."""
        while (action := self.client.next_action()) is not None:
            self._do(action)
        self._udp.flush()
        if self._to_lan:
            runs, self._to_lan = self._to_lan, []
            self._lan.send_all(runs)
        self._timer.set(self.client.next_timeout())

    def _do(self, action: Action) -> None:
        if isinstance(action, SendDatagrams):
            self._udp.send_all(action.batch, action.destination)
        elif isinstance(action, DeliverFrames):
            self._to_lan += action.runs
        elif isinstance(action, SendDatagram):
            self._udp.send(action.payload, action.destination)
        elif isinstance(action, SendPacket):
            self._membership.send(action.packet, action.destination)
        elif isinstance(action, (DeliverFrame, SendClaim, Announce)):
            if self._to_lan:
                self._to_lan.append(FrameRun.of(action.frame))
            else:
                self._lan.send(action.frame)
        elif isinstance(action, JoinGroup):
            self._join(action.multicast_address)
        elif isinstance(action, LeaveGroup):
            self._membership.leave()
        elif isinstance(action, SendMessage):
            if self.channel is not None:
                self.channel.send(action.message)
        elif isinstance(action, CloseChannel):
            if self.channel is not None:
                self.channel.close()
        elif isinstance(action, Joined):
            self._joined(action.lan_mtu)
        elif isinstance(action, StandBy):
            self._say_who_forwards(action)
        elif isinstance(action, Rejected):
            self.refusal = action.refusal
            self.ended.set()

    def _join(self, multicast_address: IpAddress) -> None:
        """Joins the group; ends the process when it may not."""
        try:
            self._membership.join(multicast_address)
        except OSError as error:
            self.failure = error
            self.ended.set()

    def _joined(self, mtu: int) -> None:
        """Says so, and tells the host's own device; ends the process when that has gone meanwhile."""
        information = self.client.information
        assert information is not None
        if isinstance(self._lan, TapLan):
            try:
                interface.set_mtu(self._lan.interface, mtu)
            except interface.LanError as error:
                self.failure = error
                self.ended.set()
                return
        print(
            f"{PROGRAM}: joined VPN {information.vpn_id} as client {information.client_id}, "
            f"LAN MTU {mtu}",
            flush=True,
        )

    def _say_who_forwards(self, action: StandBy) -> None:
        """Says that another client is on the LAN, and which of them forwards for it."""
        who = "this client" if action.forwarder is None else f"client {action.forwarder}"
        print(f"{PROGRAM}: LAN {self._lan.interface}: {who} forwards", flush=True)

    def _time_out(self) -> None:
        self.client.handle_timeout(now())
        association = self.client.associations.sealing
        if self.counter_file is not None and association is not None:
            self.counter_file.extend(association)
        self.act()
