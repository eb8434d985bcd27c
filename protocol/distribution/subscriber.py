"""A VPN server's side: takes the representative's tables in order, and keeps the relay in step.

A message that does not follow what is held changes nothing, and the whole is asked for. When the
representative comes back with a new epoch, what the old one said serves beside it for a while: clients
register again one by one, and until then their frames go on.

Patent: Fig. 15 parts 1502, 1503; Figs. 16, 18, 19; tables 507, 508.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from protocol.distribution.addresses import put_at, unknown_to, with_shown
from protocol.distribution.checks import fit_together
from protocol.distribution.counts import ClientCounts
from protocol.distribution.epochs import beside
from protocol.distribution.in_force import InForce
from protocol.distribution.tables import Tables
from protocol.types import SECOND, Address, ClientId
from protocol.wire.table_messages import (
    VERSION,
    Alive,
    Applied,
    Changes,
    Hello,
    RepresentativeMessage,
    Resynchronise,
    Snapshot,
    StationKey,
    StationRow,
    Stations,
    VpnServerMessage,
)

if TYPE_CHECKING:
    from protocol.relay.transfer import Relay

MILLISECOND = 1_000_000
ALIVE_INTERVAL = SECOND
SILENCE = 4 * SECOND
"""How long the representative may say nothing before the channel counts as dead."""
COUNTS_INTERVAL = 5 * SECOND
"""How often the representative is told what has come from and gone to clients."""
NOTHING = -1


@dataclass(frozen=True)
class SendReport:
    """Send this message to the representative."""

    message: VpnServerMessage


@dataclass(frozen=True)
class CloseReport:
    """End the channel to the representative."""

    reason: str = ""
    """What its user should mend, if something."""


SubscriberAction = SendReport | CloseReport


class Subscriber:
    """Applies what the representative says to one relay."""

    def __init__(self, relay: Relay, start: int) -> None:
        """Takes the relay, and a number that no other start of this server has."""
        self.epoch = NOTHING
        self.sequence = NOTHING
        self.tables = Tables()
        """What the representative has said in this epoch."""
        self.ignored: Counter[str] = Counter()
        """Messages that changed nothing, by reason."""
        self.counts = ClientCounts(relay, start)
        self._relay = relay
        relay.bindings.start_at(start)
        self._in_force = InForce(relay)
        self._earlier: Tables | None = None
        self._earlier_until = 0
        self._connected = False
        self._asked = False
        self._sights_again = False
        self._alive_due = 0
        self._counts_due = 0
        self._silent_at = 0
        self._actions: deque[SubscriberAction] = deque()

    # -- the channel

    def channel_opened(self, now: int) -> None:
        """Greets the representative, which then tells the whole."""
        self._connected, self._asked, self._sights_again = True, False, True
        self._actions.clear()
        self._alive_due, self._silent_at = now + ALIVE_INTERVAL, now + SILENCE
        self._counts_due = now + COUNTS_INTERVAL
        self.counts.tell_all_again()
        self._actions.append(SendReport(Hello(VERSION)))

    def channel_lost(self, now: int) -> None:
        """Notes that the representative is away: the tables go on serving."""
        self._connected = False

    def receive_message(self, message: RepresentativeMessage, now: int) -> None:
        """Takes a message if it follows what is held; otherwise it changes nothing."""
        self._silent_at = now + SILENCE
        if isinstance(message, Alive):
            return
        self._take_bound()
        if message.epoch < self.epoch:
            self.ignored["old_epoch"] += 1
        elif message.epoch == self.epoch and message.sequence <= self.sequence:
            self.ignored["repeated"] += 1
        elif isinstance(message, Snapshot):
            self._take_whole(message, now)
        elif message.epoch != self.epoch or message.sequence != self.sequence + 1:
            self.ignored["gap"] += 1
            self._ask()
        else:
            self._take_changes(message, now)

    # -- time and actions

    def next_timeout(self) -> int | None:
        """Returns when :meth:`handle_timeout` is due, or None."""
        times = [self._earlier_until] if self._earlier is not None else []
        if self._connected:
            times += [self._alive_due, self._silent_at, self._counts_due]
        return min(times, default=None)

    def handle_timeout(self, now: int) -> None:
        """Says that it is here, and what it has counted; gives up a dead channel.

        Forgets what the epoch before said.
        """
        if self._connected and now >= self._alive_due:
            self._alive_due = now + ALIVE_INTERVAL
            self._actions.append(SendReport(Alive()))
        if self._connected and now >= self._counts_due:
            self._counts_due = now + COUNTS_INTERVAL
            self._actions.extend(map(SendReport, self.counts.take_reports()))
        if self._connected and now >= self._silent_at:
            self._connected = False
            self._actions.append(CloseReport())
        if self._earlier is not None and now >= self._earlier_until:
            self._take_bound()
            self._earlier = None
            self._relay.former = frozenset()
            self._in_force.put(with_shown(self.tables, self._relay), now)
            self.counts.forget_all_gone()

    def report(self) -> None:
        """Tells the representative where clients are now, and which stations have come and gone."""
        self._take_bound()
        if not self._connected or self._sights_again:
            return
        sightings = self._relay.stations.take_sightings()
        if not sightings:
            return
        last = {sighting.station: sighting.client_id for sighting in sightings}
        keys = {station: StationKey(station[0], station[1].hex()) for station in last}
        forgotten = tuple(keys[one] for one, client_id in last.items() if client_id is None)
        seen = tuple(
            StationRow(one[0], one[1].hex(), client_id)
            for one, client_id in last.items()
            if client_id is not None
        )
        self._actions.append(SendReport(Stations(forgotten, seen)))

    def _take_bound(self) -> None:
        """Puts clients where they have shown the relay to be, and tells what is not known there."""
        shown = self._relay.bindings.take_bound()
        for client_id, address in shown.items():
            put_at(self._in_force.rows, client_id, address)
            if self._earlier is not None:
                put_at(self._earlier, client_id, address)
        self._tell_addresses(shown)

    def _tell_addresses(self, shown: Mapping[ClientId, Address]) -> None:
        if self._connected and shown:
            self._actions.extend(map(SendReport, unknown_to(self.tables, shown.items())))

    def next_action(self) -> SubscriberAction | None:
        """Returns the next thing to do, or None when all is done."""
        return self._actions.popleft() if self._actions else None

    # -- tables

    def _take_whole(self, message: Snapshot, now: int) -> None:
        if message.hop_tags != self._relay.requires_hop_tags:
            self.ignored["other_hop_tags"] += 1
            here, there = map(_hop_tags, (self._relay.requires_hop_tags, message.hop_tags))
            self._actions.append(
                CloseReport(f'hop_tags: expected "{there}" as there, got "{here}"')
            )
            return
        tables = Tables.of(message.rows)
        if not fit_together(tables):
            self.ignored["inconsistent"] += 1
            self._actions.append(CloseReport())
            return
        if self.epoch not in (NOTHING, message.epoch):
            self._earlier = self._in_force.rows
            self._earlier_until = now + message.grace * MILLISECOND
        self._asked = False
        self._relay.set_probe_tokens((message.token.reveal(),))
        self._relay.stations.reports = message.reports
        self._take(tables, message.epoch, message.sequence, now)
        if self._sights_again:
            self._sights_again = False
            self._relay.stations.sight_again()

    def _take_changes(self, message: Changes, now: int) -> None:
        tables = self.tables.copy()
        tables.remove(message.removed)
        tables.put(message.put)
        if not fit_together(tables):
            self.ignored["inconsistent"] += 1
            self._ask()
            return
        self._take(tables, message.epoch, message.sequence, now)

    def _take(self, tables: Tables, epoch: int, sequence: int, now: int) -> None:
        self.tables, self.epoch, self.sequence = tables, epoch, sequence
        rows = tables if self._earlier is None else beside(tables, self._earlier)
        rows = with_shown(rows, self._relay)
        earlier = () if self._earlier is None else self._earlier.members
        self._relay.former = frozenset(ClientId(one) for one in earlier) - tables.members.keys()
        self._in_force.put(rows, now)
        self._actions.append(SendReport(Applied(epoch, sequence)))
        self._tell_addresses(
            {
                ClientId(row.client_id): row.endpoint.address
                for row in rows.members.values()
                if row.binding_key is not None
            }
        )

    def _ask(self) -> None:
        """Asks for the whole, once until it comes."""
        if not self._asked:
            self._asked = True
            self._actions.append(
                SendReport(Resynchronise(max(0, self.epoch), max(0, self.sequence)))
            )


def _hop_tags(required: bool) -> str:
    return "required" if required else "off"
