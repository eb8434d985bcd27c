"""The hub that the patent improves on: it decrypts every frame and encrypts it for each destination.

Each client shares an SA with the hub and with nobody else. Outside, header and inner layout are the
relay's, so that what the two cost differs by the cipher and by what only one who reads the frame can
do: check it, and learn and look up its own MACs.

Patent: background (decryption and re-encryption in the server).
"""

from __future__ import annotations

from collections import Counter

from protocol.errors import DropReason, OpenError, SealError
from protocol.learning import LearningTable, Learnt
from protocol.relay.flow import Flow, FlowOctets, flow_octets
from protocol.relay.stations import STATIONS_PER_CLIENT
from protocol.relay.tables import Member, MulticastAddressTable, RelayedGroup, UnicastGroupTable
from protocol.relay.upkeep import SWEEP_INTERVAL
from protocol.relay.verdicts import Strip
from protocol.security_association import SecurityAssociation
from protocol.types import SECOND, Address, ClientId, IpAddress, VpnId
from protocol.wire import esp, ethernet, ip
from protocol.wire.ethernet import is_station
from protocol.wire.messages import GroupSecurityAssociation
from protocol.wire.vpn_header import VpnHeader

Copies = list[tuple[bytes, Address]]
"""(payload, destination) of each datagram to send."""

HEADERS_PER_CLIENT = 4096


class _Session:
    """A client as the hub knows it: its SA, and which clear headers of its datagrams were checked."""

    def __init__(self, member: Member, association: SecurityAssociation) -> None:
        self.member = member
        self.association = association
        self.checked: dict[FlowOctets, tuple[int, tuple[bytes, bytes] | None]] = {}
        """Octets that name a flow -> (where its ESP packet begins, the header's MACs)."""


class Hub:
    """Opens and checks every frame, learns and looks up its MACs, and seals it for each destination."""

    def __init__(
        self,
        address: IpAddress,
        strip: Strip = Strip.KEEP,
        mac_lifetime: int = 3600 * SECOND,
        hold_down: int = SECOND,
    ) -> None:
        """Takes the own address (inner source), what clients are sent, and table 509's times in ns."""
        self.unicast_groups = UnicastGroupTable()
        self.multicast_addresses = MulticastAddressTable()
        self.mac_ip: LearningTable[tuple[VpnId, bytes], Member] = LearningTable(
            mac_lifetime, hold_down, STATIONS_PER_CLIENT
        )
        self.drops: Counter[DropReason] = Counter()
        self.not_learnt: Counter[Learnt] = Counter()
        self.datagrams_in = 0
        self.octets_in = 0
        self.copies_out = 0
        self.octets_out = 0
        self._address = address
        self._keeps_header = strip is Strip.KEEP
        self._associations: dict[ClientId, SecurityAssociation] = {}
        self._members: dict[ClientId, Member] = {}
        self._sessions: dict[tuple[str, int], _Session] = {}
        self._inner: dict[VpnId, ip.HeaderTemplate] = {}
        self._next_sweep: int | None = None

    # -- what user VPN management says

    def install_group(self, group: RelayedGroup) -> None:
        """Adds a group's address."""
        self.multicast_addresses.install(group)
        self._inner[group.vpn_id] = ip.HeaderTemplate(
            self._address, group.multicast_address, esp.NEXT_HEADER
        )
        for session in self._sessions.values():
            session.checked.clear()

    def install_association(
        self, client_id: ClientId, parameters: GroupSecurityAssociation
    ) -> None:
        """Takes the SA that the hub shares with a client; call it before ``add_member``."""
        self._associations[client_id] = SecurityAssociation(parameters)

    def add_member(self, member: Member) -> None:
        """Adds a client to its group."""
        association = self._associations[member.client_id]
        self.unicast_groups.add(member)
        self._members[member.client_id] = member
        self._sessions[member.address] = _Session(member, association)

    def remove_member(self, client_id: ClientId) -> None:
        """Removes a client, its SA and its stations."""
        member = self._members.pop(client_id)
        self.unicast_groups.remove(member)
        self.mac_ip.purge(member)
        del self._sessions[member.address]
        del self._associations[client_id]

    # -- datagrams and time

    def receive_datagram(self, datagram: bytes, source: tuple[str, int], now: int) -> Copies:
        """Opens a datagram's frame and returns it sealed for each client that it goes to."""
        self.datagrams_in += 1
        self.octets_in += len(datagram)
        session = self._sessions.get(source)
        octets = flow_octets(datagram)
        if octets is None or session is None:
            known = DropReason.MALFORMED_DATAGRAM if session else DropReason.UNREGISTERED_SENDER
            return self._drop(known)
        checked = session.checked.get(octets)
        if checked is None:
            found = self._check(session, octets)
            if isinstance(found, DropReason):
                return self._drop(found)
            checked = session.checked[octets] = found
        offset, macs = checked
        try:
            frame = session.association.open(datagram[offset:])
        except OpenError as error:
            return self._drop(error.reason)
        if len(frame) < ethernet.HEADER_LENGTH:
            return self._drop(DropReason.MALFORMED_PLAINTEXT)
        inside = frame[ethernet.SOURCE], frame[ethernet.DESTINATION]
        if macs is not None and macs != inside:
            return self._drop(DropReason.HEADER_MISMATCH)
        to = self._destinations(session.member, *inside, now)
        if isinstance(to, DropReason):
            return self._drop(to)
        return self._seal(VpnHeader(inside).pack() if self._keeps_header else b"", frame, to)

    def next_timeout(self) -> int | None:
        """Returns when :meth:`handle_timeout` is due, or None."""
        return self._next_sweep

    def handle_timeout(self, now: int) -> None:
        """Forgets stations that are silent."""
        if self._next_sweep is not None and now >= self._next_sweep:
            self.mac_ip.expire(now)
            self._next_sweep = now + SWEEP_INTERVAL if len(self.mac_ip) else None

    # -- one frame

    def _check(
        self, session: _Session, octets: FlowOctets
    ) -> tuple[int, tuple[bytes, bytes] | None] | DropReason:
        """Checks what stands in the clear, as a relay does, once for each flow."""
        flow = Flow.parse(session.member.address, octets)
        if isinstance(flow, DropReason):
            return flow
        group = self.multicast_addresses.at(flow.inner_destination)
        if group is None:
            return DropReason.UNKNOWN_GROUP
        if group.vpn_id != session.member.vpn_id:
            return DropReason.FOREIGN_GROUP
        if flow.spi != session.association.spi:
            return DropReason.UNKNOWN_SPI
        if len(session.checked) >= HEADERS_PER_CLIENT:
            session.checked.clear()
        version = flow.inner_destination.version
        return flow.header.length + ip.HEADER_LENGTHS[version], flow.header.macs

    def _destinations(
        self, member: Member, source: bytes, destination: bytes, now: int
    ) -> list[Member] | DropReason:
        """Learns the source station, and returns the one or the many that the frame goes to."""
        if is_station(source):
            learnt = self.mac_ip.learn((member.vpn_id, source), member, now)
            if learnt is not Learnt.REFRESHED:
                self._note(learnt, now)
        holder = None
        if is_station(destination):
            holder = self.mac_ip.lookup((member.vpn_id, destination), now)
        if holder is member:
            return DropReason.HAIRPIN
        if holder is not None:
            return [holder]
        return self._others(member) or DropReason.NO_OTHER_MEMBER

    def _note(self, learnt: Learnt, now: int) -> None:
        """Counts a station that was not learnt; has lifetimes looked after once one was."""
        if learnt in (Learnt.HELD_DOWN, Learnt.FULL):
            self.not_learnt[learnt] += 1
        elif self._next_sweep is None:
            self._next_sweep = now + SWEEP_INTERVAL

    def _seal(self, before: bytes, frame: bytes, to: list[Member]) -> Copies:
        """Seals the frame for each destination under that client's SA."""
        inner = self._inner[to[0].vpn_id]
        copies = []
        for member in to:
            try:
                packet = self._associations[member.client_id].seal(frame)
            except SealError as error:
                self.drops[error.reason] += 1
                continue
            payload = before + inner.pack(len(packet)) + packet
            copies.append((payload, member.address))
            self.octets_out += len(payload)
        self.copies_out += len(copies)
        return copies

    def _others(self, member: Member) -> list[Member]:
        members = self.unicast_groups.members(member.vpn_id)
        return [other for other in members if other is not member]

    def _drop(self, reason: DropReason) -> Copies:
        self.drops[reason] += 1
        return []
