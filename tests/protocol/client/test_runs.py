"""Many frames or datagrams at a time are what they are one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_address
from itertools import zip_longest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.cipher import Aead
from protocol.client import Client
from protocol.client.actions import DeliverFrame, DeliverFrames, SendDatagram, SendDatagrams
from protocol.client.tables import AuthenticationInformation, VpnInformation
from protocol.errors import DropReason
from protocol.types import Address, ClientId, Secret, VpnId
from protocol.wire.claim import Claim, Standing
from protocol.wire.esp import EspHeader
from protocol.wire.inner_packet import InnerPacket
from protocol.wire.piece import Piece
from protocol.wire.probe import Probe
from protocol.wire.vpn_header import VpnHeader
from tests.protocol.associations import association
from tests.world import mac

RELAY = Address("3ffe::1000", 5000)
ELSEWHERE = Address("3ffe::2000", 5000)
MTU = 1346
NOW = 10**12
Made = tuple[list[bytes], dict[DropReason, int], list[object], int, int]


def a_client(sender_id: int, tagged: bool = False, last_counter: int = 2**32 - 1) -> Client:
    """Returns a client with its SA set by hand, which ends after ``last_counter``."""
    client = Client(AuthenticationInformation("a", Secret(b""), VpnId(1001)), 5000)
    information = VpnInformation(
        ClientId(sender_id),
        VpnId(1001),
        ip_address(f"3ffe:{sender_id:x}::1"),
        ip_address("ff1e::1"),
        RELAY,
        MTU,
    )
    if tagged:
        information = replace(information, hop_key=Secret(bytes(range(16))))
    client.configure(information, association(sender_id))
    sealing = client.associations.sealing
    assert sealing is not None
    sealing.last_counter = last_counter
    return client


def made(client: Client) -> Made:
    """Returns what a client has to send or to deliver, its drops, and what it has learnt."""
    octets: list[bytes] = []
    while (action := client.next_action()) is not None:
        if isinstance(action, SendDatagram | SendDatagrams):
            assert action.destination == RELAY
        match action:
            case SendDatagram():
                octets.append(action.payload)
            case SendDatagrams():
                batch = action.batch
                starts = range(0, len(batch.octets), batch.size)
                assert batch.datagrams == len(starts)
                octets += [batch.octets[start : start + batch.size] for start in starts]
            case DeliverFrame():
                octets.append(action.frame)
            case DeliverFrames():
                octets += [frame for run in action.runs for frame in run.frames()]
            case _:
                raise AssertionError(action)
    rows: list[object] = list(client.transfer.stations.rows(NOW))
    return octets, dict(client.drops), rows, client.frames_sealed, client.frames_delivered


stations = st.sampled_from([mac("aa"), mac("bb"), mac("ff"), b"\xff" * 6, bytes(6)])


@settings(max_examples=100, deadline=None)
@given(
    stations,
    stations,
    st.lists(st.integers(0, MTU + 3), min_size=1, max_size=9),
    st.booleans(),
    st.integers(0, 12),
    st.booleans(),
)
def test_a_run_is_sealed_as_its_frames_are_alone(
    destination: bytes,
    source: bytes,
    sizes: list[int],
    tagged: bool,
    counters: int,
    seen_outside: bool,
) -> None:
    frames = [destination + source + b"\x88\xb5" + bytes(size) for size in sizes]
    singly, together = (a_client(1, tagged, counters) for _ in range(2))
    for client in (singly, together):
        if seen_outside:
            for payload in sealed([b"\xff" * 6 + source + b"\x88\xb5"], tagged):
                client.receive_datagram(payload, RELAY, NOW - 1)
            made(client)
    for one in frames:
        singly.receive_frame(one, NOW)
    together.receive_frames(frames, NOW)
    assert made(together) == made(singly)


def sealed(frames: list[bytes], tagged: bool, sender_id: int = 2) -> list[bytes]:
    client = a_client(sender_id, tagged)
    for one in frames:
        client.receive_frame(one, 0)
    return made(client)[0]


def batches(payloads: list[bytes]) -> Iterator[tuple[bytes, int]]:
    """Puts neighbours together as a network card does: one size, and the last may be shorter."""
    waiting: list[bytes] = []
    for one in payloads:
        fits = waiting and 0 < len(one) <= len(waiting[0]) == len(waiting[-1])
        if waiting and not fits:
            yield b"".join(waiting), len(waiting[0])
            waiting = []
        waiting.append(one)
    if waiting:
        yield b"".join(waiting), len(waiting[0])


MISHAPS = ["double", "change", "cut", "probe", "own", "lose", "swap", "strip", "forge", "inside"]


def befall(what: str, payloads: list[bytes], at: int, chance: int, frames: list[bytes]) -> None:
    """Has something happen to the datagram ``at``, or to what is around it."""
    octets = payloads[at]
    if what == "double":
        payloads.insert(at + chance % 3, octets)
    elif what == "change" and octets:
        place = chance % len(octets)
        changed = octets[place] ^ 1 << chance % 8
        payloads[at] = octets[:place] + bytes([changed]) + octets[place + 1 :]
    elif what == "cut":
        payloads[at] = octets[: chance % (len(octets) + 1)]
    elif what == "probe":
        payloads[at] = Probe(1, bytes(16)).pack().ljust(len(octets), b"x")
    elif what == "own":
        payloads.insert(at, sealed(frames[:1], tagged=False, sender_id=1)[0])
    elif what == "lose":
        del payloads[at]
    elif what == "swap":
        payloads.insert(at, payloads.pop(chance % len(payloads)))
    elif what == "strip":
        payloads[at:] = [one[16:] for one in payloads[at:]]
    elif what == "forge":
        payloads[at] = octets[:-1] + bytes([octets[-1] ^ 1]) if octets else b""
    elif what == "inside":
        payloads[at : at + 1] = of_a_member_that_cheats(chance, len(octets))


def of_a_member_that_cheats(chance: int, size: int) -> list[bytes]:
    """Returns datagrams that open, and what is in some of them is not what it should be."""
    station, group, stranger = mac("aa"), b"\xff" * 6, mac("cc")
    sealer, made_of = (
        association(4),
        [group + station + b"\x88\xb5" + bytes(max(size - 112, 2))] * 6,
    )
    changed = bytearray(made_of[0])
    changed[(0, 6, 12)[chance % 3]] ^= 1 << (0, 2)[chance % 2]
    made_of[chance % 5] = bytes(changed)
    if chance % 4 == 0:
        made_of[2] = group + stranger + made_of[2][12:]
    payloads = []
    for number, inside in enumerate(made_of):
        packet = sealer.seal(inside[:9] if chance % 7 == number else inside)
        if chance % 5 == number:
            packet = sealer.seal_piece(Piece(1, 0, chance % 2 == 0, inside[: len(inside) // 8 * 8]))
        inner = InnerPacket(ip_address("3ffe:4::1"), ip_address("ff1e::1"), packet)
        payloads.append(VpnHeader((station, group)).pack() + inner.pack())
    return payloads


@settings(max_examples=300, deadline=None)
@given(st.data(), st.booleans())
def test_a_run_is_opened_as_its_datagrams_are_alone(data: st.DataObject, tagged: bool) -> None:
    pick = data.draw
    frames: list[bytes] = []
    for _ in range(pick(st.integers(1, 4))):
        destination = pick(st.sampled_from([b"\xff" * 6, mac("dd")]))
        source = pick(st.sampled_from([mac("aa"), mac("bb")]))
        size = pick(st.sampled_from([1, 46, 60, 2000]))
        frames += [destination + source + b"\x88\xb5" + bytes(size)] * pick(st.integers(1, 9))
    payloads = sealed(frames, tagged)
    if pick(st.booleans()):
        others = sealed(frames[:4], tagged, sender_id=3)
        payloads = [one for pair in zip_longest(payloads, others) for one in pair if one]
    for _ in range(pick(st.integers(0, 4))):
        if payloads:
            at = pick(st.integers(0, len(payloads) - 1))
            what = pick(st.sampled_from(MISHAPS))
            befall(what, payloads, at, pick(st.integers(0, 1000)), frames)
    source_address = pick(st.sampled_from([RELAY, RELAY, RELAY, ELSEWHERE]))
    local = pick(st.sampled_from([None, None, mac("aa")]))
    singly, together = (a_client(1, tagged) for _ in range(2))
    for client in (singly, together):
        if local is not None:
            client.receive_frame(b"\xff" * 6 + local + b"\x88\xb5", NOW)
            made(client)
    for _ in range(pick(st.integers(1, 2))):
        for one in payloads:
            singly.receive_datagram(one, source_address, NOW)
        for octets, size in batches(payloads):
            together.receive_datagrams(memoryview(octets), size, source_address, NOW)
        assert made(together) == made(singly)
        assert windows(together) == windows(singly)


def windows(client: Client) -> dict[int, tuple[int, int]]:
    """Returns what has been accepted, by sender ID."""
    sealing = client.associations.sealing
    assert sealing is not None
    found = sealing.history.windows
    return {sender: (window._newest, window._seen) for sender, window in found.items()}


def test_a_run_in_order_is_opened_together(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [b"\xff" * 6 + mac("aa") + b"\x88\xb5" + bytes([n]) * 60 for n in range(40)]
    for tagged in (False, True):
        payloads = sealed(frames, tagged)
        client = a_client(1, tagged)
        monkeypatch.setattr(client.transfer, "open", lambda *_: pytest.fail("opened alone"))
        octets = memoryview(b"".join(payloads))
        client.receive_datagrams(octets, len(payloads[0]), RELAY, NOW)
        assert made(client)[0] == frames
        assert windows(client) == {2: (40, 2**40 - 1)}


def test_claims_in_datagrams_can_still_come_on_the_lan() -> None:
    sealer, client = association(2), a_client(1)
    own = Claim(Standing.REGISTERED, ClientId(2))
    packets = [sealer.seal_claim(own) for _ in range(6)]
    header = VpnHeader((mac("aa"), b"\xff" * 6)).pack()
    inner = [InnerPacket(ip_address("3ffe:2::1"), ip_address("ff1e::1"), one) for one in packets]
    payloads = [header + one.pack() for one in inner]
    client.receive_datagrams(memoryview(b"".join(payloads)), len(payloads[0]), RELAY, NOW)
    assert client.drops == {DropReason.MALFORMED_PLAINTEXT: 6}
    assert windows(client) == {}
    opener = client.associations.sealing
    assert opener is not None
    assert [opener.open_claim(packet) for packet in packets] == [own] * 6


def test_a_counter_that_sealing_failed_with_is_not_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = a_client(1)
    frames = [b"\xff" * 6 + mac("aa") + b"\x88\xb5" + bytes(60)] * 8
    used: list[bytes] = []
    seal = Aead.seal_all

    def fail(self: Aead, nonces: Sequence[bytes], *rest: Sequence[bytes]) -> list[bytes]:
        used.extend(nonces)
        seal(self, nonces[:3], *(one[:3] for one in rest))
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(Aead, "seal_all", fail)
        with pytest.raises(MemoryError):
            client.receive_frames(frames, NOW)
    client.receive_frames(frames, NOW)
    client.receive_frame(frames[0], NOW)
    counters = [EspHeader.parse(payload[56:]).counter for payload in made(client)[0]]
    assert len(used) == 8
    assert counters == list(range(9, 18))


def test_a_read_that_left_no_frame_is_no_mistake() -> None:
    client = a_client(1)
    client.receive_frames([], NOW)
    assert client.next_action() is None


def test_what_comes_before_there_is_a_group_is_dropped_one_by_one() -> None:
    client = Client(AuthenticationInformation("a", Secret(b""), VpnId(1001)), 5000)
    client.receive_frames([bytes(60), bytes(60)], NOW)
    client.receive_datagrams(memoryview(bytes(110)), 60, RELAY, NOW)
    assert client.drops == {DropReason.NOT_REGISTERED: 4}
