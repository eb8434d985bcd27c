"""The decisions that are in force, one for each flow, and what has passed by each.

A further datagram of a flow costs one look-up here. Every data plane works from this table; its
counters tell the relay which stations are alive.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Protocol

from protocol.errors import DropReason
from protocol.relay.tables import Member, Sender
from protocol.relay.verdicts import Drop, Verdict
from protocol.types import Address, ClientId, VpnId

FLOWS_PER_CLIENT = 4096
FLOWS_PER_SERVER = 65_536
"""Flows of one group that are kept for one sender: a VPN server stands for many clients."""

FlowKey = tuple[tuple[str, int], bytes, bytes]
"""(the sender's address, and the octets that name the flow)."""
Station = tuple[VpnId, bytes]
"""(VPN ID, MAC): equal MACs in two groups are two stations."""


class FlowEntry:
    """A flow's decision, and what has passed by it."""

    __slots__ = (
        "between",
        "last_used",
        "octets",
        "packets",
        "provisional",
        "sender",
        "sought",
        "station",
        "swept",
        "unreadable",
        "verdict",
        "vpn_id",
    )

    def __init__(
        self, verdict: Verdict, sender: Sender, vpn_id: VpnId, station: Station | None, now: int
    ) -> None:
        self.verdict = verdict
        self.sender = sender
        self.vpn_id = vpn_id
        self.station = station
        """The source station, whose lifetime the flow's datagrams refresh; None where none is learnt."""
        self.provisional = False
        """Whether it was made while the source station's move to the sender was held down."""
        self.sought = False
        """Whether it goes to all because nobody knows where its destination is."""
        self.between = 0
        """Copies of each datagram that go to other VPN servers."""
        self.unreadable = 0
        """Of the copies of a datagram, those to members who do not hold its SA."""
        self.packets = 0
        self.octets = 0
        self.swept = 0
        self.last_used = now


@dataclass
class Passed:
    """Datagrams that have come from, or gone to, one client, and their payloads' octets."""

    datagrams: int = 0
    octets: int = 0

    def add(self, datagrams: int, octets: int) -> None:
        """Adds datagrams with so many octets altogether."""
        self.datagrams += datagrams
        self.octets += octets


class PassedTable:
    """What has come from each client, and what has gone to each address."""

    def __init__(self) -> None:
        self.sent: dict[ClientId, Passed] = {}
        self.received: dict[Address, Passed] = {}

    def add(self, entry: FlowEntry) -> None:
        """Adds what has passed by one flow."""
        if not entry.packets:
            return
        if isinstance(entry.sender, Member):  # another server's clients are counted there
            sent = self.sent.setdefault(entry.sender.client_id, Passed())
            sent.add(entry.packets, entry.octets)
        if isinstance(entry.verdict, Drop):
            return
        for to, strip, _ in entry.verdict.destinations:
            octets = entry.octets - strip * entry.packets
            self.received.setdefault(to, Passed()).add(entry.packets, octets)

    def copy(self) -> PassedTable:
        """Returns a table of its own with the same counts."""
        copied = PassedTable()
        copied.sent = {client: replace(passed) for client, passed in self.sent.items()}
        copied.received = {address: replace(passed) for address, passed in self.received.items()}
        return copied


@dataclass
class Totals:
    """What has passed: datagrams and octets in, copies and octets out, drops by reason."""

    datagrams_in: int = 0
    octets_in: int = 0
    copies_out: int = 0
    octets_out: int = 0
    copies_between: int = 0
    """Copies out that went to other VPN servers."""
    sought: int = 0
    """Datagrams to one station that went to all: nobody knew where it is."""
    copies_unreadable: int = 0
    """Copies to members of other Sub IDs, who cannot open them; they are in ``copies_out`` too."""
    octets_unreadable: int = 0
    drops: Counter[DropReason] = field(default_factory=Counter)

    def add(self, entry: FlowEntry) -> None:
        """Adds what has passed by one flow."""
        self.datagrams_in += entry.packets
        self.octets_in += entry.octets
        if isinstance(entry.verdict, Drop):
            if entry.packets:
                self.drops[entry.verdict.reason] += entry.packets
            return
        self.sought += entry.packets * entry.sought
        self.copies_between += entry.packets * entry.between
        for _, strip, _ in entry.verdict.destinations:
            self.copies_out += entry.packets
            self.octets_out += entry.octets - strip * entry.packets
        if entry.unreadable:
            strip = max(to.strip for to in entry.verdict.destinations)  # servers get it whole
            self.copies_unreadable += entry.packets * entry.unreadable
            self.octets_unreadable += (entry.octets - strip * entry.packets) * entry.unreadable

    def add_drop(self, reason: DropReason, octets: int) -> None:
        """Adds a datagram that belongs to no kept flow."""
        self.datagrams_in += 1
        self.octets_in += octets
        self.drops[reason] += 1


class FlowObserver(Protocol):
    """A data plane that holds copies of the decisions and counts what passes by them."""

    def flow_kept(self, key: FlowKey, entry: FlowEntry) -> None:
        """Takes note of a decision that is in force from now on."""

    def flow_forgotten(self, key: FlowKey) -> None:
        """Drops the copy of a decision before it returns, and brings its entry's counters up to date."""

    def read_counters(self) -> None:
        """Brings the counters of all entries up to date."""


class FlowTable:
    """Flow to decision, capped for each sender: the oldest decision makes room."""

    def __init__(self) -> None:
        self.observer: FlowObserver | None = None
        self.counts_forgotten: Callable[[Member, Passed, Passed], None] | None = None
        """Who is given what has come from and gone to a client, when it is forgotten here."""
        self._entries: dict[FlowKey, FlowEntry] = {}
        self._keys_of: dict[VpnId, dict[Sender, dict[FlowKey, None]]] = {}
        self._past = Totals()
        self._past_of_clients = PassedTable()
        self.get = self._entries.get

    def __len__(self) -> int:
        return len(self._entries)

    def keep(self, key: FlowKey, entry: FlowEntry) -> None:
        """Puts a decision in force."""
        keys = self._keys_of.setdefault(entry.vpn_id, {}).setdefault(entry.sender, {})
        room = FLOWS_PER_CLIENT if isinstance(entry.sender, Member) else FLOWS_PER_SERVER
        if len(keys) >= room:
            self.forget(next(iter(keys)))
        self._entries[key] = entry
        keys[key] = None
        if self.observer is not None:
            self.observer.flow_kept(key, entry)

    def forget(self, key: FlowKey) -> None:
        """Takes one decision out of force, if it is still there."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            del self._keys_of[entry.vpn_id][entry.sender][key]
            self._close(key, entry)

    def forget_group(self, vpn_id: VpnId) -> None:
        """Takes all decisions about one group's datagrams out of force."""
        for keys in self._keys_of.pop(vpn_id, {}).values():
            for key in keys:
                self._close(key, self._entries.pop(key))

    def forget_counts(self, member: Member) -> None:
        """Forgets what has passed from and to a client that has left, once no decision names it."""
        sent = self._past_of_clients.sent.pop(member.client_id, Passed())
        received = self._past_of_clients.received.pop(member.address, Passed())
        if self.counts_forgotten is not None and (sent.datagrams or received.datagrams):
            self.counts_forgotten(member, sent, received)

    def readdress_counts(self, before: Address, address: Address) -> None:
        """Has what has gone to a client count as gone to where it is now."""
        received = self._past_of_clients.received
        gone = received.pop(before, None)
        if gone is not None:
            received.setdefault(address, Passed()).add(gone.datagrams, gone.octets)

    def _close(self, key: FlowKey, entry: FlowEntry) -> None:
        """Has the copies of a decision dropped, and adds up what passed by it."""
        if self.observer is not None:
            self.observer.flow_forgotten(key)
        self._add_to_past(entry)

    def read_counters(self) -> None:
        """Brings the entries' counters up to date where a data plane counts by itself."""
        if self.observer is not None:
            self.observer.read_counters()

    def add_late(self, entry: FlowEntry, packets: int, octets: int) -> None:
        """Adds what passed by a decision while it was being forgotten."""
        late = copy(entry)
        late.packets, late.octets = packets, octets
        self._add_to_past(late)

    def _add_to_past(self, entry: FlowEntry) -> None:
        self._past.add(entry)
        self._past_of_clients.add(entry)

    def items(self) -> Iterator[tuple[FlowKey, FlowEntry]]:
        """Yields the decisions in force; the table may change meanwhile."""
        yield from list(self._entries.items())

    def add_drop(self, reason: DropReason, octets: int) -> None:
        """Counts a datagram that belongs to no kept flow."""
        self._past.add_drop(reason, octets)

    def totals(self) -> Totals:
        """Returns what has passed up to now."""
        self.read_counters()
        totals = replace(self._past, drops=Counter(self._past.drops))
        for entry in self._entries.values():
            totals.add(entry)
        return totals

    def passed(self) -> tuple[dict[ClientId, Passed], dict[Address, Passed]]:
        """Returns what has come from each client, and gone to each client's address, up to now.

        Only datagrams of kept flows count: those of no flow have no client.
        """
        table = self._past_of_clients.copy()
        for entry in self._entries.values():
            table.add(entry)
        return table.sent, table.received
