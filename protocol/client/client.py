"""The VPN client as a driver sees it: frames, datagrams, messages and times in; actions out.

Path of a frame: the driver gives a frame of the LAN to :meth:`Client.receive_frame`; ``Transfer.seal``
makes it a datagram for the relay. At the other clients :meth:`Client.receive_datagram` takes the
datagram, ``Transfer.open`` checks and opens it, and the driver puts the frame on the LAN.

Patent: Fig. 3-1 parts 102-104; Fig. 3-2; claims 6-9.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence

from protocol.client.actions import (
    Action,
    Announce,
    DeliverFrame,
    DeliverFrames,
    Joined,
    SendDatagram,
    SendDatagrams,
    SendPacket,
)
from protocol.client.establishment import Establishment, State
from protocol.client.loop_protection import LISTENING, LoopProtection
from protocol.client.tables import (
    AuthenticationInformation,
    SaManagementTable,
    Side,
    VpnInformation,
)
from protocol.client.transfer import Transfer
from protocol.errors import DropReason
from protocol.security_association import SecurityAssociation
from protocol.types import SECOND, FrameRun, IpAddress
from protocol.wire import claim
from protocol.wire.binding import BINDING, is_binding
from protocol.wire.claim import Claim, Standing, is_claim
from protocol.wire.ethernet import HEADER_LENGTH
from protocol.wire.messages import Refused, ServerMessage
from protocol.wire.probe import LENGTH as PROBE_LENGTH
from protocol.wire.probe import PROBE

SWEEP_INTERVAL = 5 * SECOND
FEWEST_TOGETHER = 4
"""Fewer frames or datagrams than these cost less one by one."""
_ANSWERS = frozenset((PROBE, BINDING))
"""What datagrams begin with in which a relay answers the client itself."""
_ON_BOTH_SIDES = frozenset((DropReason.STATION_SEEN_HERE, DropReason.STATION_SEEN_OUTSIDE))


class Client:
    """One member of one VPN group."""

    def __init__(
        self,
        authentication: AuthenticationInformation,
        data_port: int,
        mac_lifetime: int = 3600 * SECOND,
        hold_down: int = SECOND,
        listening: int = LISTENING,
    ) -> None:
        """Takes table 310, the own UDP port, the times of table 311 and how long a start listens, in ns."""
        self.associations = SaManagementTable()
        self.transfer = Transfer(self.associations, mac_lifetime, hold_down)
        self.drops: Counter[DropReason] = Counter()
        self.frames_sealed = 0
        self.frames_cut = 0
        """Of these, how many were sent in pieces."""
        self.frames_delivered = 0
        self._actions: deque[Action] = deque()
        self._joined: Joined | None = None
        self.establishment = Establishment(authentication, data_port, self.associations, self._act)
        self.loop_protection = LoopProtection(
            self.associations, self.transfer, self._actions.append, self._show, listening
        )
        self._next_sweep = 0
        self._due: int | None = None
        """When something is due, unless that is to be worked out anew: it is asked for every frame."""

    @property
    def information(self) -> VpnInformation | None:
        """Table 309, once the client is registered or has SAs set by hand."""
        return self.establishment.information

    def configure(self, information: VpnInformation, association: SecurityAssociation) -> None:
        """Takes table 309 and the SA as set by hand, without a registration."""
        self.establishment.information = information
        self.associations.replace_all(association)
        self._due = None

    @property
    def registered(self) -> bool:
        """Whether the client is in its group, and knows who forwards for its LAN."""
        return self.establishment.state is State.REGISTERED and not self.loop_protection.undecided

    # -- the control channel

    def channel_opened(self, now: int) -> None:
        """Tells that the control channel is open: the client registers."""
        self.establishment.channel_opened(now)
        self._due = None

    def channel_lost(self, now: int) -> None:
        """Tells that the control channel is gone."""
        self.establishment.channel_lost(now)
        self._claim(now)

    def receive_message(self, message: ServerMessage, now: int) -> None:
        """Takes a message of the server."""
        if isinstance(message, Refused):
            self._yield(now)
        before = self.information
        self.establishment.receive_message(message, now)
        self._claim(now)
        after = self.information
        if before is not None and after is not None and before.relay != after.relay:
            self.loop_protection.moved(now)

    def leave(self, now: int) -> None:
        """Leaves the group."""
        self._yield(now)
        self.establishment.leave(now)
        self._claim(now)

    # -- other clients on the LAN

    def _claim(self, now: int, yields: bool = False) -> None:
        """Claims to forward for the LAN by what the client is in its group now."""
        self._due = None
        information = self.information
        if information is None:
            self._joined = None
            self.loop_protection.become(None, now)
            return
        state, sealing = self.establishment.state, self.associations.sealing
        if yields or state is State.LEFT or sealing is None or sealing.is_exhausted:
            standing = Standing.YIELDS
        else:
            standing = Standing.REGISTERED if state is State.REGISTERED else Standing.APART
        self.loop_protection.become(Claim(standing, information.client_id), now)
        self._say_joined()

    def _say_joined(self) -> None:
        """Says that the client is in its group, once it knows who forwards: frames can flow then."""
        if self._joined is not None and not self.loop_protection.undecided:
            self._actions.append(self._joined)
            self._joined = None

    def _act(self, action: Action) -> None:
        """Takes what establishment wants done."""
        if isinstance(action, Joined):
            self._joined = action
        else:
            self._actions.append(action)

    def _show(self, now: int) -> None:
        """Shows the relay where the client is, before it announces what is behind it."""
        if self.establishment.bindings is not None:
            self.establishment.bindings.show(now)

    def _watch(self, now: int) -> None:
        """Looks whether the client may still forward, before it does: it may have been stopped for long."""
        if now >= self.loop_protection.lapses:
            self._due = None
            self.loop_protection.lapse(now)

    def _look_for_rounds(self, frame: bytes, now: int) -> None:
        """Asks who else forwards, if a frame that is sent on seems to go round."""
        if self.loop_protection.comes_again(frame, now):
            self._due = None
            self.loop_protection.suspect(now)

    def _drop(self, reason: DropReason, now: int) -> None:
        """Counts what is not sent or delivered; who sees a station on both sides asks who else forwards."""
        self.drops[reason] += 1
        if reason in _ON_BOTH_SIDES:
            self._due = None
            self.loop_protection.suspect(now)

    def _announce(self, stations: Iterable[tuple[bytes, Side]]) -> None:
        """Has relays learn stations of the LAN, and the LAN's bridges those outside."""
        information = self.information
        for station, side in stations:
            if side is Side.OUTSIDE:
                self._actions.append(Announce(claim.announcement(station)))
            elif information is not None and information.delivery == "relay":
                payload = self.transfer.seal_announcement(station, information)
                if isinstance(payload, bytes):
                    self._actions.append(SendDatagram(payload, information.relay))

    def _yield(self, now: int) -> None:
        """Says on the LAN that another is to forward, while there is a key to say it with."""
        self._claim(now, yields=True)
        self.loop_protection.handle_timeout(now)

    # -- frames and datagrams

    def receive_frame(self, frame: bytes, now: int) -> None:
        """Takes a frame that the LAN sent (step 801); it is sent as the server has said, or dropped.

        A SendDatagram to the relay follows, or a SendPacket to the group, or a counted drop; several
        for a frame above the LAN MTU.

        Patent: Fig. 8-1 steps 801, 808, 809; Fig. 14.
        """
        information = self.information
        if information is None:
            self.drops[DropReason.NOT_REGISTERED] += 1
            return
        self._watch(now)
        if is_claim(frame):
            self._claim(now)
            refused = self.loop_protection.receive_frame(frame, now)
            if refused is not None:
                self.drops[refused] += 1
            self._say_joined()
            return
        multicast = information.delivery == "multicast"
        seal = self.transfer.seal_packet if multicast else self.transfer.seal
        sealed = seal(frame, information, now)
        if sealed is DropReason.FRAME_TOO_LARGE:
            self._look_for_rounds(frame, now)
            self._send_pieces(frame, information)
            return
        if isinstance(sealed, DropReason):
            self._drop(sealed, now)
            return
        self._look_for_rounds(frame, now)
        self.frames_sealed += 1
        if multicast:
            self._actions.append(SendPacket(sealed, information.multicast_address))
        else:
            self._actions.append(SendDatagram(sealed, information.relay))  # 809

    def receive_frames(self, frames: Sequence[bytes], now: int) -> None:
        """Takes frames of one station to the same destination, as they are cut from a large one.

        As `receive_frame` for each, but one SendDatagrams follows for all of one length.
        """
        information = self.information
        if (
            len(frames) < FEWEST_TOGETHER
            or information is None
            or information.delivery == "multicast"
            or is_claim(frames[0])
            or max(map(len, frames)) > information.lan_mtu + HEADER_LENGTH
        ):
            for frame in frames:
                self.receive_frame(frame, now)
            return
        self._watch(now)
        for sealed in self.transfer.seal_run(frames, information, now):
            if isinstance(sealed, DropReason):
                self._drop(sealed, now)
            else:
                self.frames_sealed += sealed.datagrams
                self._actions.append(SendDatagrams(sealed, information.relay))  # 809

    def _send_pieces(self, frame: bytes, information: VpnInformation) -> None:
        """Sends a frame above the LAN MTU in pieces."""
        sealed = self.transfer.seal_pieces(frame, information)
        if isinstance(sealed, DropReason):
            self.drops[sealed] += 1
            return
        self.frames_sealed += 1
        self.frames_cut += 1
        for one in sealed:
            if information.delivery == "multicast":
                self._actions.append(SendPacket(one, information.multicast_address))
            else:
                self._actions.append(SendDatagram(one, information.relay))

    def receive_datagram(self, payload: bytes, source: tuple[str, int], now: int) -> None:
        """Takes a datagram (step 810); a DeliverFrame follows, or a counted drop.

        Patent: Fig. 8-2 steps 810, 820.
        """
        if len(payload) == PROBE_LENGTH and payload[0] == PROBE:
            self._receive_probe(payload, source, now)
            return
        if is_binding(payload):
            self._receive_binding(payload, source, now)
            return
        information = self.information
        reason = self._why_not_opened(source)
        if information is None or reason is not None:
            self.drops[reason or DropReason.NOT_REGISTERED] += 1
            return
        self._watch(now)
        self._deliver(self.transfer.open(payload, information, now), now)

    def receive_datagrams(
        self, octets: memoryview, size: int, source: tuple[str, int], now: int
    ) -> None:
        """Takes datagrams of one source behind each other, all of ``size`` but the last, may it be shorter.

        As `receive_datagram` for each, but one DeliverFrames follows for all. ``octets`` may be
        overwritten afterwards.
        """
        information = self.information
        if (
            information is None
            or len(octets) <= (FEWEST_TOGETHER - 1) * size
            or self._why_not_opened(source)
            or not _ANSWERS.isdisjoint(octets[::size])
        ):
            for start in range(0, len(octets), size) if octets else range(1):
                self.receive_datagram(bytes(octets[start : start + size]), source, now)
            return
        self._watch(now)
        runs = self._without_drops(self.transfer.open_run(octets, size, information, now), now)
        self.frames_delivered += sum(run.rows for run in runs)
        if runs:
            self._actions.append(DeliverFrames(runs))  # 820

    def _why_not_opened(self, source: tuple[str, int]) -> DropReason | None:
        """Returns why no datagram of ``source`` is taken now, or None."""
        information = self.information
        if information is None:
            return DropReason.NOT_REGISTERED
        if information.delivery != "relay":
            return DropReason.OTHER_DELIVERY
        return None if source in information.relays else DropReason.UNEXPECTED_SOURCE

    def _without_drops(self, results: Iterable[FrameRun | DropReason], now: int) -> list[FrameRun]:
        """Counts the drops and returns the rest."""
        kept: list[FrameRun] = []
        for one in results:
            if isinstance(one, DropReason):
                self._drop(one, now)
            else:
                kept.append(one)
        return kept

    def _receive_probe(self, payload: bytes, source: tuple[str, int], now: int) -> None:
        self._due = None
        probing = self.establishment.probing
        if probing is None or not probing.receive_datagram(payload, source, now):
            self.drops[DropReason.UNEXPECTED_PROBE] += 1

    def _receive_binding(self, payload: bytes, source: tuple[str, int], now: int) -> None:
        self._due = None
        bindings = self.establishment.bindings
        if bindings is None or not bindings.receive_datagram(payload, source, now):
            self.drops[DropReason.UNEXPECTED_BINDING] += 1

    def receive_packet(self, packet: bytes, destination: IpAddress, now: int) -> None:
        """Takes an ESP packet, without its IP header; a DeliverFrame follows, or a counted drop.

        Whose it is only the ICV tells: any host can send to a multicast address.

        Patent: Fig. 14; Fig. 8-2 steps 810, 820.
        """
        information = self.information
        if information is None:
            self.drops[DropReason.NOT_REGISTERED] += 1
            return
        if information.delivery != "multicast":
            self.drops[DropReason.OTHER_DELIVERY] += 1
            return
        self._watch(now)
        self._deliver(self.transfer.open_packet(packet, destination, information, now), now)

    def _deliver(self, frame: bytes | DropReason, now: int) -> None:
        if isinstance(frame, DropReason):
            self._drop(frame, now)
            return
        self.frames_delivered += 1
        self._actions.append(DeliverFrame(frame))  # 820

    # -- time and actions

    def next_timeout(self) -> int:
        """Returns when :meth:`handle_timeout` is due."""
        if self._due is None:
            due = self._next_sweep
            for time in (self.establishment.next_timeout(), self.loop_protection.next_timeout()):
                due = due if time is None else min(due, time)
            self._due = due
        return self._due

    def handle_timeout(self, now: int) -> None:
        """Does what is due: keep-alive, roll-over, claim, lifetimes of table 311, a counter near its end."""
        self._watch(now)
        self.establishment.handle_timeout(now)
        self._claim(now)
        self._announce(self.loop_protection.handle_timeout(now))
        self._say_joined()
        if now >= self._next_sweep:
            self.transfer.stations.expire(now)
            self.transfer.pieces.expire(now)
            self.establishment.check_counter()
            self._next_sweep = now + SWEEP_INTERVAL

    def next_action(self) -> Action | None:
        """Returns the next thing to do, or None when all is done."""
        return self._actions.popleft() if self._actions else None
