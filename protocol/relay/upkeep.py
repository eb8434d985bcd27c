"""What becomes due for the decisions in force: reviews of provisional ones, and sweeps of silent ones.

Lifetimes of stations are refreshed here from the flows' counters, not by each datagram.

Patent: table 509.
"""

from __future__ import annotations

from collections.abc import Callable

from protocol.relay.flow_table import FlowEntry, FlowKey, FlowTable, Station
from protocol.relay.stations import Stations
from protocol.relay.tables import Sender
from protocol.types import SECOND, VpnId

SWEEP_INTERVAL = 5 * SECOND
"""How often the flows' counters refresh the stations' lifetimes."""
FLOW_IDLE_TIME = 60 * SECOND


class Upkeep:
    """Knows when what is due, and does it."""

    def __init__(
        self,
        flows: FlowTable,
        stations: Stations,
        learn: Callable[[Sender, Station, int], None],
        invalidate: Callable[[VpnId], None],
    ) -> None:
        """Takes both tables, and who is told of stations that are there and of groups that changed."""
        self.due: int | None = None
        """When :meth:`handle_timeout` is due, kept here as it is asked all the time."""
        self._flows = flows
        self._stations = stations
        self._learn = learn
        self._invalidate = invalidate
        self._provisional: dict[FlowKey, None] = {}
        self._next_sweep: int | None = None
        self._next_review: int | None = None

    def kept(self, key: FlowKey, entry: FlowEntry, now: int) -> None:
        """Takes note of a decision that has come into force."""
        if self._next_sweep is None:
            self._next_sweep = now + SWEEP_INTERVAL
        if entry.provisional:
            self._provisional[key] = None
            if self._next_review is None:
                self._next_review = now + self._stations.seen.hold_down
        self._set_due()

    def handle_timeout(self, now: int) -> None:
        """Does what is due."""
        if self._next_review is not None and now >= self._next_review:
            self._review()
        if self._next_sweep is not None and now >= self._next_sweep:
            self._sweep(now)
        self._set_due()

    def _set_due(self) -> None:
        times = [time for time in (self._next_sweep, self._next_review) if time is not None]
        self.due = min(times, default=None)

    def _review(self) -> None:
        """Takes decisions out of force that were made while a station's move was held down."""
        for key in self._provisional:
            self._flows.forget(key)
        self._provisional.clear()
        self._next_review = None

    def _sweep(self, now: int) -> None:
        """Refreshes stations whose flows have moved; forgets stations and flows that are silent."""
        self._flows.read_counters()
        for key, entry in self._flows.items():
            if entry.packets != entry.swept:
                entry.swept, entry.last_used = entry.packets, now
                if entry.station is not None:
                    self._learn(entry.sender, entry.station, now)
            elif now - entry.last_used >= FLOW_IDLE_TIME:
                self._flows.forget(key)
        for vpn_id in self._stations.expire(now):
            self._invalidate(vpn_id)
        idle = not len(self._flows) and not len(self._stations.seen)
        self._next_sweep = None if idle else now + SWEEP_INTERVAL
