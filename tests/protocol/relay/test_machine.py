"""The relay against a small model of it, over random courses of events.

The model keeps table 509 as a plain dictionary of (VPN, MAC) and decides anew for every datagram; the
relay caches. Where the relay may lag on purpose (a station's lifetime is refreshed and its end noticed
within a sweep, a held-down move within a review), the model takes the relay's word.
"""

from __future__ import annotations

import copy
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from protocol.errors import DropReason
from protocol.relay import Drop, Forward, Member, Strip
from protocol.relay.flow import Flow
from protocol.relay.stations import Sighting
from protocol.relay.upkeep import SWEEP_INTERVAL
from protocol.types import SECOND, Address
from tests.protocol.relay.datagrams import (
    GROUPS,
    PLACES,
    address,
    datagram,
    member,
    receivers,
    relay_with,
    station,
)

LIFETIME = 40 * SECOND
HOLD_DOWN = SECOND
CAPACITY = 2

STATIONS = ("01", "02", "03")

clients = st.sampled_from(["a", "b", "c", "d", "e"])
groups = st.sampled_from([int(vpn_id) for vpn_id in GROUPS])
stations = st.sampled_from([*STATIONS, "*", "m", "0"])


class RelayMachine(RuleBasedStateMachine):
    """Clients come, go and send; time passes; what the relay answers is what the model answers."""

    @initialize(strip=st.sampled_from(list(Strip)))
    def start(self, strip: Strip) -> None:
        self.relay = relay_with(strip=strip, mac_lifetime=LIFETIME)
        self.relay.mac_ip.capacity = CAPACITY
        self.relay.stations.reports = True
        self.strip = strip
        self.now = SECOND
        self.present: dict[str, None] = {}
        self.latest: tuple[str | None, str] | None = None
        self.places: dict[tuple[int, str], tuple[str, int, int]] = {}
        """(VPN, station) to (client, since when, last heard of)."""
        self.forwarded = self.copies = self.octets_in = self.octets_out = 0
        self.drops: Counter[DropReason] = Counter()

    # -- events

    @rule(name=clients)
    def join_or_leave(self, name: str) -> None:
        if name not in self.present:
            self.relay.add_member(member(name))
            self.present[name] = None
            return
        self.relay.remove_member(member(name).client_id)
        del self.present[name]
        self.places = {key: row for key, row in self.places.items() if row[0] != name}

    @rule(seconds=st.sampled_from([0.3, 0.7, 1.0, 2.5, 5.0, 50.0]))
    def pass_time(self, seconds: float) -> None:
        self.run_timers(self.now + round(seconds * SECOND))

    def run_timers(self, end: int) -> None:
        while (due := self.relay.next_timeout()) is not None and due <= end:
            self.now = max(self.now, due)
            self.relay.handle_timeout(self.now)
        self.now = end

    @precondition(lambda self: self.present)
    @rule(data=st.data(), source=st.none() | stations, destination=stations)
    def send(self, data: st.DataObject, source: str | None, destination: str) -> None:
        name = data.draw(st.sampled_from(list(self.present)))
        self.send_as(name, source, destination, data.draw(st.sampled_from([20, 64])))

    @precondition(lambda self: self.latest is not None)
    @rule(name=clients)
    def send_the_same_again_from_anywhere(self, name: str) -> None:
        assert self.latest is not None
        if name in self.present:
            self.send_as(name, *self.latest, length=64)

    def send_as(self, name: str, source: str | None, destination: str, length: int) -> None:
        vpn_id = PLACES[name][1]
        place, since, _ = self.places.get((vpn_id, source or ""), (name, 0, 0))
        if place != name and HOLD_DOWN <= self.now - since < 2 * HOLD_DOWN:
            self.run_timers(self.now + HOLD_DOWN)  # a held-down move is reviewed by then
        self.latest = source, destination
        self.settle_doubts()
        expected = self.expected(name, vpn_id, source, destination)
        self.give(name, datagram(vpn_id, source, destination, length=length), expected)

    @rule(name=clients, vpn_id=groups, spi=st.sampled_from([4097, 4098, 9999]))
    def send_astray(self, name: str, vpn_id: int, spi: int) -> None:
        own_vpn, own_spi = PLACES[name][1], GROUPS[PLACES[name][1]][1]
        if name not in self.present:
            expected = "unregistered_sender"
        elif vpn_id != own_vpn:
            expected = "foreign_group"
        elif spi != own_spi:
            expected = "unknown_spi"
        else:
            return
        self.give(name, datagram(vpn_id, "01", "*", spi), expected)

    @rule(name=clients, octets=st.binary(max_size=90))
    def send_rubbish(self, name: str, octets: bytes) -> None:
        self.give(name, b"\x07" + octets, "malformed_datagram")

    # -- the model

    def expected(
        self, name: str, vpn_id: int, source: str | None, destination: str
    ) -> set[str] | str:
        others = {other for other in self.present if PLACES[other][1] == vpn_id} - {name}
        if source in STATIONS:
            self.learn(vpn_id, source, name)
        row = self.places.get((vpn_id, destination))
        if source is None or row is None or self.now - row[2] >= LIFETIME:
            return others or "no_other_member"
        return {row[0]} if row[0] != name else "hairpin"

    def learn(self, vpn_id: int, source: str, name: str) -> None:
        row = self.places.get((vpn_id, source))
        if row is not None and row[0] == name:
            self.places[vpn_id, source] = (name, row[1], self.now)
        elif row is not None and self.now - row[1] < HOLD_DOWN:
            return
        elif sum(holder == name for holder, _, _ in self.places.values()) < CAPACITY:
            self.places[vpn_id, source] = (name, self.now, self.now)

    def settle_doubts(self) -> None:
        """Takes the relay's word about stations of which it may know a little less than the model."""
        client_of = {PLACES[name][0]: name for name in PLACES}
        table = {
            (key[0], name): (client_of[place.client_id], left)
            for key, place, left in self.relay.mac_ip.rows(self.now)
            for name in STATIONS
            if station(name) == key[1] and isinstance(place, Member)
        }
        for key, (name, since, heard) in list(self.places.items()):
            silent = self.now - heard
            if silent >= LIFETIME + SWEEP_INTERVAL:
                assert key not in table
                del self.places[key]
            elif silent >= LIFETIME - SWEEP_INTERVAL and key not in table:
                del self.places[key]
            elif silent < LIFETIME - SWEEP_INTERVAL:
                assert key in table, f"station {key} was forgotten too soon"
                assert table[key][1] > 0
            else:
                entry = self.relay.mac_ip.rows(self.now)
                remaining = next(left for row, _, left in entry if row == (key[0], station(key[1])))
                self.places[key] = (name, since, self.now - LIFETIME + remaining)

    def to_do(self) -> tuple[int | None, list[Sighting]]:
        """Returns when the relay is to be woken up, and takes which stations are to be told of."""
        return self.relay.next_timeout(), self.relay.stations.take_sightings()

    def give(self, name: str, payload: bytes, expected: set[str] | str) -> None:
        due, _ = self.to_do()
        self.relay.take_news()
        verdict = self.relay.receive_datagram(payload, address(name), self.now)
        assert self.relay.take_news() or self.to_do() == (due, [])
        assert receivers(verdict) == expected
        self.octets_in += len(payload)
        if isinstance(verdict, Drop):
            self.drops[verdict.reason] += 1
            return
        below = 0 if self.strip is Strip.KEEP else 4 if payload[0] == 2 else 16
        assert {strip for _, strip, _ in verdict.destinations} == {below}
        self.forwarded += 1
        self.copies += len(verdict.destinations)
        self.octets_out += len(verdict.destinations) * (len(payload) - below)

    # -- what always holds

    @invariant()
    def the_tables_agree(self) -> None:
        client_of = {PLACES[name][0]: name for name in PLACES}
        for (vpn_id, octets), place, left in self.relay.mac_ip.rows(self.now):
            assert isinstance(place, Member)
            assert client_of[place.client_id] in self.present
            assert place.vpn_id == vpn_id
            names = [name for name in STATIONS if station(name) == octets]
            row = self.places.get((vpn_id, names[0]))
            assert left == 0 or row is None or row[0] == client_of[place.client_id]

    @invariant()
    def a_decision_in_force_is_the_one_that_would_be_made_now(self) -> None:
        rows = list(self.relay.mac_ip.rows(self.now))
        if any(left == 0 for _, _, left in rows):
            return  # ended since the last sweep: the decisions may last until the next one
        for (source, head, tail), entry in self.relay.flows.items():
            fresh = copy.deepcopy(self.relay)
            flow = Flow.parse(Address(*source), (head, tail))
            assert not isinstance(flow, DropReason)
            assert fresh.decider.forward(flow, self.now) == entry.verdict

    @invariant()
    def the_counters_balance(self) -> None:
        totals = self.relay.flows.totals()
        assert totals.drops == self.drops
        assert totals.datagrams_in == self.forwarded + sum(totals.drops.values())
        assert (totals.octets_in, totals.octets_out) == (self.octets_in, self.octets_out)
        assert totals.copies_out == self.copies

    @invariant()
    def nothing_goes_to_where_it_came_from(self) -> None:
        for (source, *_), entry in self.relay.flows.items():
            if isinstance(entry.verdict, Forward):
                assert source not in [place for place, *_ in entry.verdict.destinations]


def test_the_relay_answers_as_the_model_does() -> None:
    run_state_machine_as_test(
        RelayMachine,
        settings=settings(max_examples=60, stateful_step_count=40, deadline=None),
    )
