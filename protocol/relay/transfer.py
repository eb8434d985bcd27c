"""VPN transfer processing 512: one decision for each flow, from what stands outside the encryption.

What a decision rests on is its group's members, its SPIs and where its stations are: a change in a
group takes that group's decisions out of force and no others. Lifetimes of stations are refreshed from
the flows' counters by :meth:`Relay.handle_timeout`, not by each datagram.

Patent: Fig. 5-2 part 512; Fig. 7-2 steps 709-719; tables 507-509; claim 1.
"""

from __future__ import annotations

import struct
from collections import Counter
from enum import Enum

from protocol.errors import DropReason
from protocol.learning import LearningTable, Learnt
from protocol.relay.flow import USUAL_HEADERS, USUAL_LEAST, Flow, flow_octets, split_usual
from protocol.relay.flow_table import FlowEntry, FlowKey, FlowTable, Station
from protocol.relay.tables import Member, MulticastAddressTable, RelayedGroup, UnicastGroupTable
from protocol.relay.verdicts import Drop, Forward, Verdict
from protocol.types import SECOND, Address, ClientId, VpnId
from protocol.wire.ethernet import is_station

SWEEP_INTERVAL = 5 * SECOND
"""How often the flows' counters refresh the stations' lifetimes."""
FLOW_IDLE_TIME = 60 * SECOND
STATIONS_PER_CLIENT = 1024


class Strip(str, Enum):
    """What a client is sent: the whole payload, or what lies below the VPN header (step 719)."""

    KEEP = "keep"
    PATENT = "patent"


class Relay:
    """Forwards the datagrams of registered clients within their group. It holds no data key."""

    def __init__(
        self,
        strip: Strip = Strip.KEEP,
        mac_lifetime: int = 3600 * SECOND,
        hold_down: int = SECOND,
    ) -> None:
        """Takes what clients are sent, and the lifetime and hold-down of table 509 in ns."""
        self.strip = strip
        self.unicast_groups = UnicastGroupTable()
        self.multicast_addresses = MulticastAddressTable()
        self.mac_ip: LearningTable[Station, Member] = LearningTable(
            mac_lifetime, hold_down, STATIONS_PER_CLIENT
        )
        self.flows = FlowTable()
        self._flow = self.flows.get
        self.not_learnt: Counter[Learnt] = Counter()
        self._members: dict[ClientId, Member] = {}
        self._provisional: dict[FlowKey, None] = {}
        self._next_sweep: int | None = None
        self._next_review: int | None = None
        self._due: int | None = None

    # -- what user VPN management says (tables 507 and 508)

    def install_group(self, group: RelayedGroup) -> None:
        """Adds a group or changes its SPIs."""
        self.multicast_addresses.install(group)
        self._invalidate(group.vpn_id)

    def remove_group(self, vpn_id: VpnId) -> None:
        """Removes a group's address: its clients' datagrams are then of an unknown group."""
        self.multicast_addresses.remove(vpn_id)
        self._invalidate(vpn_id)

    def add_member(self, member: Member) -> None:
        """Adds a client to its group."""
        if member.client_id in self._members:
            raise ValueError(f"client {member.client_id} is a member already")
        self.unicast_groups.add(member)
        self._members[member.client_id] = member
        self._invalidate(member.vpn_id)

    def remove_member(self, client_id: ClientId) -> None:
        """Removes a client, its stations and the decisions about its datagrams."""
        member = self._members.pop(client_id)
        self.unicast_groups.remove(member)
        self.mac_ip.purge(member)
        self.flows.forget_client(client_id)
        self._invalidate(member.vpn_id)

    # -- datagrams and time

    def receive_datagram(self, datagram: bytes, source: tuple[str, int], now: int) -> Verdict:
        """Decides about one datagram's payload: as its flow is decided already, or anew.

        Patent: Fig. 7-2 steps 709-711.
        """
        try:
            head, payload_length, tail = split_usual(datagram)
        except struct.error:
            return self._receive_unusual(datagram, source, now)
        entry = self._flow((source, head, tail))
        length = len(datagram)
        if entry is None or length != payload_length + USUAL_HEADERS or length < USUAL_LEAST:
            return self._receive_unusual(datagram, source, now)
        entry.packets += 1
        entry.octets += length
        return entry.verdict

    def _receive_unusual(self, datagram: bytes, source: tuple[str, int], now: int) -> Verdict:
        """Decides about a datagram that is the first of its flow, without MACs, or with IPv4 inside."""
        octets = flow_octets(datagram)
        if octets is None:
            self.flows.add_drop(DropReason.MALFORMED_DATAGRAM, len(datagram))
            return Drop(DropReason.MALFORMED_DATAGRAM)
        key = (source, *octets)
        entry = self._flow(key)
        if entry is None:
            first = self._first_of_flow(key, len(datagram), now)
            if isinstance(first, Drop):
                return first
            entry = first
        entry.packets += 1
        entry.octets += len(datagram)
        return entry.verdict

    def next_timeout(self) -> int | None:
        """Returns when :meth:`handle_timeout` is due, or None."""
        return self._due

    def handle_timeout(self, now: int) -> None:
        """Does what is due: reviews provisional decisions, forgets stations and flows that are silent."""
        if self._next_review is not None and now >= self._next_review:
            self._review()
        if self._next_sweep is not None and now >= self._next_sweep:
            self._sweep(now)
        self._set_due()

    def _set_due(self) -> None:
        """Works out when something is due, so that asking costs nothing: it is asked all the time."""
        times = [time for time in (self._next_sweep, self._next_review) if time is not None]
        self._due = min(times, default=None)

    # -- decisions

    def forward(self, flow: Flow, now: int) -> Verdict:
        """Decides about a flow, learning where its source station is.

        Patent: Fig. 7-2 steps 712-719.
        """
        member = self.unicast_groups.at(flow.source)
        if member is None:
            return Drop(DropReason.UNREGISTERED_SENDER)
        group = self.multicast_addresses.at(flow.inner_destination)  # 717
        if group is None:
            return Drop(DropReason.UNKNOWN_GROUP)
        if group.vpn_id != member.vpn_id:
            return Drop(DropReason.FOREIGN_GROUP)
        if flow.spi not in group.spis:
            return Drop(DropReason.UNKNOWN_SPI)
        strip = flow.header.length if self.strip is Strip.PATENT else 0
        if flow.header.macs is not None:  # 711
            source, destination = flow.header.macs
            self._learn(member, source, now)  # 712-714
            if is_station(destination):  # 715, 716
                holder = self.mac_ip.lookup((member.vpn_id, destination), now)
                if holder is not None:
                    return _to_holder(member, holder, strip)
        return self._to_others(member, strip)

    def _learn(self, member: Member, mac: bytes, now: int) -> None:
        """Notes the source station at its client, if it is a station and the table has room."""
        if not is_station(mac):
            return
        learnt = self.mac_ip.learn((member.vpn_id, mac), member, now)
        if learnt in (Learnt.NEW, Learnt.MOVED):
            self._invalidate(member.vpn_id)
        elif learnt is not Learnt.REFRESHED:
            self.not_learnt[learnt] += 1

    def _to_others(self, member: Member, strip: int) -> Verdict:
        """Sends to all of the group but the sender (718, 719)."""
        others = tuple(
            (other.address, strip)
            for other in self.unicast_groups.members(member.vpn_id)
            if other is not member
        )
        return Forward(others) if others else Drop(DropReason.NO_OTHER_MEMBER)

    # -- decisions in force

    def _first_of_flow(self, key: FlowKey, length: int, now: int) -> FlowEntry | Drop:
        """Decides about a flow that has no decision, and keeps it if the sender is who it should be."""
        source, *octets = key
        flow = Flow.parse(Address(*source), (octets[0], octets[1]))
        verdict = Drop(flow) if isinstance(flow, DropReason) else self.forward(flow, now)
        member = self.unicast_groups.at(source)
        if isinstance(flow, DropReason) or member is None or _rests_on_others(verdict):
            assert isinstance(verdict, Drop)
            self.flows.add_drop(verdict.reason, length)
            return verdict
        station = self._station(flow, member)
        held = station is not None and self.mac_ip.lookup(station, now) not in (member, None)
        entry = FlowEntry(verdict, member.client_id, None if held else station, now)
        self.flows.keep(key, entry)
        if self._next_sweep is None:
            self._next_sweep = now + SWEEP_INTERVAL
        if held:
            self._provisional[key] = None
            if self._next_review is None:
                self._next_review = now + self.mac_ip.hold_down
        self._set_due()
        return entry

    @staticmethod
    def _station(flow: Flow, member: Member) -> Station | None:
        macs = flow.header.macs
        return (member.vpn_id, macs[0]) if macs is not None and is_station(macs[0]) else None

    def _review(self) -> None:
        """Takes decisions out of force that were made while a station's move was held down."""
        for key in self._provisional:
            self.flows.forget(key)
        self._provisional.clear()
        self._next_review = None

    def _sweep(self, now: int) -> None:
        """Refreshes stations whose flows have moved; forgets stations and flows that are silent."""
        for key, entry in self.flows.items():
            if entry.packets != entry.swept:
                entry.swept, entry.last_used = entry.packets, now
                if entry.station is not None:
                    self._learn(self._members[entry.client_id], entry.station[1], now)
            elif now - entry.last_used >= FLOW_IDLE_TIME:
                self.flows.forget(key)
        for vpn_id in dict.fromkeys(vpn_id for vpn_id, _ in self.mac_ip.expire(now)):
            self._invalidate(vpn_id)
        idle = not len(self.flows) and not len(self.mac_ip)
        self._next_sweep = None if idle else now + SWEEP_INTERVAL

    def _invalidate(self, vpn_id: VpnId) -> None:
        """Takes the decisions of one group out of force: what they rest on has changed."""
        for member in self.unicast_groups.members(vpn_id):
            self.flows.forget_client(member.client_id)


def _to_holder(member: Member, holder: Member, strip: int) -> Verdict:
    """Sends to the client that holds the destination; never back to where it came from."""
    if holder is member:
        return Drop(DropReason.HAIRPIN)
    return Forward(((holder.address, strip),))


def _rests_on_others(verdict: Verdict) -> bool:
    """Tells whether a verdict could change without a change in the sender's own group."""
    return isinstance(verdict, Drop) and verdict.reason in (
        DropReason.UNREGISTERED_SENDER,
        DropReason.UNKNOWN_GROUP,
        DropReason.FOREIGN_GROUP,
        DropReason.UNKNOWN_SPI,
    )
