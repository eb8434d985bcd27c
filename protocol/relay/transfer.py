"""VPN transfer processing 512: one decision for each flow, from what stands outside the encryption.

What a decision rests on is its group's members, its SPIs and where its stations are: a change in a
group takes that group's decisions out of force and no others.

Patent: Fig. 5-2 part 512; Fig. 7-2 steps 709-719; tables 507-509; claim 1.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import replace

from protocol.errors import DropReason, WireError
from protocol.relay.bindings import Bindings, Found
from protocol.relay.decider import Decider
from protocol.relay.flow import (
    USUAL_HEADERS,
    USUAL_LEAST,
    Flow,
    FlowOctets,
    count_alike,
    flow_octets,
    split_usual,
)
from protocol.relay.flow_table import FlowEntry, FlowKey, FlowTable, Station
from protocol.relay.stations import Stations
from protocol.relay.tables import (
    Member,
    MulticastAddressTable,
    NextHop,
    NextHopTable,
    RelayedGroup,
    UnicastGroupTable,
)
from protocol.relay.upkeep import Upkeep
from protocol.relay.verdicts import Destination, Drop, Forward, Run, Strip, Verdict, add_run
from protocol.types import SECOND, Address, ClientId, Secret, VpnId
from protocol.wire.binding import BINDING
from protocol.wire.probe import PROBE, Probe

TAKEN = Forward(())
"""About a datagram that the relay itself has answered."""


class Relay:
    """Forwards the datagrams of registered clients within their group. It holds no data key."""

    _flags = 0
    _tag_length = 0
    """The flags of the VPN headers that it takes, and the octets that these add."""
    requires_hop_tags = False

    def __init__(
        self,
        strip: Strip = Strip.KEEP,
        mac_lifetime: int = 3600 * SECOND,
        hold_down: int = SECOND,
        split_horizon: bool = True,
    ) -> None:
        """Takes what clients are sent, and the lifetime and hold-down of table 509 in ns.

        Without ``split_horizon`` what comes from a VPN server goes to other servers too, as the text
        has it: with three of them a frame goes round for ever. For showing that, and nothing else.
        """
        self.strip = strip
        self.unicast_groups = UnicastGroupTable()
        self.multicast_addresses = MulticastAddressTable()
        self.next_hops = NextHopTable()
        self.stations = Stations(mac_lifetime, hold_down)
        self.mac_ip = self.stations.seen
        self.flows = FlowTable()
        self.probes_echoed = 0
        self.bindings = Bindings()
        self.former: frozenset[ClientId] = frozenset()
        """Clients whose addresses others of their group may take: they are being registered again."""
        self.decider = Decider(
            self.unicast_groups,
            self.multicast_addresses,
            self.next_hops,
            self.stations,
            self._invalidate,
            strips=strip is Strip.PATENT,
            tag_length=self._tag_length,
            requires_hop_tags=self.requires_hop_tags,
            split_horizon=split_horizon,
        )
        self._upkeep = Upkeep(self.flows, self.stations, self.decider.learn, self._invalidate)
        self._flow = self.flows.get
        self._sender = self.decider.sender
        self._probe_tokens: frozenset[bytes] = frozenset()
        self._members: dict[ClientId, Member] = {}
        self._news = False

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
        self.bindings.add(member.client_id)
        self._invalidate(member.vpn_id)

    def remove_member(self, client_id: ClientId) -> None:
        """Removes a client, its stations and the decisions about its datagrams."""
        member = self._members.pop(client_id)
        self.bindings.remove(client_id)
        self.unicast_groups.remove(member)
        self.stations.purge_member(member)
        self._invalidate(member.vpn_id)
        self.flows.forget_counts(member)

    def change_hop_keys(self, client_id: ClientId, hop_keys: tuple[Secret, ...]) -> None:
        """Has a client's datagrams tagged with other keys; nothing else changes."""
        member = replace(self._members[client_id], hop_keys=hop_keys)
        self._members[client_id] = member
        self.unicast_groups.change(member)
        self._invalidate(member.vpn_id)

    def member(self, client_id: ClientId) -> Member | None:
        """Returns a client as it is in the tables."""
        return self._members.get(client_id)

    def _change_address(self, member: Member, address: Address) -> None:
        """Has a client be elsewhere from now on, its stations and counts with it."""
        changed = replace(member, address=address)
        self._members[member.client_id] = changed
        self.unicast_groups.change(changed)
        self.stations.change_member(member, changed)
        self._invalidate(member.vpn_id)
        self.flows.readdress_counts(member.address, address)

    # -- what the representative says of other VPN servers

    def install_next_hop(self, hop: NextHop, vpn_ids: frozenset[VpnId]) -> None:
        """Adds another VPN server, or changes its hop keys or the groups that it has clients of.

        Patent: Fig. 19.
        """
        known = self.next_hops.named(hop.name)
        if known not in (hop, None):
            self.remove_next_hop(hop.name)
        before = self.next_hops.install(hop, vpn_ids)
        self.stations.purge_hop(hop, before - vpn_ids)
        same_keys = known is None or _hop_keys(known) == _hop_keys(hop)
        for vpn_id in before ^ vpn_ids if same_keys else before | vpn_ids:
            self._invalidate(vpn_id)

    def remove_next_hop(self, name: str) -> None:
        """Removes another VPN server and the stations behind it."""
        hop = self.next_hops.named(name)
        if hop is None:
            return
        self.stations.purge_hop(hop)
        self.next_hops.remove(name)
        for row in self.multicast_addresses.rows():
            self._invalidate(row.vpn_id)

    def install_station(self, station: Station, client_id: ClientId, now: int) -> None:
        """Notes a station that another VPN server has seen at one of its clients."""
        self.stations.install(station, self._members[client_id], now)
        self._invalidate(station[0])

    def remove_station(self, station: Station) -> None:
        """Forgets a station of another VPN server's client."""
        if self.stations.remove(station):
            self._invalidate(station[0])

    def set_probe_tokens(self, tokens: Iterable[bytes]) -> None:
        """Says which probes are sent back."""
        self._probe_tokens = frozenset(tokens)

    # -- datagrams

    def receive_datagram(
        self, datagram: bytes | memoryview, source: tuple[str, int], now: int
    ) -> Verdict:
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

    def receive_batch(
        self, buffer: bytearray, place: slice, size: int, source: tuple[str, int], now: int
    ) -> list[Run]:
        """Decides about datagrams of one sender that stand behind each other in ``buffer[place]``.

        Each has ``size`` octets, the last at most as many. The answers and all counters are those
        of :meth:`receive_datagram` for each of them in turn.

        Patent: Fig. 7-2 steps 709-711.
        """
        runs: list[Run] = []
        start, end = place.start, place.stop
        view = memoryview(buffer)
        while start < end:
            several = start + 2 * size <= end
            kept = self._kept_run(view[start:end], size, source) if several else None
            if kept is None:
                stop = min(start + size, end)
                verdict = self.receive_datagram(view[start:stop], source, now)
            else:
                entry, alike = kept
                stop, verdict = start + alike * size, entry.verdict
                entry.packets += alike
                entry.octets += alike * size
            add_run(runs, Run(start, stop, verdict))
            start = stop
        return runs

    def _kept_run(
        self, datagrams: memoryview, size: int, source: tuple[str, int]
    ) -> tuple[FlowEntry, int] | None:
        """Returns the decision that the flow of the first datagram has, and how many go by it.

        These are of ``size`` octets each and stand at the front. None when the first has none.
        """
        octets = flow_octets(datagrams[:size])
        entry = None if octets is None else self._flow((source, *octets))
        return None if entry is None else (entry, count_alike(datagrams, size))

    def _receive_unusual(
        self, datagram: bytes | memoryview, source: tuple[str, int], now: int
    ) -> Verdict:
        """Decides about a datagram that is the first of its flow, without MACs, or with IPv4 inside."""
        if datagram and datagram[0] == PROBE:
            return self._probe(datagram, source)
        if datagram and datagram[0] == BINDING:
            return self._bind(datagram, Address(*source))
        return self._decide(flow_octets(datagram), len(datagram), source, now)

    def _decide(
        self, octets: FlowOctets | None, length: int, source: tuple[str, int], now: int
    ) -> Verdict:
        """Decides about a datagram of ``length`` octets; without octets that name a flow, to drop it."""
        if octets is None:
            return self._drop(DropReason.MALFORMED_DATAGRAM, length)
        key = (source, *octets)
        entry = self._flow(key)
        if entry is None:
            first = self._first_of_flow(key, length, now)
            if isinstance(first, Drop):
                return first
            entry = first
        entry.packets += 1
        entry.octets += length
        return entry.verdict

    def _drop(self, reason: DropReason, length: int) -> Drop:
        """Drops a datagram that belongs to no kept flow."""
        self.flows.add_drop(reason, length)
        return Drop(reason)

    def _probe(self, datagram: bytes | memoryview, source: tuple[str, int]) -> Verdict:
        """Has a probe sent back as it is, if the representative gave its sender the token."""
        try:
            token = Probe.parse(datagram).token
        except WireError:
            return self._drop(DropReason.MALFORMED_DATAGRAM, len(datagram))
        if token not in self._probe_tokens:
            return self._drop(DropReason.UNKNOWN_TOKEN, len(datagram))
        self.probes_echoed += 1
        return Forward((Destination(Address(*source)),))

    def _bind(self, datagram: bytes | memoryview, source: Address) -> Verdict:
        """Takes the source of a client's binding for its address, and has the binding answered."""
        self._news = True
        length = len(datagram)
        asked = self.bindings.parse(datagram)
        if asked is None:
            return self._drop(DropReason.MALFORMED_DATAGRAM, length)
        member = self._members.get(ClientId(asked.client_id))
        found = self.bindings.check(asked, datagram, member, source)
        if isinstance(found, DropReason):
            return self._drop(found, length)
        assert member is not None
        if found is Found.SHOWN:
            if not self._is_free(source, member):
                return self._drop(DropReason.ADDRESS_IN_USE, length)
            self._change_address(member, source)
        self.bindings.answer(asked, member, source, found)
        return TAKEN

    def _is_free(self, address: Address, member: Member) -> bool:
        """Tells whether nobody has an address; takes it from who is there from an earlier epoch."""
        holder = self.unicast_groups.at(address)
        if holder is None:
            return self.next_hops.at(address) is None
        same_place = (holder.vpn_id, holder.sub_id) == (member.vpn_id, member.sub_id)
        if holder.client_id not in self.former or not same_place:
            return False
        self.remove_member(holder.client_id)
        return True

    def _first_of_flow(self, key: FlowKey, length: int, now: int) -> FlowEntry | Drop:
        """Decides about a flow that has no decision, and keeps it if it may be kept."""
        self._news = True
        source, *octets = key
        flow = Flow.parse(Address(*source), (octets[0], octets[1]), self._flags)
        first = Drop(flow) if isinstance(flow, DropReason) else self.decider.first_of(flow, now)
        if isinstance(first, Drop):
            return self._drop(first.reason, length)
        self.flows.keep(key, first)
        self._upkeep.kept(key, first, now)
        return first

    def take_news(self) -> bool:
        """Tells whether datagrams have left anything to do since the last call.

        That may be a time to be woken up at, a station to be told of, a binding to be answered. Later
        datagrams of a flow leave nothing.
        """
        news, self._news = self._news, False
        return news

    # -- time

    def next_timeout(self) -> int | None:
        """Returns when :meth:`handle_timeout` is due, or None."""
        return self._upkeep.due

    def handle_timeout(self, now: int) -> None:
        """Does what is due: reviews provisional decisions, forgets stations and flows that are silent."""
        self._upkeep.handle_timeout(now)

    def _invalidate(self, vpn_id: VpnId) -> None:
        """Takes the decisions of one group out of force: what they rest on has changed."""
        self.flows.forget_group(vpn_id)


def _hop_keys(hop: NextHop) -> tuple[Secret | None, ...]:
    return (hop.send_key, *hop.hop_keys)
