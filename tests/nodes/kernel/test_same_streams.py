"""Generated streams give the same datagrams out of all three planes, in every strip and tag mode.

Each plane is compared, step by step, with what a relay without any plane says: what every member gets,
the counters, and the stations that are known. Time is the test's own.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pytest

from nodes import batch_plane, data_plane
from nodes.kernel.plane import open_kernel_plane
from nodes.planes import BatchPlanes, Planes, SocketPlanes
from protocol import hop_tag
from protocol.relay import Member, Relay, RelayedGroup, Strip, TaggedRelay
from protocol.relay.tables import NextHop
from protocol.types import SECOND, Address, ClientId, VpnId
from protocol.wire import vpn_header
from tests.nodes.kernel.wire import (
    DEADLINE_S,
    PORT,
    SERVERS,
    SIZES,
    Sending,
    Wire,
    group_address,
    hop_key,
    host,
    members_of,
    payload,
    spi_of,
    wire,
)

pytestmark = pytest.mark.emulated

PlaneName = Literal["socket", "batch", "kernel"]
PLANES: dict[PlaneName, Planes] = {
    "socket": SocketPlanes(),
    "batch": BatchPlanes(),
    "kernel": BatchPlanes(),
}
WIRES = [(6, True, True), (6, False, False), (4, True, False)]
"""IP version; whole batches and unfinished checksums in, and out."""
MODES: list[tuple[PlaneName, Strip, bool]] = [
    (plane, strip, tagged)
    for strip in Strip
    for tagged in (False, True)
    for plane in PLANES
    if plane != "kernel" or strip is Strip.KEEP
]
MAC_LIFETIME, HOLD_DOWN = 30 * SECOND, SECOND
STRANGER = 14
NOBODY = 40
"""A station that is nowhere, and the first of those that move."""
HELD_ELSEWHERE = (3, 8)
"""Groups that other VPN servers have clients of: by cascade."""
STEPS = 50
REPEATED = 5
"""How often many datagrams come again: the first time a flow has to be decided."""
PAUSES = (0.2, 0.6, 1.1, 5.0, 12.0, 31.0, 70.0)


@dataclass(frozen=True)
class Change:
    """A member leaves or comes back, a group's SPI is withdrawn or given back, a server has a new key."""

    what: Literal["leave", "join", "withdraw", "give", "rekey"]
    number: int


Step = Sending | Change | float
"""A float is a pause, in s."""


def course(family: int, tagged: bool, chance: random.Random) -> Iterator[Step]:
    """Yields steps: mostly datagrams, some changes, some pauses."""
    for size in SIZES:
        for number in members_of(size):
            yield _sent(number, [payload(family, size, number)], tagged)
    for _ in range(STEPS):
        kind = chance.random()
        if kind < 0.8:
            yield from [_sending(family, tagged, chance)] * chance.choice((1, REPEATED))
        elif kind < 0.9:
            yield chance.choice(PAUSES)
        else:
            yield from _changes(chance)


def _changes(chance: random.Random) -> Iterator[Step]:
    """Yields a change and, with a datagram of somebody else's between, often its opposite."""
    size = chance.choice((3, 8))
    if chance.random() < 0.2:
        yield Change("rekey", chance.choice(SERVERS))
    elif chance.random() < 0.7:
        number = chance.choice(members_of(size))
        yield from (Change("leave", number), Change("join", number))
    else:
        yield Change("withdraw", size)
        yield chance.choice(PAUSES)
        yield Change("give", size)


def _sending(family: int, tagged: bool, chance: random.Random) -> Sending:
    size = chance.choice((2, 3, 8, 8))
    numbers = members_of(size)
    sender = chance.choice([*numbers, *(SERVERS if size in HELD_ELSEWHERE else ())])
    # Its own station, one that moves about, or another member's, which then has moved here.
    own = chance.choice(numbers) if sender in SERVERS else sender
    source = chance.choice([own, own, own, NOBODY + 1, NOBODY + 2, chance.choice(numbers)])
    to = [chance.choice([0, 0, NOBODY, NOBODY + 1, source, *numbers]) for _ in range(3)]
    length = chance.choice((20, 64, 700, 1000))
    kind = chance.random()
    if kind < 0.35:
        made = [payload(family, size, source, to[0], length)]
    elif kind < 0.65:
        made = [payload(family, size, source, to[0], length) for _ in range(chance.randint(2, 30))]
        made.append(payload(family, size, source, to[0], length - chance.randint(0, 2) * 4))
    elif kind < 0.85:  # mixed: of one station, so that no datagram's fate hangs on another's
        made = [
            payload(family, size, source, chance.choice(to), length)
            for _ in range(chance.randint(2, 20))
        ]
    else:
        return _refused(family, size, sender, tagged, chance)
    return _sent(sender, made, tagged)


def _refused(family: int, size: int, sender: int, tagged: bool, chance: random.Random) -> Sending:
    """Returns what no relay forwards, alone or amid datagrams that it does."""
    good = [payload(family, size, sender, 0, 700) for _ in range(6)]
    bad = chance.choice(
        [
            payload(family, size, sender, 0, 700, spi=99),
            b"\3" + good[0][1:],
            good[0][:2] + b"\1" + good[0][3:],
            good[0][:-1],
        ]
    )
    if chance.random() < 0.3:
        return _sent(STRANGER, good, tagged)
    if tagged and chance.random() < 0.5:
        forged = hop_tag.add(good[1], hop_key(sender % max(members_of(8)) + 1))
        return Sending(sender, (*_sent(sender, good[:3], True).payloads, forged))
    if len(bad) < len(good[0]):
        return _sent(sender, [*good, bad], tagged)
    return _sent(sender, [*good[:3], bad, *good[3:]], tagged)


def _sent(sender: int, payloads: list[bytes], tagged: bool) -> Sending:
    if not tagged:
        return Sending(sender, tuple(payloads))
    key = hop_key(sender)
    tags = (vpn_header.MAC_BLOCK_FOLLOWS, vpn_header.IP_HEADER_FOLLOWS)
    return Sending(
        sender,
        # what has no header to put a tag behind gets as long
        tuple(
            hop_tag.add(one, key) if one[0] in tags else one + bytes(hop_tag.LENGTH)
            for one in payloads
        ),
    )


def relay_of(family: int, strip: Strip, tagged: bool) -> Relay:
    """Returns a relay that knows every group and member."""
    relay = (TaggedRelay if tagged else Relay)(strip, MAC_LIFETIME, HOLD_DOWN)
    for size in SIZES:
        relay.install_group(group_of(family, size, True))
        for number in members_of(size):
            relay.add_member(member_of(family, number, tagged))
    for number in SERVERS:
        install_server(relay, family, number, tagged, 1)
    return relay


def install_server(relay: Relay, family: int, number: int, tagged: bool, change: int) -> None:
    """Has a relay send to another VPN server, after a change under another key."""
    address = Address(str(host(family, number)), PORT)
    keys = (hop_key(number + 100 * change), (hop_key(number),)) if tagged else (None, ())
    groups = frozenset(VpnId(size) for size in HELD_ELSEWHERE)
    relay.install_next_hop(NextHop(f"server-{number}", address, *keys), groups)


def group_of(family: int, size: int, given: bool) -> RelayedGroup:
    spis = frozenset([spi_of(size) if given else 98])
    return RelayedGroup(VpnId(size), group_address(family, size), spis)


def member_of(family: int, number: int, tagged: bool) -> Member:
    (size,) = (size for size in SIZES if number in members_of(size))
    keys = (hop_key(number),) if tagged else ()
    return Member(
        ClientId(number), VpnId(size), Address(str(host(family, number)), PORT), hop_keys=keys
    )


class Compared:
    """A relay with its plane on the wire, and one without any that says what must come."""

    def __init__(self, on: Wire, plane: PlaneName, strip: Strip, tagged: bool) -> None:
        self.wire, self.now, self._tagged = on, 0, tagged
        self.oracle, self.relay = (relay_of(on.family, strip, tagged) for _ in range(2))
        with on.at_relay():
            self._udp = PLANES[plane].open(on.address, PORT)
            self._plane = PLANES[plane].deciding(self._udp, self.relay, lambda: None)
            wanted = plane == "kernel"
            self.kernel = open_kernel_plane(self.relay, on.address, PORT) if wanted else None

    def close(self) -> None:
        with self.wire.at_relay():
            if self.kernel is not None:
                self.kernel.close()
            self._udp.close()

    def take(self, step: Step) -> None:
        """Does one step on both sides and compares them."""
        if isinstance(step, Sending):
            self._send(step)
        elif isinstance(step, Change):
            for relay in (self.oracle, self.relay):
                self._change(relay, step)
        else:
            self.now += round(step * SECOND)
            for relay in (self.oracle, self.relay):
                relay.handle_timeout(self.now)
        assert self.relay.flows.totals() == self.oracle.flows.totals()
        found, expected = (
            sorted(map(str, relay.mac_ip.rows(self.now))) for relay in (self.relay, self.oracle)
        )
        assert found == expected

    def _change(self, relay: Relay, step: Change) -> None:
        family = self.wire.family
        if step.what == "leave":
            relay.remove_member(ClientId(step.number))
        elif step.what == "rekey":
            install_server(relay, family, step.number, self._tagged, 2)
        elif step.what == "join":
            relay.add_member(member_of(family, step.number, self._tagged))
        else:
            relay.install_group(group_of(family, step.number, step.what == "give"))

    def _send(self, step: Sending) -> None:
        expected: dict[int, list[bytes]] = {number: [] for number in self.wire.sockets}
        names = {str(host(self.wire.family, number)): number for number in expected}
        source = str(host(self.wire.family, step.sender)), PORT
        for octets in step.payloads:
            verdict = self.oracle.receive_datagram(octets, source, self.now)
            for to in verdict.destinations:
                expected[names[to.address.host]].append(bytes(to.copy_of(octets)))
        awaited = self.oracle.flows.totals()
        found: dict[int, list[bytes]] = {number: [] for number in expected}
        self.wire.send(step)
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            self._plane.readable()
            for number, payloads in self.wire.received().items():
                found[number] += payloads
            here, there = sum(map(len, found.values())), sum(map(len, expected.values()))
            if here >= there and self.relay.flows.totals() == awaited:
                break
        assert {number: sorted(some) for number, some in found.items()} == {
            number: sorted(some) for number, some in expected.items()
        }


@pytest.fixture(scope="module", params=WIRES, ids=str)
def on(request: pytest.FixtureRequest) -> Iterator[Wire]:
    with wire(*request.param) as made:
        yield made


@pytest.mark.parametrize(("plane", "strip", "tagged"), MODES, ids=str)
def test_a_generated_stream_gives_what_a_relay_without_a_plane_says(
    on: Wire, monkeypatch: pytest.MonkeyPatch, plane: PlaneName, strip: Strip, tagged: bool
) -> None:
    compared = Compared(on, plane, strip, tagged)
    for module in (data_plane, batch_plane):
        monkeypatch.setattr(module, "now", lambda: compared.now)
    try:
        # The course is the same for all planes of a mode.
        for step in course(on.family, tagged, random.Random(f"{strip}{tagged}{on.family}")):
            compared.take(step)
        totals = compared.relay.flows.totals()
        assert totals.drops
        assert totals.copies_out > totals.datagrams_in
        assert totals.copies_between > 50
        if compared.kernel is not None:
            assert compared.kernel.counters().passed_up < 2 / 3 * totals.datagrams_in
    finally:
        compared.close()
