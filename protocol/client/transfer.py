"""VPN transfer processing 314: a LAN's frames into sealed datagrams, and back.

Loop protection (step 802) goes by sightings: a frame of a station that was seen on the other side a
moment ago is a copy that came round; once the hold-down has passed it is a station that has moved.
What two clients on one LAN would do to each other is `loop_protection`'s.

Patent: Fig. 3-2 part 314; Fig. 8-1 steps 801-809; Fig. 8-2 steps 810-820; table 311; claim 6.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from protocol import hop_tag
from protocol.client.clear_headers import ClearHeaders, ClearPart
from protocol.client.reassembly import Reassembly
from protocol.client.runs import Alike, Places, rows, run_of, split
from protocol.client.tables import SaManagementTable, Side, VpnInformation
from protocol.errors import DropReason, OpenError, SealError, WireError
from protocol.learning import LearningTable
from protocol.security_association import SecurityAssociation, contents_of, is_frame
from protocol.types import SECOND, Batch, FrameRun, IpAddress
from protocol.wire import claim, esp, etherip, ethernet
from protocol.wire.piece import LARGEST_FRAME, NUMBERS, Piece, cut
from protocol.wire.vpn_header import HOP_TAG_FOLLOWS, VpnHeader

STATIONS = 8192
"""Stations that a client remembers on each side."""


_ADDRESSED = etherip.HEADER_LENGTH + 2 * ethernet.MAC_LENGTH
"""Octets of a plaintext that frames between two stations have in common."""


GONE = 16
"""Senders that have forwarded for the LAN and will not again, as many as are remembered."""


class Companion(NamedTuple):
    """The client on the LAN for which this one stands by."""

    senders: frozenset[bytes]
    """SPIs and sender IDs under which it seals."""
    silent_from: int
    """When the LAN's frames are the LAN's own stations', as it has claimed no more (ns)."""


class _Known(NamedTuple):
    """What is in the clear of a datagram, and where."""

    clear: ClearPart
    header: esp.EspHeader
    places: Places


class Transfer:
    """Seals what the LAN sends to others and opens what the others send to it."""

    def __init__(
        self,
        associations: SaManagementTable,
        mac_lifetime: int = 3600 * SECOND,
        hold_down: int = SECOND,
    ) -> None:
        """Takes table 308, and the lifetime and hold-down of table 311 in ns."""
        self.stations: LearningTable[bytes, Side] = LearningTable(mac_lifetime, 0, STATIONS)
        self._hold_down = hold_down
        self._associations = associations
        self._clear_headers = ClearHeaders()
        self._believed: tuple[bytes, int] | None = None
        """The station outside whose frame was taken last, and when: no frame of the LAN since."""
        self.pieces = Reassembly()
        self._cut = 0
        self._standing_by = False
        self._companion: Companion | None = None
        self._gone: dict[bytes, None] = {}

    # -- while another client forwards for the LAN

    def stand_by(self, standing_by: bool, now: int, companion: Companion | None = None) -> None:
        """Has a companion forward for the LAN, or nobody yet, or (False) takes over.

        While it stands by, packets are opened and windows kept all the same, so that none of them can be
        sent again later. What it sees on its LAN then comes from either side, so table 311 holds what
        the companion lists. The LAN's stations count as just seen when it takes over: what
        the companion has sealed of theirs must not come back.
        """
        if standing_by:
            self._companion = companion or self._companion
        else:
            self._companion = None
            self.stations.renew(Side.LAN, now)
        self._standing_by = standing_by
        self._believed = None

    def forget_stations(self) -> None:
        """Begins table 311 anew."""
        for side in Side:
            self.stations.purge(side)

    def take_stations(self, macs: Iterable[bytes], side: Side, now: int) -> None:
        """Learns what a companion lists, whose LAN is this one.

        What it has seen outside, and a forwarder here, came to it through this one.
        """
        for mac in macs:
            sure = side is Side.LAN or self._standing_by
            if sure or self.stations.lookup(mac, now) is None:
                self.stations.learn(mac, side, now)

    def gone(self, sender: bytes) -> None:
        """Delivers nothing more that this one has sealed: it was on the LAN, and seals no more."""
        self._gone[sender] = None
        for older in list(self._gone)[:-GONE]:
            del self._gone[older]

    def seal_announcement(self, station: bytes, information: VpnInformation) -> bytes | DropReason:
        """Returns the payload of a datagram by which relays learn that a station is here."""
        frame = claim.announcement(station)
        packet = self._sealed(frame, information)
        return packet if isinstance(packet, DropReason) else _datagram(packet, frame, information)

    def _watch_lan(self, source: bytes, now: int) -> None:
        """Learns a station of the LAN once nobody is there any more who could have delivered its frame."""
        companion = self._companion
        if companion is not None and now >= companion.silent_from and ethernet.is_station(source):
            self.stations.learn(source, Side.LAN, now)

    def _watch_outside(self, source: bytes, sender: bytes, now: int) -> None:
        """Forgets a station of the LAN that somebody else has sealed a frame of: it may have moved."""
        companion = self._companion
        elsewhere = companion is not None and sender not in companion.senders
        if elsewhere and self.stations.lookup(source, now) is Side.LAN:
            self.stations.forget(source)

    # -- to the VPN

    def seal(self, frame: bytes, information: VpnInformation, now: int) -> bytes | DropReason:
        """Returns the payload of the datagram that carries ``frame``, or why it is not sent.

        Patent: Fig. 8-1 steps 802-808.
        """
        packet = self.seal_packet(frame, information, now)
        return packet if isinstance(packet, DropReason) else _datagram(packet, frame, information)

    def seal_run(
        self, frames: Sequence[bytes], information: VpnInformation, now: int
    ) -> list[Batch | DropReason]:
        """Does for each frame what `seal` does; all are of one station to the same destination.

        Frames of one length behind each other become one batch; there is a reason for each that is not
        sent.
        """
        reason = self._why_not_sealed(frames[0], now)
        if reason is not None:
            return [reason] * len(frames)
        results: list[Batch | DropReason] = []
        for length, alike in groupby(frames, len):
            some = list(alike)
            association = self._associations.sealing  # 805
            if length > information.lan_mtu + ethernet.HEADER_LENGTH:
                results += [DropReason.FRAME_TOO_LARGE] * len(some)
            elif association is None:
                results += [DropReason.NOT_REGISTERED] * len(some)
            else:
                results += _sealed_alike(some, association, information)
        return results

    def seal_pieces(self, frame: bytes, information: VpnInformation) -> list[bytes] | DropReason:
        """Returns what carries a frame above the LAN MTU, in pieces: datagrams' payloads, or ESP packets
        where the network replicates. The frame has passed :meth:`seal`'s other checks.
        """
        association = self._associations.sealing
        if association is None:
            return DropReason.NOT_REGISTERED
        if len(frame) > LARGEST_FRAME:
            return DropReason.FRAME_TOO_LARGE
        self._cut = (self._cut + 1) % NUMBERS
        most = etherip.HEADER_LENGTH + information.lan_mtu + ethernet.HEADER_LENGTH
        try:
            packets = [association.seal_piece(piece) for piece in cut(frame, self._cut, most)]
        except SealError as error:
            return error.reason
        if information.delivery == "multicast":
            return packets
        return [_datagram(packet, frame, information) for packet in packets]

    def seal_packet(
        self, frame: bytes, information: VpnInformation, now: int
    ) -> bytes | DropReason:
        """Returns the ESP packet that carries ``frame``, or why it is not sent.

        Patent: Fig. 8-1 steps 802-806; Fig. 14.
        """
        return self._why_not_sealed(frame, now) or self._sealed(frame, information)

    def _sealed(self, frame: bytes, information: VpnInformation) -> bytes | DropReason:
        if len(frame) > information.lan_mtu + ethernet.HEADER_LENGTH:
            return DropReason.FRAME_TOO_LARGE
        association = self._associations.sealing  # 805
        if association is None:
            return DropReason.NOT_REGISTERED
        try:
            return association.seal(frame)  # 806
        except SealError as error:
            return error.reason

    def _why_not_sealed(self, frame: bytes, now: int) -> DropReason | None:
        """Learns a local station; a reason when its frame is none, or stays on this LAN."""
        if len(frame) < ethernet.HEADER_LENGTH:
            return DropReason.MALFORMED_FRAME
        source, destination = frame[ethernet.SOURCE], frame[ethernet.DESTINATION]
        if self._standing_by:
            self._watch_lan(source, now)
            return DropReason.STAND_BY
        self._believed = None
        if not ethernet.is_station(source):
            return DropReason.GROUP_SOURCE
        if self._seen_lately(source, Side.OUTSIDE, now):  # 802
            return DropReason.STATION_SEEN_OUTSIDE
        self.stations.learn(source, Side.LAN, now)
        if ethernet.is_bridge_local(destination):
            return DropReason.BRIDGE_LOCAL_DESTINATION
        if self.stations.lookup(destination, now) is Side.LAN:
            return DropReason.LOCAL_DESTINATION
        return None

    # -- from the VPN

    def open(self, payload: bytes, information: VpnInformation, now: int) -> bytes | DropReason:
        """Returns the frame that a datagram's payload carries, or why it is not delivered.

        Patent: Fig. 8-2 steps 811-819.
        """
        try:
            if information.hop_key is not None:
                payload = hop_tag.remove(payload)
            clear = self._clear_headers.take_apart(payload)  # 811
        except WireError:
            return DropReason.MALFORMED_DATAGRAM
        reason = _foreign(clear.destination, information)
        return reason or self._open(payload[clear.length :], now, clear.macs)

    def open_run(
        self, octets: memoryview, size: int, information: VpnInformation, now: int
    ) -> list[FrameRun | DropReason]:
        """Does for each of the datagrams in a batch what `open` does.

        Those that begin alike and whose counters follow each other are opened together, and are one run of
        frames.
        """
        first = self._take_apart(bytes(octets[:size]), information)
        if first is None:
            return self._open_singly(octets, size, information, now)
        results: list[FrameRun | DropReason] = []
        start = 0
        for alike in split(octets[: len(octets) // size * size], size, first.places):
            run = octets[start : start + len(alike.sealed) * size]
            known = self._take_apart(bytes(run[:size]), information) if start else first
            opened = None
            if len(run) > size and known is not None and known.places == first.places:
                opened = self._open_alike(alike, known, information, now)
            results += opened or self._open_singly(run, size, information, now)
            start += len(run)
        return results + self._open_singly(octets[start:], size, information, now)

    def _open_singly(
        self, octets: memoryview, size: int, information: VpnInformation, now: int
    ) -> list[FrameRun | DropReason]:
        return [
            _run(self.open(bytes(octets[start : start + size]), information, now))
            for start in range(0, len(octets), size)
        ]

    def _open_alike(
        self, alike: Alike, first: _Known, information: VpnInformation, now: int
    ) -> list[FrameRun | DropReason] | None:
        """Opens datagrams that are a run; None when they are to be opened one by one."""
        association = self._associations.at(first.header.spi)  # 812, 813
        if association is None or _foreign(first.clear.destination, information):
            return None
        opened = association.open_run(first.header, alike.counters, alike.sealed)  # 814
        if opened is None:
            return None
        sender = sender_of(first.header.pack())
        return self._accept_run(opened, sender, first.clear.macs, now)

    def _take_apart(self, payload: bytes, information: VpnInformation) -> _Known | None:
        """Returns what is in the clear, and where; None when a datagram breaks the wire format."""
        try:
            rest = payload if information.hop_key is None else hop_tag.remove(payload)
            clear = self._clear_headers.take_apart(rest)  # 811
            header = esp.EspHeader.parse(rest[clear.length :])
        except WireError:
            return None
        tag = len(payload) - len(rest)
        places = Places(clear.header_length, clear.header_length + tag, clear.length + tag)
        return _Known(clear, header, places)

    def open_packet(
        self, packet: bytes, destination: IpAddress, information: VpnInformation, now: int
    ) -> bytes | DropReason:
        """Returns the frame that an ESP packet to ``destination`` carries, or why it is not delivered.

        Patent: Fig. 8-2 steps 812-819; Fig. 14.
        """
        return _foreign(destination, information) or self._open(packet, now)

    def _open(
        self, packet: bytes, now: int, macs: tuple[bytes, bytes] | None = None
    ) -> bytes | DropReason:
        """Opens an ESP packet of the group; ``macs`` are those of the VPN header, where there is one."""
        if len(packet) < esp.MINIMUM_LENGTH:
            return DropReason.MALFORMED_DATAGRAM
        association = self._associations.at(int.from_bytes(packet[:4], "big"))  # 812, 813
        if association is None:
            return DropReason.UNKNOWN_SPI
        try:
            plaintext = association.open_packet(packet)  # 814
        except OpenError as error:
            return error.reason
        return self._accept(plaintext, sender_of(packet), macs, now)

    def _accept_run(
        self,
        opened: Sequence[bytes | None],
        sender: bytes,
        macs: tuple[bytes, bytes] | None,
        now: int,
    ) -> list[FrameRun | DropReason]:
        """Does for each plaintext what `_accept` does: those that begin and end alike are looked at once."""
        first = self._accept(opened[0], sender, macs, now)
        rows = [plaintext for plaintext in opened if plaintext is not None]
        if isinstance(first, bytes) and len(rows) == len(opened) and is_frame(rows[0]):
            trailer = len(rows[0]) - etherip.HEADER_LENGTH - len(first)
            run = run_of(rows, etherip.HEADER_LENGTH, trailer, _ADDRESSED)
            if run is not None:
                return [run]
        others = (self._accept(one, sender, macs, now) for one in opened[1:])
        return [_run(first), *map(_run, others)]

    def _accept(
        self,
        plaintext: bytes | None,
        sender: bytes,
        macs: tuple[bytes, bytes] | None,
        now: int,
    ) -> bytes | DropReason:
        """Returns the frame in a plaintext, and learns its station; or why it is not delivered.

        None as plaintext stands for a packet whose ICV did not hold.
        """
        if plaintext is None:
            return DropReason.FORGED_ICV
        try:
            contents = contents_of(plaintext)
        except OpenError as error:
            return error.reason
        frame = (
            self.pieces.take(sender, contents, macs, now)
            if isinstance(contents, Piece)
            else contents
        )
        if isinstance(frame, DropReason):
            return frame
        if len(frame) < ethernet.HEADER_LENGTH:
            return DropReason.MALFORMED_PLAINTEXT
        source = frame[ethernet.SOURCE]  # 815
        if macs is not None and macs != (source, frame[ethernet.DESTINATION]):
            return DropReason.HEADER_MISMATCH
        announces = frame.startswith(claim.DESTINATION)
        if announces and not claim.is_announcement(frame):
            return DropReason.CLAIM_REFUSED
        if self._standing_by:
            self._watch_outside(source, sender, now)
            return DropReason.STAND_BY
        if sender in self._gone:
            return DropReason.STATION_SEEN_HERE
        if self._believed == (source, now):
            return DropReason.STATION_ANNOUNCED if announces else frame
        if not ethernet.is_station(source):
            return DropReason.GROUP_SOURCE
        if self._seen_lately(source, Side.LAN, now):
            return DropReason.STATION_SEEN_HERE
        self.stations.learn(source, Side.OUTSIDE, now)  # 816-819
        self._believed = source, now
        return DropReason.STATION_ANNOUNCED if announces else frame

    def _seen_lately(self, mac: bytes, side: Side, now: int) -> bool:
        """Tells whether the station was seen on ``side`` within the hold-down."""
        entry = self.stations.entry(mac, now)
        return entry is not None and entry.place is side and now - entry.last_seen < self._hold_down


def _foreign(destination: IpAddress, information: VpnInformation) -> DropReason | None:
    """Returns a reason when a packet is to another group than the own."""
    return None if destination == information.multicast_address else DropReason.FOREIGN_GROUP


def _run(frame: bytes | DropReason) -> FrameRun | DropReason:
    return frame if isinstance(frame, DropReason) else FrameRun.of(frame)


def sender_of(packet: bytes) -> bytes:
    """Returns SPI and sender ID of an ESP packet: who has sealed it."""
    return packet[:4] + packet[8:10]


def _datagram(packet: bytes, frame: bytes, information: VpnInformation) -> bytes:
    """Returns the payload of the datagram that carries an ESP packet with a frame or a piece of it."""
    header = VpnHeader((frame[ethernet.SOURCE], frame[ethernet.DESTINATION])).pack()  # 807
    payload = b"".join((header, information.inner_header.pack(len(packet)), packet))  # 804
    return payload if information.hop_key is None else hop_tag.add(payload, information.hop_key)


def _sealed_alike(
    frames: Sequence[bytes], association: SecurityAssociation, information: VpnInformation
) -> list[Batch | DropReason]:
    """Seals frames of one length and puts what carries them together."""
    try:
        run = association.seal_run(frames)  # 806
    except SealError as error:
        return [error.reason] * len(frames)
    first, count = frames[0], len(run.sealed)
    key = information.hop_key
    macs = first[ethernet.SOURCE], first[ethernet.DESTINATION]
    header = VpnHeader(macs, 0 if key is None else HOP_TAG_FOLLOWS).pack()  # 807
    packet = esp.HEADER_LENGTH + esp.IV_LENGTH + len(run.sealed[0])
    inner = information.inner_header.pack(packet) + run.spi  # 804
    tags = [b""] * count if key is None else hop_tag.tags(header + inner, run.counters, key)
    heads = ([header] * count, tags, [inner] * count)
    octets = rows(*heads, run.counters, [run.sender] * count, run.counters, run.sealed)
    batch = Batch(octets, len(octets) // count)
    return [batch, *[DropReason.COUNTER_EXHAUSTED] * (len(frames) - count)]
