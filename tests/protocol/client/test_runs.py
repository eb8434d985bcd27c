"""Many frames or datagrams at a time are what they are one at a time."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.client import Client
from protocol.client.actions import DeliverFrame, DeliverFrames, SendDatagram, SendDatagrams
from protocol.client.tables import AuthenticationInformation, VpnInformation
from protocol.errors import DropReason
from protocol.types import Address, ClientId, Secret, VpnId
from protocol.wire.probe import Probe
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
                octets += action.payloads
            case DeliverFrame():
                octets.append(action.frame)
            case DeliverFrames():
                octets += action.frames
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


@settings(max_examples=150, deadline=None)
@given(st.data(), st.booleans())
def test_a_run_is_opened_as_its_datagrams_are_alone(data: st.DataObject, tagged: bool) -> None:
    frames = [
        b"\xff" * 6 + data.draw(st.sampled_from([mac("aa"), mac("bb")])) + b"\x88\xb5" + bytes(size)
        for size in data.draw(st.lists(st.integers(1, 60) | st.just(2000), min_size=1, max_size=8))
    ]
    payloads = sealed(frames, tagged) + sealed(frames[:2], tagged, sender_id=3)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(payloads) - 1))
        what = data.draw(st.sampled_from(["double", "change", "cut", "probe", "own"]))
        if what == "double":
            payloads.append(payloads[at])
        elif what == "change":
            place = data.draw(st.integers(0, len(payloads[at]) - 1)) if payloads[at] else 0
            changed = bytearray(payloads[at] or b"x")
            changed[place] ^= 1 << data.draw(st.integers(0, 7))
            payloads[at] = bytes(changed)
        elif what == "cut":
            payloads[at] = payloads[at][: data.draw(st.integers(0, len(payloads[at])))]
        elif what == "probe":
            payloads[at] = Probe(1, bytes(16)).pack()
        else:
            payloads.insert(at, sealed(frames[:1], tagged, sender_id=1)[0])
    source = data.draw(st.sampled_from([RELAY, RELAY, RELAY, ELSEWHERE]))
    local = data.draw(st.sampled_from([None, mac("aa")]))
    singly, together = (a_client(1, tagged) for _ in range(2))
    for client in (singly, together):
        if local is not None:
            client.receive_frame(b"\xff" * 6 + local + b"\x88\xb5", NOW)
            made(client)
    for one in payloads:
        singly.receive_datagram(one, source, NOW)
    together.receive_datagrams(payloads, source, NOW)
    assert made(together) == made(singly)


def test_what_comes_before_there_is_a_group_is_dropped_one_by_one() -> None:
    client = Client(AuthenticationInformation("a", Secret(b""), VpnId(1001)), 5000)
    client.receive_frames([bytes(60), bytes(60)], NOW)
    client.receive_datagrams([bytes(60), bytes(60)], RELAY, NOW)
    assert client.drops == {DropReason.NOT_REGISTERED: 4}
