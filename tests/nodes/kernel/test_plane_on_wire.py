"""The kernel plane on a real interface gives the same datagrams as the socket plane."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest

from nodes.data_plane import DecidingPlane
from nodes.kernel import layout, plane
from nodes.kernel.plane import open_kernel_plane
from nodes.udp import UdpSocket
from protocol import hop_tag
from protocol.errors import DropReason
from protocol.relay import Relay
from protocol.types import ClientId
from protocol.wire import vpn_header
from tests.nodes.kernel.wire import (
    DEADLINE_S,
    PORT,
    RELAY_INTERFACE,
    Sending,
    Wire,
    expected_of,
    hop_key,
    members_of,
    payload,
    relay_knowing_all,
    wire,
)

pytestmark = pytest.mark.emulated

UNKNOWN = 14
"""A host that is no member."""
WIRES = [(6, True, True), (6, True, False), (6, False, False), (4, True, False), (4, False, False)]
"""IP version; whole batches and unfinished checksums in, and out."""

TICK_S = 0.02
"""More than a tick of the kernel's clock: for one, at most, the program goes by ways that it has found."""

few_wires = pytest.mark.parametrize("on", [WIRES[1], WIRES[4]], indirect=True, ids=str)


class Served:
    """A relay with its socket on the wire, and with the kernel plane beside it if wanted."""

    def __init__(self, on: Wire, kernel: bool, tagged: bool = False) -> None:
        self.wire = on
        self.relay = relay_knowing_all(on.family, tagged)
        with on.at_relay():
            self.udp = UdpSocket(on.address, PORT)
            self.plane = DecidingPlane(self.udp, self.relay, lambda: None)
            self.kernel = open_kernel_plane(self.relay, on.address, PORT) if kernel else None

    def close(self) -> None:
        with self.wire.at_relay():
            if self.kernel is not None:
                self.kernel.close()
            self.udp.close()

    def carry(self, sendings: list[Sending], oracle: Relay) -> None:
        """Sends all, and compares what arrives with what the oracle says."""
        nobody: dict[int, list[bytes]] = {number: [] for number in self.wire.sockets}
        expected = nobody | expected_of(oracle, self.wire.family, sendings, 0)
        found: dict[int, list[bytes]] = {number: [] for number in expected}
        for sending in sendings:
            self.wire.send(sending)
            self._collect(found)
        awaited = oracle.flows.totals()
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            self._collect(found)
            enough = all(len(found[number]) >= len(some) for number, some in expected.items())
            if enough and self.relay.flows.totals().datagrams_in == awaited.datagrams_in:
                break
        self._collect(found)
        assert {number: len(some) for number, some in found.items()} == {
            number: len(some) for number, some in expected.items()
        }
        assert {number: sorted(some) for number, some in found.items()} == expected
        assert self.relay.flows.totals() == awaited

    def _collect(self, found: dict[int, list[bytes]]) -> None:
        self.plane.readable()
        for number, payloads in self.wire.received().items():
            found[number] += payloads


@pytest.fixture
def on(request: pytest.FixtureRequest) -> Iterator[Wire]:
    with wire(*request.param) as made:
        yield made


@pytest.fixture(params=["socket", "kernel"])
def served(request: pytest.FixtureRequest, on: Wire) -> Iterator[Served]:
    made = Served(on, request.param == "kernel")
    yield made
    made.close()


def stream(family: int) -> list[Sending]:
    """Makes a stream of all kinds: single datagrams, batches, mixed batches, refused ones."""
    found = []
    for size in (2, 3, 8):
        numbers = list(members_of(size))
        for number in numbers:
            found.append(Sending(number, (payload(family, size, number),)))
        first, second, last = numbers[0], numbers[1], numbers[-1]
        known = [payload(family, size, first, last, length) for length in (20, 21, 700, 1380)]
        found += [Sending(first, (octets,)) for octets in known]
        for destination in (0, second):
            equal = [payload(family, size, first, destination, 1000) for _ in range(45)]
            shorter = payload(family, size, first, destination, 300)
            found.append(Sending(first, tuple(equal)))
            found.append(Sending(first, (*equal[:20], shorter)))
            mixed = payload(family, size, first, 0 if destination else second, 1000)
            found.append(Sending(first, (*equal[:5], mixed, *equal[5:9])))
        hairpin = payload(family, size, first, first)
        without = payload(family, size, first, macs=False)
        strange = payload(family, size, first, spi=99)
        whole = payload(family, size, first)
        broken = (
            whole[:-1],
            whole + b"\0",
            b"\x03" + whole[1:],
            whole[:1] + b"\x01" + whole[2:],
            whole[:2] + b"\x01" + whole[3:],
            whole[16:],
            whole[:30],
            b"x",
        )
        found += [Sending(first, (octets,)) for octets in (hairpin, without, strange, *broken)]
        found.append(Sending(UNKNOWN, (whole,)))
        found.append(Sending(members_of(2 if size == 8 else 8)[0], (whole,)))
        wrong = whole[:16] + broken[0][16:17] + whole[17:]
        found.append(Sending(first, (whole, wrong[:22] + b"\x11" + wrong[23:], whole)))
    return found


@pytest.mark.parametrize("on", WIRES, indirect=True, ids=str)
def test_the_same_stream_gives_the_same_datagrams_and_counters(served: Served) -> None:
    oracle = relay_knowing_all(served.wire.family)
    for _ in range(3):
        served.carry(stream(served.wire.family), oracle)


def tagged(sending: Sending, number: int | None = None) -> Sending:
    """Puts tags into payloads, on request with another member's key."""
    key = hop_key(sending.sender if number is None else number)
    return Sending(sending.sender, tuple(hop_tag.add(one, key) for one in sending.payloads))


@pytest.mark.parametrize("on", [WIRES[0], WIRES[1], WIRES[3]], indirect=True, ids=str)
@pytest.mark.parametrize("kernel", [False, True])
def test_where_tags_are_required_only_datagrams_with_the_senders_pass(
    on: Wire, kernel: bool
) -> None:
    served, oracle = Served(on, kernel, True), relay_knowing_all(on.family, True)
    whole = [
        each
        for each in stream(on.family)
        if 100 < len(each.payloads[0]) < 1440 and each.payloads[0][0] in (1, 2)
    ]
    sound = [tagged(each) for each in whole if each.sender != UNKNOWN]
    first, second = members_of(8)[:2]
    flood = Sending(first, tuple(payload(on.family, 8, first, 0, 900) for _ in range(20)))
    good, forged = tagged(flood).payloads, tagged(flood, second).payloads
    spoilt = good[3][:-1] + bytes([good[3][-1] ^ 1])
    resequenced = bytearray(good[4])
    resequenced[16 + hop_tag.LENGTH + (40 if on.family == 6 else 20) + 7] ^= 1
    untagged = flood.payloads
    bad = [
        Sending(first, forged),
        Sending(first, (*good[:3], forged[3], *good[4:9])),
        Sending(first, (*good[:4], bytes(resequenced), *good[5:9])),
        Sending(first, (*good[:3], spoilt, *good[4:9])),
        Sending(first, untagged),
        Sending(UNKNOWN, good),
    ]
    try:
        for _ in range(3):
            served.carry(sound + bad, oracle)
        assert oracle.flows.totals().drops[DropReason.FORGED_HOP_TAG] > 0
        before = served.kernel.counters().passed_up if served.kernel else 0
        served.carry([Sending(first, good)] * 3, oracle)
        assert served.kernel is None or served.kernel.counters().passed_up == before
    finally:
        served.close()


@pytest.mark.parametrize("on", [WIRES[1], WIRES[3]], indirect=True, ids=str)
def test_after_a_change_of_keys_tags_are_checked_under_the_new_one(on: Wire) -> None:
    """Though the headers are those of before, whose hash was begun under the old one."""
    served, oracle = Served(on, True, True), relay_knowing_all(on.family, True)
    first, second = members_of(8)[:2]
    flood = Sending(first, tuple(payload(on.family, 8, first, 0, 900) for _ in range(20)))
    alone = Sending(first, flood.payloads[:1])
    old, new = tagged(flood), tagged(flood, second)
    try:
        served.carry([old, tagged(alone), old], oracle)
        for relay in (served.relay, oracle):
            relay.change_hop_keys(ClientId(first), (hop_key(second),))
        served.carry([new], oracle)
        before = passed_up(served)
        served.carry([tagged(alone, second), new], oracle)
        assert passed_up(served) == before
        served.carry([tagged(alone), old], oracle)
        assert passed_up(served) == before + 2
    finally:
        served.close()


def altered(octets: bytes, at: int, value: int) -> bytes:
    """Returns the payload of an untagged datagram with one octet of its inner header changed."""
    at += vpn_header.LENGTH
    return octets[:at] + bytes([value]) + octets[at + 1 :]


@pytest.mark.parametrize("on", [WIRES[0], WIRES[3]], indirect=True, ids=str)
@pytest.mark.parametrize("with_tags", [False, True])
def test_in_a_batch_a_datagram_that_is_not_like_those_before_it_is_looked_at_for_itself(
    on: Wire, with_tags: bool
) -> None:
    """Lengths that lie, another flow's header; over IPv4 what may change within a flow."""
    served, oracle = Served(on, True, with_tags), relay_knowing_all(on.family, with_tags)
    first = members_of(8)[0]
    made = [payload(on.family, 8, first, 0, 900) for _ in range(9)]
    length_at, flow_at = (5, 1) if on.family == 6 else (3, 1)
    lying = altered(made[3], length_at, made[3][vpn_header.LENGTH + length_at] ^ 4)
    other = altered(made[4], flow_at, 1)
    mixed = [
        (*made[:3], lying, *made[4:]),
        (*made[:-1], made[-1][:-100]),
        (*made[:4], other, *made[5:]),
        (*made[:4], payload(on.family, 8, first, first + 1, 900), *made[5:]),
    ]
    shorter = payload(on.family, 8, first, 0, 300)
    alike = [tuple(made), (*made[:-1], shorter), (made[0], shorter)]
    if on.family == 4:
        hop, number = altered(made[2], 8, 3), altered(made[5], 5, 77)
        alike += [
            (*made[:2], hop, hop, *made[4:]),
            (*made[:5], number, *made[6:8], number, shorter),
        ]

    def sendings(some: list[tuple[bytes, ...]]) -> list[Sending]:
        found = [Sending(first, payloads) for payloads in some]
        return [tagged(each) for each in found] if with_tags else found

    try:
        assert served.kernel is not None
        served.carry(sendings(alike[:1]), oracle)
        before = passed_up(served)
        served.carry(sendings(alike) * 2, oracle)
        assert passed_up(served) == before
        served.carry(sendings(mixed), oracle)
        assert passed_up(served) == before + len(mixed)
    finally:
        served.close()


@pytest.fixture
def decided(on: Wire) -> Iterator[tuple[Served, Relay, Sending]]:
    """Gives a relay with the kernel plane, its oracle, and a flow to 7 clients that is decided."""
    first = members_of(8)[0]
    flood = Sending(first, tuple(payload(on.family, 8, first, 0, 900) for _ in range(40)))
    oracle = relay_knowing_all(on.family)
    with contextlib.closing(Served(on, True)) as served:
        served.carry([flood], oracle)
        served.carry([flood], oracle)
        yield served, oracle, flood


def passed_up(served: Served) -> int:
    assert served.kernel is not None
    return served.kernel.counters().passed_up


@few_wires
def test_decided_flows_do_not_come_up_to_the_process(
    decided: tuple[Served, Relay, Sending],
) -> None:
    served, oracle, flood = decided
    before = passed_up(served)
    served.carry([flood] * 5, oracle)
    assert passed_up(served) == before


@few_wires
def test_a_member_that_left_gets_nothing_more_from_the_call_on(
    decided: tuple[Served, Relay, Sending],
) -> None:
    served, oracle, flood = decided
    for relay in (served.relay, oracle):
        relay.remove_member(ClientId(members_of(8)[-1]))
    served.carry([flood] * 3, oracle)


@few_wires
def test_the_datagrams_of_a_sender_that_left_are_dropped_by_the_process(
    decided: tuple[Served, Relay, Sending],
) -> None:
    served, oracle, flood = decided
    for relay in (served.relay, oracle):
        relay.remove_member(ClientId(flood.sender))
    served.carry([flood] * 2, oracle)


@few_wires
def test_without_a_sign_of_life_everything_goes_up_and_nothing_is_lost(
    decided: tuple[Served, Relay, Sending], monkeypatch: pytest.MonkeyPatch
) -> None:
    served, oracle, flood = decided
    assert served.kernel is not None
    monkeypatch.setattr(plane, "LEASE", -(10**9))  # the clock is told by ticks
    served.kernel.read_counters()
    before = passed_up(served)
    served.carry([flood] * 3, oracle)
    assert passed_up(served) > before


@few_wires
def test_while_one_destination_has_no_known_neighbour_the_process_sends_to_all(
    decided: tuple[Served, Relay, Sending],
) -> None:
    served, oracle, flood = decided
    before = passed_up(served)
    served.wire.shown("ip", "neighbour", "flush", "dev", RELAY_INTERFACE)
    time.sleep(TICK_S)
    served.carry([flood], oracle)
    assert passed_up(served) > before
    served.carry([flood], oracle)


@few_wires
def test_a_flow_that_cannot_be_removed_ends_the_kernels_service(
    decided: tuple[Served, Relay, Sending],
) -> None:
    served, oracle, flood = decided
    assert served.kernel is not None
    program = served.kernel._program
    with pytest.raises(OSError, match="No such file"):
        program.remove_flow(bytes(layout.KEY_LENGTH))
    before = passed_up(served)
    served.carry([flood] * 2, oracle)
    assert passed_up(served) > before
