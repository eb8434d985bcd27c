"""The patent's rules as they are written, where they do not work: each takes the place of ours in a world.

A rule here is one function that replaces one place of the protocol; nothing outside tests can choose it.
Numbers are those of docs/deviations.md.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from protocol.client.loop_protection import LoopProtection
from protocol.client.tables import Side
from protocol.client.transfer import Transfer
from protocol.errors import DropReason
from protocol.learning import LearningTable, Learnt
from protocol.management.tables import GroupKey
from protocol.relay import Forward, decider, stations
from protocol.relay.decider import Decider
from protocol.relay.tables import Sender
from protocol.relay.verdicts import Destination, Verdict
from protocol.replay import ReplayWindow
from protocol.security_association import SecurityAssociation
from protocol.types import Address, SenderId
from protocol.wire import ethernet
from simulator.world import World


def servers_once_for_each_client(patch: pytest.MonkeyPatch, world: World) -> None:
    """3: Fig. 19 puts a server in the place of each of its clients, and 719 sends to every row."""
    original = Decider._to_others

    def to_others(self: Decider, *arguments: Any) -> Verdict:
        verdict = original(self, *arguments)
        if not isinstance(verdict, Forward):
            return verdict
        held: Counter[Address] = Counter()
        for node in world.plan.clients(arguments[2].vpn_id):
            information = world.clients[node.name].client.information
            assert information is not None
            held[information.relay] += 1
        return Forward(
            tuple(one for one in verdict.destinations for _ in range(held.get(one[0], 1)))
        )

    patch.setattr(Decider, "_to_others", to_others)


def no_senders_in_nonces(patch: pytest.MonkeyPatch, _: World) -> None:
    """4: one SA for all, and nothing said of IVs: everybody counts from one."""
    patch.setattr(GroupKey, "take_sender_id", lambda _: SenderId(0))


def one_window(patch: pytest.MonkeyPatch, _: World) -> None:
    """5: ESP has one window for an SA, whoever sends."""

    class OneWindow(dict[int, ReplayWindow]):
        def get(self, _: int, __: Any = None) -> Any:
            return super().get(0)

        def __setitem__(self, _: int, window: ReplayWindow) -> None:
            super().__setitem__(0, window)

    original = SecurityAssociation.__init__

    def make(self: SecurityAssociation, *arguments: Any, **named: Any) -> None:
        original(self, *arguments, **named)
        self._windows = OneWindow()

    patch.setattr(SecurityAssociation, "__init__", make)


def no_other_client_on_the_lan(patch: pytest.MonkeyPatch, _: World) -> None:
    """12: nothing is said of two clients on one LAN; 802 goes by table 311 alone."""
    patch.setattr(LoopProtection, "receive_frame", lambda *_: None)


def first_place_for_ever(patch: pytest.MonkeyPatch, world: World) -> None:
    """8: 712-714 register a station that is not in table 509, and nothing else ever changes it."""
    original = LearningTable.learn
    assert world.server is not None
    table = world.server.relay.mac_ip

    def learn(self: Any, key: Any, *arguments: Any) -> Learnt:
        known = self is table and key in self._entries
        return Learnt.REFRESHED if known else original(self, key, *arguments)

    patch.setattr(LearningTable, "learn", learn)


def outside_until_forgotten(patch: pytest.MonkeyPatch, world: World) -> None:
    """9: 802 discards a station's frames as long as it is in table 311."""
    for process in world.clients.values():
        patch.setattr(
            process.client.transfer, "_hold_down", process.client.transfer.stations.lifetime
        )


def back_to_where_it_came_from(patch: pytest.MonkeyPatch, world: World) -> None:
    """10: 801 captures every frame, 719 sends to the station's client whoever sent, 816-819 register."""

    def why_not(self: Transfer, frame: bytes, now: int) -> DropReason | None:
        seen = self.stations.lookup(frame[ethernet.SOURCE], now) is Side.OUTSIDE
        return DropReason.STATION_SEEN_OUTSIDE if seen else None

    def to_holder(self: Decider, _: Sender, holder: Sender, strip: int, *__: Any) -> Verdict:
        return Forward((Destination(holder.address, strip),))

    patch.setattr(Transfer, "_why_not_sealed", why_not)
    patch.setattr(Transfer, "_seen_lately", lambda *_: False)
    patch.setattr(Decider, "_to_holder", to_holder)
    for process in world.clients.values():
        association = process.client.associations.sealing
        assert association is not None
        patch.setattr(association, "_own", frozenset())


def any_address_is_a_station(patch: pytest.MonkeyPatch, _: World) -> None:
    """11: 712-714 and 816-819 register whatever stands as source."""
    for module in (ethernet, stations, decider):
        patch.setattr(module, "is_station", lambda mac: True)
