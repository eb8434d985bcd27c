"""VPN transfer processing 314: a LAN's frames into sealed datagrams, and back.

Loop protection (step 802) goes by sightings: a frame of a station that was seen on the other side a
moment ago is a copy that came round; once the hold-down has passed it is a station that has moved.

Patent: Fig. 3-2 part 314; Fig. 8-1 steps 801-809; Fig. 8-2 steps 810-820; table 311; claim 6.
"""

from __future__ import annotations

from collections.abc import Sequence

from protocol import hop_tag
from protocol.client.clear_headers import ClearHeaders
from protocol.client.reassembly import Reassembly
from protocol.client.tables import SaManagementTable, Side, VpnInformation
from protocol.errors import DropReason, OpenError, SealError, WireError
from protocol.learning import LearningTable
from protocol.types import SECOND, IpAddress
from protocol.wire import esp, etherip, ethernet
from protocol.wire.ethernet import EthernetHeader
from protocol.wire.piece import LARGEST_FRAME, NUMBERS, Piece, cut
from protocol.wire.vpn_header import VpnHeader

STATIONS = 8192
"""Stations that a client remembers on each side."""


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

    def seal(self, frame: bytes, information: VpnInformation, now: int) -> bytes | DropReason:
        """Returns the payload of the datagram that carries ``frame``, or why it is not sent.

        Patent: Fig. 8-1 steps 802-808.
        """
        (sealed,) = self.seal_run((frame,), information, now)
        return sealed

    def seal_run(
        self, frames: Sequence[bytes], information: VpnInformation, now: int
    ) -> list[bytes | DropReason]:
        """Does for each frame what `seal` does; all are of one station to the same destination.

        What depends on the addresses alone is looked up once.
        """
        first = frames[0]
        reason = self._why_not_sealed(first, now)
        if reason is not None:
            return [reason] * len(frames)
        header = VpnHeader((first[ethernet.SOURCE], first[ethernet.DESTINATION])).pack()  # 807
        inner_header, key = information.inner_header.pack, information.hop_key
        run: list[bytes | DropReason] = []
        for frame in frames:
            packet = self._sealed(frame, information)
            if isinstance(packet, bytes):
                packet = b"".join((header, inner_header(len(packet)), packet))  # 804
                if key is not None:
                    packet = hop_tag.add(packet, key)
            run.append(packet)
        return run

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
        try:
            header = EthernetHeader.parse(frame)
        except WireError:
            return DropReason.MALFORMED_FRAME
        return self._why_not_outside(header, now)

    def _why_not_outside(self, header: EthernetHeader, now: int) -> DropReason | None:
        self._believed = None
        if not ethernet.is_station(header.source):
            return DropReason.GROUP_SOURCE
        if self._seen_lately(header.source, Side.OUTSIDE, now):  # 802
            return DropReason.STATION_SEEN_OUTSIDE
        self.stations.learn(header.source, Side.LAN, now)
        if ethernet.is_bridge_local(header.destination):
            return DropReason.BRIDGE_LOCAL_DESTINATION
        if self.stations.lookup(header.destination, now) is Side.LAN:
            return DropReason.LOCAL_DESTINATION
        return None

    def open(self, payload: bytes, information: VpnInformation, now: int) -> bytes | DropReason:
        """Returns the frame that a datagram's payload carries, or why it is not delivered.

        Patent: Fig. 8-2 steps 811-819.
        """
        (opened,) = self.open_run((payload,), information, now)
        return opened

    def open_run(
        self, payloads: Sequence[bytes], information: VpnInformation, now: int
    ) -> list[bytes | DropReason]:
        """Does for each payload what `open` does: those that begin alike are taken apart once."""
        run: list[bytes | DropReason] = []
        result: bytes | DropReason
        tagged = information.hop_key is not None
        clear, octets, part, reason = b"", -1, None, None
        for payload in payloads:
            try:
                if tagged:
                    payload = hop_tag.remove(payload)
                if part is None or len(payload) != octets or not payload.startswith(clear):
                    part, octets = self._clear_headers.take_apart(payload), len(payload)  # 811
                    clear, reason = payload[: part.length], _foreign(part.destination, information)
            except WireError:
                part, result = None, DropReason.MALFORMED_DATAGRAM
            else:
                result = reason or self._open(payload[part.length :], now, part.macs)
            run.append(result)
        return run

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
            opened = association.open_any(packet)  # 814
        except OpenError as error:
            return error.reason
        frame = (
            self._put_together(packet, opened, macs, now) if isinstance(opened, Piece) else opened
        )
        if isinstance(frame, DropReason):
            return frame
        if len(frame) < ethernet.HEADER_LENGTH:
            return DropReason.MALFORMED_PLAINTEXT
        source = frame[ethernet.SOURCE]  # 815
        if macs is not None and macs != (source, frame[ethernet.DESTINATION]):
            return DropReason.HEADER_MISMATCH
        if self._believed == (source, now):
            return frame
        if not ethernet.is_station(source):
            return DropReason.GROUP_SOURCE
        if self._seen_lately(source, Side.LAN, now):
            return DropReason.STATION_SEEN_HERE
        self.stations.learn(source, Side.OUTSIDE, now)  # 816-819
        self._believed = source, now
        return frame

    def _put_together(
        self, packet: bytes, piece: Piece, macs: tuple[bytes, bytes] | None, now: int
    ) -> bytes | DropReason:
        """Returns the frame that a piece completes, or why there is none."""
        header = esp.EspHeader.parse(packet)
        return self.pieces.take((header.spi, header.sender_id), piece, macs, now)

    def _seen_lately(self, mac: bytes, side: Side, now: int) -> bool:
        """Tells whether the station was seen on ``side`` within the hold-down."""
        entry = self.stations.entry(mac, now)
        return entry is not None and entry.place is side and now - entry.last_seen < self._hold_down


def _foreign(destination: IpAddress, information: VpnInformation) -> DropReason | None:
    """Returns a reason when a packet is to another group than the own."""
    return None if destination == information.multicast_address else DropReason.FOREIGN_GROUP


def _datagram(packet: bytes, frame: bytes, information: VpnInformation) -> bytes:
    """Returns the payload of the datagram that carries a piece of a frame."""
    header = VpnHeader((frame[ethernet.SOURCE], frame[ethernet.DESTINATION])).pack()
    payload = header + information.inner_header.pack(len(packet)) + packet
    return payload if information.hop_key is None else hop_tag.add(payload, information.hop_key)
