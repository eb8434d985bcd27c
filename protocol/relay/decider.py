"""Decides where a flow goes, by the group's members, its SPIs and where its stations are.

Patent: Fig. 7-2 steps 711-719; tables 507-509.
"""

from __future__ import annotations

from collections.abc import Callable

from protocol.errors import DropReason
from protocol.relay.flow import Flow
from protocol.relay.flow_table import FlowEntry, Station
from protocol.relay.stations import Stations
from protocol.relay.tables import (
    Member,
    MulticastAddressTable,
    NextHop,
    NextHopTable,
    RelayedGroup,
    Sender,
    UnicastGroupTable,
)
from protocol.relay.verdicts import Destination, Drop, Forward, Verdict
from protocol.types import VpnId
from protocol.wire.ethernet import is_station


class Decider:
    """Answers for a flow, and learns where its source station is."""

    def __init__(
        self,
        unicast_groups: UnicastGroupTable,
        multicast_addresses: MulticastAddressTable,
        next_hops: NextHopTable,
        stations: Stations,
        invalidate: Callable[[VpnId], None],
        strips: bool,
        tag_length: int,
        requires_hop_tags: bool,
        split_horizon: bool,
    ) -> None:
        """Takes the tables, and who is told of a group whose decisions are out of force.

        With ``strips`` clients are sent what lies below the VPN header and ``tag_length`` octets of tag.
        """
        self._unicast_groups = unicast_groups
        self._multicast_addresses = multicast_addresses
        self._next_hops = next_hops
        self._stations = stations
        self._invalidate = invalidate
        self._strips = strips
        self._tag_length = tag_length
        self._requires_hop_tags = requires_hop_tags
        self._split_horizon = split_horizon

    def first_of(self, flow: Flow, now: int) -> FlowEntry | Drop:
        """Decides about a flow; a drop that could end by a change elsewhere is not to be kept."""
        verdict = self.forward(flow, now)
        sender = self.sender(flow.source)
        if sender is None or _rests_on_others(verdict):
            assert isinstance(verdict, Drop)
            return verdict
        group = self._multicast_addresses.at(flow.inner_destination)
        assert group is not None
        station = self._station(flow, group.vpn_id)
        held = station is not None and self._stations.holder(station, now) not in (sender, None)
        entry = FlowEntry(verdict, sender, group.vpn_id, None if held else station, now)
        entry.provisional = held
        entry.between = sum(self._next_hops.at(to) is not None for to, *_ in verdict.destinations)
        entry.sought = self._is_sought(flow, verdict, group.vpn_id, now)
        entry.unreadable = self._unreadable(verdict, group, flow.spi)
        return entry

    def forward(self, flow: Flow, now: int) -> Verdict:
        """Decides about a flow, learning where its source station is.

        Patent: Fig. 7-2 steps 711-719.
        """
        sender = self.sender(flow.source)
        if sender is None:
            return Drop(DropReason.UNREGISTERED_SENDER)
        group = self._multicast_addresses.at(flow.inner_destination)  # 717
        if group is None:
            return Drop(DropReason.UNKNOWN_GROUP)
        if isinstance(sender, Member) and group.vpn_id != sender.vpn_id:
            return Drop(DropReason.FOREIGN_GROUP)
        if flow.spi not in group.spis:
            return Drop(DropReason.UNKNOWN_SPI)
        if isinstance(sender, Member) and not group.is_sent_to(sender, flow.spi):
            return Drop(DropReason.OTHER_SUB_ID)
        strip = flow.header.length + self._tag_length if self._strips else 0
        if flow.header.macs is not None:  # 711
            source, destination = flow.header.macs
            self.learn(sender, (group.vpn_id, source), now)  # 712-714
            if is_station(destination):  # 715, 716
                holder = self._stations.holder((group.vpn_id, destination), now)
                if holder is not None:
                    return self._to_holder(sender, holder, strip, group, flow.spi)
        return self._to_others(sender, strip, group, flow.spi)

    def sender(self, address: tuple[str, int]) -> Sender | None:
        """Returns who sends from ``address``: a client of this relay, or another VPN server."""
        member = self._unicast_groups.at(address)
        if member is not None:
            return member if member.home else None
        return self._next_hops.at(address)

    def learn(self, sender: Sender, station: Station, now: int) -> None:
        """Notes the source station at its sender; what is new takes the group's decisions out of force."""
        if self._stations.learn(station, sender, now):
            self._invalidate(station[0])

    def _to_holder(
        self, sender: Sender, holder: Sender, strip: int, group: RelayedGroup, spi: int
    ) -> Verdict:
        """Sends to where the destination is; never back to where the datagram came from."""
        if holder == sender:
            return Drop(DropReason.HAIRPIN)
        if isinstance(holder, Member):
            if not group.is_sent_to(holder, spi):
                return Drop(DropReason.OTHER_SUB_ID)
            if not holder.is_reached:
                return Drop(DropReason.NO_OTHER_MEMBER)
            return Forward((Destination(holder.address, strip),))
        if isinstance(sender, NextHop) and self._split_horizon:
            return Drop(DropReason.SPLIT_HORIZON)
        over = self._over(self._next_hops.at(holder.address))
        return Forward(over) if over else Drop(DropReason.NO_OTHER_MEMBER)

    def _to_others(self, sender: Sender, strip: int, group: RelayedGroup, spi: int) -> Verdict:
        """Sends to all of the group but the sender (718, 719), and a copy to each further server."""
        others = [
            Destination(other.address, strip)
            for other in self._unicast_groups.members(group.vpn_id)
            if other is not sender and other.is_reached and group.is_sent_to(other, spi)
        ]
        if isinstance(sender, Member) or not self._split_horizon:
            hops = self._next_hops.of_group(group.vpn_id)
            others += [to for hop in hops if hop != sender for to in self._over(hop)]
        return Forward(tuple(others)) if others else Drop(DropReason.NO_OTHER_MEMBER)

    def _over(self, hop: NextHop | None) -> tuple[Destination, ...]:
        """Returns how another VPN server is sent a copy; empty while it could not check a tag."""
        if hop is None or (self._requires_hop_tags and hop.send_key is None):
            return ()
        return (Destination(hop.address, 0, hop.send_key if self._requires_hop_tags else None),)

    def _is_sought(self, flow: Flow, verdict: Verdict, vpn_id: VpnId, now: int) -> bool:
        """Tells whether a flow is sent to all because nobody knows where its destination is."""
        macs = flow.header.macs
        if macs is None or not is_station(macs[1]) or not verdict.destinations:
            return False
        return self._stations.holder((vpn_id, macs[1]), now) is None

    def _unreadable(self, verdict: Verdict, group: RelayedGroup, spi: int) -> int:
        """Counts the copies that go to members who do not hold the SPI: the price of not looking."""
        members = (self._unicast_groups.at(to) for to, *_ in verdict.destinations)
        return sum(one is not None and not group.is_read_by(one, spi) for one in members)

    @staticmethod
    def _station(flow: Flow, vpn_id: VpnId) -> Station | None:
        macs = flow.header.macs
        return (vpn_id, macs[0]) if macs is not None and is_station(macs[0]) else None


def _rests_on_others(verdict: Verdict) -> bool:
    """Tells whether a verdict could change without a change in the sender's own group."""
    return isinstance(verdict, Drop) and verdict.reason in (
        DropReason.UNREGISTERED_SENDER,
        DropReason.UNKNOWN_GROUP,
        DropReason.FOREIGN_GROUP,
        DropReason.UNKNOWN_SPI,
    )
