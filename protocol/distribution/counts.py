"""What has come from and gone to each client, counted by VPN servers and summed by the representative.

A server says what it has counted since it started, so a report that is lost or comes twice changes no sum.
The representative adds what is more than the server said before; a server that has started anew counts from
zero, and what it said before stays in the sum.

Patent: Figs. 15, 19; table 507; effect E4.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from msgspec.structs import astuple

from protocol.relay.flow_table import Passed
from protocol.relay.tables import Member
from protocol.types import Address, ClientId
from protocol.wire.table_messages import CountRow, Counts

if TYPE_CHECKING:
    from protocol.relay.transfer import Relay

ROWS_EACH = 1024
"""Clients that one message counts: about 120 kB."""
GONE_KEPT = 4096
"""Clients that are not in the tables any more and are still counted, for they may come back."""


@dataclass
class Both:
    """What has come from a client, and what has gone to it."""

    sent: Passed = field(default_factory=Passed)
    received: Passed = field(default_factory=Passed)

    def add(self, other: Both) -> None:
        """Adds to both."""
        self.sent.add(other.sent.datagrams, other.sent.octets)
        self.received.add(other.received.datagrams, other.received.octets)

    def more_than(self, other: Both) -> Both:
        """Returns the difference; all of it when one count is less, for they began anew then."""
        pairs = list(zip(self.numbers, other.numbers, strict=True))
        if any(here < there for here, there in pairs):
            return self.copy()
        numbers = [here - there for here, there in pairs]
        return Both(Passed(*numbers[:2]), Passed(*numbers[2:]))

    def copy(self) -> Both:
        """Returns the same counts, which change by themselves."""
        return Both(replace(self.sent), replace(self.received))

    @property
    def numbers(self) -> tuple[int, int, int, int]:
        """Datagrams and octets from it, datagrams and octets to it."""
        sent, received = self.sent, self.received
        return sent.datagrams, sent.octets, received.datagrams, received.octets


class ClientCounts:
    """One VPN server's: what its relay has counted by client since it started."""

    def __init__(self, relay: Relay, start: int) -> None:
        """Takes what tells this start of the server from its others."""
        self._relay = relay
        self._start = start
        self._past: dict[ClientId, Both] = {}
        """What the relay has forgotten, with the rows of its tables."""
        self._told: dict[ClientId, Both] = {}
        relay.flows.counts_forgotten = self._keep

    def by_client(self) -> dict[ClientId, Both]:
        """Returns what has passed from and to each client up to now."""
        flows = self._relay.flows
        flows.read_counters()
        counts = {client_id: past.copy() for client_id, past in self._past.items()}
        sent, received = flows.passed()
        for client_id, passed in sent.items():
            counts.setdefault(client_id, Both()).add(Both(sent=passed))
        for address, passed in received.items():
            member = self._relay.unicast_groups.at(address)
            if member is not None:
                counts.setdefault(member.client_id, Both()).add(Both(received=passed))
        return counts

    def tell_all_again(self) -> None:
        """Begins anew: nobody knows whether what was told has arrived."""
        self._told.clear()

    def take_reports(self) -> list[Counts]:
        """Returns what has changed since it was told last, in messages of bounded size."""
        counts = self.by_client()
        changed = {one: both for one, both in counts.items() if self._told.get(one) != both}
        self._told |= changed
        self._forget_gone(GONE_KEPT)
        rows = [CountRow(client_id, *both.numbers) for client_id, both in changed.items()]
        return [
            Counts(self._start, tuple(rows[first : first + ROWS_EACH]))
            for first in range(0, len(rows), ROWS_EACH)
        ]

    def forget_all_gone(self) -> None:
        """Forgets every client that is in no table: those of an earlier epoch never come back."""
        self._forget_gone(0)

    def _keep(self, member: Member, sent: Passed, received: Passed) -> None:
        """Takes over what the relay forgets; whoever was forgotten last stands last."""
        past = self._past.pop(member.client_id, Both())
        past.add(Both(sent, received))
        self._past[member.client_id] = past

    def _forget_gone(self, kept: int) -> None:
        if len(self._past) <= kept:
            return
        there = {
            one.client_id for _, members in self._relay.unicast_groups.rows() for one in members
        }
        gone = [client_id for client_id in self._past if client_id not in there]
        for client_id in gone[: len(gone) - kept]:
            del self._past[client_id]
            self._told.pop(client_id, None)


class CountSums:
    """The representative's: what all servers have counted, by client, while it is registered."""

    def __init__(self, every_server_sends: bool) -> None:
        """Takes whether servers send to clients of others too, as with direct delivery."""
        self._every_server_sends = every_server_sends
        self._sums: dict[ClientId, Both] = {}
        self._addresses: dict[ClientId, Address] = {}
        self._holders: dict[ClientId, set[str]] = {}
        """The servers that a client has been at: what has come from it, they say alone."""
        self._starts: dict[str, int] = {}
        self._said: dict[str, dict[ClientId, Both]] = {}

    def joined(self, member: Member, server: str) -> None:
        """Begins a client's sums, or notes that another server holds it."""
        self._sums.setdefault(member.client_id, Both())
        self._addresses[member.client_id] = member.address
        self._holders.setdefault(member.client_id, set()).add(server)

    def left(self, client_id: ClientId) -> None:
        """Ends a client's sums."""
        del self._sums[client_id], self._addresses[client_id], self._holders[client_id]
        for said in self._said.values():
            said.pop(client_id, None)

    def take(self, server: str, message: Counts) -> int:
        """Adds what is new; returns how many rows were not the server's to tell."""
        if self._starts.get(server) != message.start:
            self._starts[server] = message.start
            self._said[server] = {}
        said, foreign = self._said[server], 0
        for row in message.rows:
            client_id = ClientId(row.client_id)
            if client_id not in self._sums:
                continue  # it has left meanwhile
            if not self._is_believed(server, row):
                foreign += 1
                continue
            counts = _both(row)
            self._sums[client_id].add(counts.more_than(said.get(client_id, Both())))
            said[client_id] = counts
        return foreign

    def passed(self) -> tuple[dict[ClientId, Passed], dict[Address, Passed]]:
        """Returns what has come from each client, and what has gone to each client's address."""
        sent = {client_id: both.sent for client_id, both in self._sums.items()}
        received = {self._addresses[one]: both.received for one, both in self._sums.items()}
        return sent, received

    def _is_believed(self, server: str, row: CountRow) -> bool:
        """Tells whether the server holds or has held the client, or says only what it has sent there."""
        if server in self._holders[ClientId(row.client_id)]:
            return True
        return self._every_server_sends and not (row.datagrams_in or row.octets_in)


def _both(row: CountRow) -> Both:
    _, *numbers = astuple(row)
    return Both(Passed(*numbers[:2]), Passed(*numbers[2:]))
