"""Where stations are: as seen by this relay (table 509), and as other VPN servers have reported.

What is seen here wins over what is reported, but not within the hold-down of the report; a new report
wins over what was seen. What has come and gone here is kept until it is reported.

Patent: Fig. 6-4 table 509; Fig. 7-2 steps 712-716.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from protocol.learning import LearningTable, Learnt
from protocol.relay.flow_table import Station
from protocol.relay.tables import Member, NextHop, Sender
from protocol.types import ClientId, VpnId
from protocol.wire.ethernet import is_station

STATIONS_PER_CLIENT = 1024
STATIONS_PER_SERVER = 65_536


@dataclass(frozen=True)
class Sighting:
    """A station that was seen at a client of this relay, or (None) is seen there no more."""

    station: Station
    client_id: ClientId | None


class Stations:
    """Every station that the relay knows a place of."""

    def __init__(self, lifetime: int, hold_down: int) -> None:
        """Takes the lifetime and hold-down of table 509 in ns."""
        self.seen: LearningTable[Station, Sender] = LearningTable(
            lifetime, hold_down, STATIONS_PER_CLIENT
        )
        self.not_learnt: Counter[Learnt] = Counter()
        self.reports = False
        """Whether sightings are to be taken."""
        self._elsewhere: dict[Station, tuple[Member, int]] = {}
        self._sightings: dict[Station, ClientId | None] = {}

    def holder(self, station: Station, now: int) -> Sender | None:
        """Returns where a station is: as seen here, or as another VPN server has seen it."""
        holder = self.seen.lookup(station, now)
        if holder is None and station in self._elsewhere:
            return self._elsewhere[station][0]
        return holder

    def learn(self, station: Station, sender: Sender, now: int) -> bool:
        """Notes a station at its sender, if it is one and there is room; True when that is new."""
        if not is_station(station[1]):
            return False
        _, since = self._elsewhere.get(station, (None, None))
        if since is not None and now - since < self.seen.hold_down:
            self.not_learnt[Learnt.HELD_DOWN] += 1
            return False
        capacity = None if isinstance(sender, Member) else STATIONS_PER_SERVER
        learnt = self.seen.learn(station, sender, now, capacity)
        if learnt in (Learnt.HELD_DOWN, Learnt.FULL):
            self.not_learnt[learnt] += 1
        if learnt not in (Learnt.NEW, Learnt.MOVED):
            return False
        self._elsewhere.pop(station, None)
        if self.reports and isinstance(sender, Member):
            self._sightings[station] = sender.client_id
        return True

    def expire(self, now: int) -> list[VpnId]:
        """Forgets stations that are silent, and returns the groups that they were of."""
        expired = self.seen.expire(now)
        if self.reports:
            self._sightings.update(dict.fromkeys(expired))
        return list(dict.fromkeys(vpn_id for vpn_id, _ in expired))

    # -- who comes and goes

    def purge_member(self, member: Member) -> None:
        """Forgets the stations of a client, seen here or reported."""
        self.seen.purge(member)
        for station in [one for one, (at, _) in self._elsewhere.items() if at is member]:
            del self._elsewhere[station]

    def change_member(self, before: Member, member: Member) -> None:
        """Has the stations seen at a client be at what it is now."""
        self.seen.replace(before, member)

    def purge_hop(self, hop: NextHop, vpn_ids: frozenset[VpnId] | None = None) -> None:
        """Forgets the stations behind another VPN server, on request only those of some groups."""
        if vpn_ids is None:
            self.seen.purge(hop)
            return
        for station, holder, _ in list(self.seen.rows(0)):
            if holder == hop and station[0] in vpn_ids:
                self.seen.forget(station)

    # -- what other VPN servers have seen

    def install(self, station: Station, member: Member, now: int) -> None:
        """Notes a station that another VPN server has seen at one of its clients."""
        self.seen.forget(station)
        self._elsewhere[station] = member, now

    def remove(self, station: Station) -> bool:
        """Forgets a station of another VPN server's client; False when it was not known."""
        return self._elsewhere.pop(station, None) is not None

    def elsewhere(self) -> Iterable[tuple[Station, Member]]:
        """Yields the stations that other VPN servers have seen."""
        for station, (member, _) in self._elsewhere.items():
            yield station, member

    # -- what they are told

    def take_sightings(self) -> list[Sighting]:
        """Returns which stations have come and gone since the last call, each as it was seen last."""
        sightings, self._sightings = self._sightings, {}
        return [Sighting(station, client_id) for station, client_id in sightings.items()]

    def sight_again(self) -> None:
        """Has :meth:`take_sightings` name every station that is known here: some may be lost."""
        if not self.reports:
            return
        for station, holder, _ in self.seen.rows(0):
            if isinstance(holder, Member):
                self._sightings[station] = holder.client_id
