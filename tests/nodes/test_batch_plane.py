"""The differential test: the same streams through every data plane give the same datagrams."""

from __future__ import annotations

import itertools
import select
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from ipaddress import IPv6Address, ip_address

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodes import batch_plane, data_plane
from nodes.batch_plane import AT_ONCE
from nodes.batch_socket import BatchUdpSocket, Piece, missing_options
from nodes.outbox import Outbox, most_octets
from nodes.planes import BatchPlanes, Planes
from nodes.udp import UdpSocket
from protocol import hop_tag
from protocol.hub import Hub
from protocol.null_forwarder import NullForwarder
from protocol.relay import Member, Relay, RelayedGroup, Strip, TaggedRelay
from protocol.security_association import SecurityAssociation
from protocol.types import SECOND, Address, Secret, Spi, VpnId
from protocol.wire.inner_packet import InnerPacket
from protocol.wire.messages import GroupSecurityAssociation
from protocol.wire.vpn_header import VpnHeader
from tests.nodes.scene import ALL_PLANES, HOST, Burst, Scene, no_timer, open_scene, through
from tests.protocol.relay.datagrams import GROUPS, PLACES, datagram, station

pytestmark = pytest.mark.skipif(bool(missing_options()), reason="kernel without UDP batches")

STRANGER = "x"
VPN_HEADER = 16
MEMBERS = ("a", "b", "c", "d", "v")


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with open_scene((*MEMBERS, STRANGER)) as opened:
        yield opened


def member_of(scene: Scene, name: str) -> Member:
    return Member(*PLACES[name], scene.address(name), hop_keys=(hop_key(name),))


def hop_key(name: str) -> Secret:
    return Secret(name.encode() * 16)


def relay_of(scene: Scene, strip: Strip, tagged: bool = False) -> Relay:
    relay = (TaggedRelay if tagged else Relay)(strip)
    for vpn_id, (group, spi) in GROUPS.items():
        relay.install_group(RelayedGroup(vpn_id, ip_address(group), frozenset([spi])))
    for name in MEMBERS:
        relay.add_member(member_of(scene, name))
    return relay


stations = st.sampled_from(["01", "02", "*", "0"])
good = st.builds(
    datagram,
    st.sampled_from([1001, 1001, 1001, 1002, 1003]),
    st.none() | stations,
    stations,
    st.sampled_from([None, None, None, 9999]),
    st.sampled_from([36, 64, 64, 1300]),
)
cut_off = st.builds(lambda whole, octets: whole[:octets], good, st.integers(0, 80))
kinds = st.lists(good | cut_off | st.binary(max_size=90), min_size=1, max_size=3)
streams = kinds.flatmap(lambda some: st.lists(st.sampled_from(some), min_size=1, max_size=30))


def alike(datagrams: list[bytes]) -> tuple[bytes, ...]:
    """Makes the sizes equal, so that the kernel takes the datagrams as a batch."""
    size = len(datagrams[0])
    return (*(one.ljust(size, b"\0")[:size] for one in datagrams[:-1]), datagrams[-1][:size])


bursts = st.builds(
    lambda sender, datagrams, batch, read: Burst(
        sender, alike(datagrams) if batch else tuple(datagrams), batch, read
    ),
    st.sampled_from([*MEMBERS, "a", "a", STRANGER]),
    streams,
    st.booleans(),
    st.booleans(),
)


def with_tags(course: list[Burst], forged: int) -> list[Burst]:
    """Tags all that is long enough to have one; the rest gets as long, so that batches stay."""
    number = itertools.count()

    def tagged(sender: str, payload: bytes) -> bytes:
        if len(payload) <= VPN_HEADER or payload[0] not in (1, 2):
            return payload + bytes(hop_tag.LENGTH)
        return hop_tag.add(payload, hop_key("x" if next(number) == forged else sender))

    return [
        replace(one, datagrams=tuple(tagged(one.sender, payload) for payload in one.datagrams))
        for one in course
    ]


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.lists(bursts, min_size=1, max_size=4),
    st.sampled_from(list(Strip)),
    st.none() | st.integers(0, 40),
)
def test_every_plane_sends_the_same_datagrams_in_the_same_order(
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
    course: list[Burst],
    strip: Strip,
    forged: int | None,
) -> None:
    """With a number all datagrams are tagged, and that one's tag is of another member."""
    tagged = forged is not None
    if forged is not None:
        course = with_tags(course, forged)
    for module in (data_plane, batch_plane):
        monkeypatch.setattr(module, "now", lambda: SECOND)
    outcomes = []
    for planes in ALL_PLANES:
        relay = relay_of(scene, strip, tagged)
        got = through(scene, planes, lambda how, udp: how.deciding(udp, relay, no_timer), course)  # noqa: B023
        outcomes.append((got, relay.flows.totals(), list(relay.mac_ip.rows(SECOND))))
    assert outcomes[0] == outcomes[1]


@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(bursts, min_size=1, max_size=3))
def test_the_null_forwarder_sends_the_same_through_every_plane(
    scene: Scene, course: list[Burst]
) -> None:
    null = NullForwarder()
    for name in MEMBERS:
        null.add_member(member_of(scene, name))
    course = [
        Burst(one.sender, tuple(filter(None, one.datagrams)) or (b"0",), one.batch, True)
        for one in course
    ]
    one, other = (
        through(scene, planes, lambda how, udp: how.deciding(udp, null, no_timer), course)
        for planes in ALL_PLANES
    )
    assert one == other


@pytest.mark.parametrize("planes", ALL_PLANES)
def test_what_comes_alone_is_sent_at_once_and_no_call_is_in_vain(
    scene: Scene, planes: Planes, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = relay_of(scene, Strip.KEEP)
    calls: list[str] = []

    def noted(kind: type[UdpSocket], name: str) -> None:
        call = getattr(kind, name)

        def instead(*given: object) -> object:
            calls.append(name)
            return call(*given)

        monkeypatch.setattr(kind, name, instead)

    for name in ("receive", "waits", "send"):
        noted(UdpSocket, name)
    for name in ("receive_into", "send_batch"):
        noted(BatchUdpSocket, name)
    receive = "receive_into" if planes.name == "batch" else "receive"
    one = datagram(1001, "01", "*")
    lone = Burst("a", (one,), batch=False, read=True)
    with closing(planes.open(HOST, 0)) as udp:
        plane = planes.deciding(udp, relay, no_timer)
        for _ in range(2):
            scene.send(lone, udp.address)
            plane.readable()
            assert calls == [receive, "send", "send", "waits"]
            calls.clear()
        for _ in range(3):
            scene.send(lone, udp.address)
        plane.readable()
        assert calls.count("waits") == 3
        calls.clear()
        scene.send(lone, udp.address)
        plane.readable()
        assert calls.count(receive) == 2, "after several it is worth a try"
        assert "waits" not in calls
        calls.clear()
        scene.send(lone, udp.address)
        plane.readable()
        assert calls.count("waits") == calls.count(receive) == 1
        assert not select.select([udp], [], [], 0)[0]
    assert {name: len(got) for name, got in scene.received().items() if got} == {"b": 7, "c": 7}


def test_few_are_sent_on_at_once_and_the_copies_of_many_are_gathered(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[list[int]] = [[], []]
    alone, gathered = BatchUdpSocket.send, BatchUdpSocket.send_batch

    def send(udp: BatchUdpSocket, payload: Piece, to: tuple[str, int]) -> bool:
        sizes[0].append(1)
        return alone(udp, payload, to)

    def send_batch(udp: BatchUdpSocket, pieces: list[Piece], size: int, to: Address) -> None:
        sizes[1].append(len(pieces))
        gathered(udp, pieces, size, to)

    monkeypatch.setattr(BatchUdpSocket, "send", send)
    monkeypatch.setattr(BatchUdpSocket, "send_batch", send_batch)
    one = datagram(1001, "01", "*")
    with closing(BatchUdpSocket(HOST, 0)) as udp:
        plane = BatchPlanes().deciding(udp, relay_of(scene, Strip.KEEP), no_timer)

        def wake_up(count: int) -> tuple[int, list[int]]:
            """Returns how many copies left one by one, and how many with each batch."""
            scene.send(Burst("a", (one,) * count, batch=False, read=True), udp.address)
            plane.readable()
            assert not select.select([udp], [], [], 0)[0]
            found = len(sizes[0]), [*sizes[1]]
            for some in sizes:
                some.clear()
            return found

        assert wake_up(AT_ONCE) == (2 * AT_ONCE, [])
        assert wake_up(AT_ONCE + 5) == (2 * AT_ONCE, [5, 5])
        assert wake_up(AT_ONCE + 5) == (0, [AT_ONCE + 5] * 2), "as many are expected again"
        assert wake_up(2) == (0, [2, 2])
        assert wake_up(2) == (4, [])
    assert {len(got) for name, got in scene.received().items() if name in "bc"} == {
        3 * AT_ONCE + 14
    }


class Sealer:
    """The members' ends of their SAs with a hub, and frames sealed beforehand."""

    def __init__(self, scene: Scene, strip: Strip) -> None:
        self.hub = Hub(IPv6Address("3ffe::1000"), strip)
        self._ends = {}
        group, _ = GROUPS[VpnId(1001)]
        self.hub.install_group(RelayedGroup(VpnId(1001), ip_address(group), frozenset()))
        for number, name in enumerate(("a", "b", "c"), start=1):
            given_to_hub, given_to_member = (
                GroupSecurityAssociation(
                    Spi(4096 + number),
                    "aes-128-gcm",
                    Secret(bytes([number]) * 16),
                    Secret(bytes(4)),
                    sender,
                )
                for sender in (0, 1)
            )
            self.hub.install_association(PLACES[name][0], given_to_hub)
            self.hub.add_member(member_of(scene, name))
            self._ends[name] = SecurityAssociation(given_to_member)

    def seal(self, name: str, destination: str, octets: int) -> bytes:
        macs = station(destination) + station("0" + name)
        packet = self._ends[name].seal(macs + bytes(octets))
        inner = InnerPacket(IPv6Address("3ffe::99"), ip_address(GROUPS[VpnId(1001)][0]), packet)
        return VpnHeader((macs[6:], macs[:6])).pack() + inner.pack()


@pytest.mark.parametrize("strip", list(Strip))
def test_a_hub_sends_the_same_through_every_plane(scene: Scene, strip: Strip) -> None:
    outcomes = []
    for planes in ALL_PLANES:
        sealer = Sealer(scene, strip)
        course = []
        for sender, destination in (("a", "*"), ("b", "0a"), ("a", "0b"), ("c", "*")):
            whole = tuple(sealer.seal(sender, destination, 800) for _ in range(30))
            course.append(Burst(sender, (*whole, sealer.seal(sender, "*", 50)), True, False))
        forged = course[0].datagrams[0][:-1] + b"\0"
        course.append(Burst("a", (forged, b"\x01", course[0].datagrams[1]), False, False))
        hub = sealer.hub
        got = through(scene, planes, lambda how, udp: how.resealing(udp, hub, no_timer), course)  # noqa: B023
        outcomes.append((got, hub.copies_out, hub.octets_out, hub.drops, hub.datagrams_in))
    assert outcomes[0] == outcomes[1]
    got, copies, *_ = outcomes[0]
    assert copies == sum(map(len, got.values())) == 2 * (31 + 1 + 1 + 31) + 2 * 30


# -- the outbox


class Sent(BatchUdpSocket):
    """Notes the batches instead of sending them."""

    def __init__(self) -> None:
        self.batches: list[tuple[bytes, int, tuple[str, int]]] = []

    def send_batch(self, pieces: list[Piece], size: int, destination: tuple[str, int]) -> None:  # type: ignore[override]
        self.batches.append((b"".join(pieces), size, destination))


NEAR, FAR = ("near", 1), ("far", 1)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([100, 100, 100], [[100, 100, 100]]),
        ([100, 40, 100], [[100, 40], [100]]),
        ([40, 100, 100], [[40], [100, 100]]),
        ([100] * 65, [[100] * 64, [100]]),
        ([1400] * 47, [[1400] * 46, [1400]]),
        ([65_000, 600], [[65_000], [600]]),
        ([65_527, 10], [[65_527], [10]]),
    ],
)
def test_the_outbox_sends_as_many_at_once_as_the_kernel_takes(
    sizes: list[int], expected: list[list[int]]
) -> None:
    sent = Sent()
    outbox = Outbox(sent)
    for size in sizes:
        outbox.add(NEAR, [bytes(size)], size, size)
    outbox.flush()
    found = [
        [len(octets[at : at + size]) for at in range(0, len(octets), size)]
        for octets, size, _ in sent.batches
    ]
    assert found == expected


deliveries = st.lists(
    st.tuples(
        st.sampled_from([NEAR, FAR]),
        st.integers(1, 200),
        st.integers(0, 70),
        st.integers(0, 199),
        st.booleans(),
    )
)


@settings(max_examples=200, deadline=None)
@given(deliveries)
def test_the_outbox_loses_changes_and_reorders_nothing(
    course: list[tuple[tuple[str, int], int, int, int, bool]],
) -> None:
    sent = Sent()
    outbox = Outbox(sent)
    expected: dict[tuple[str, int], list[bytes]] = {NEAR: [], FAR: []}
    for number, (destination, size, count, last, one_piece) in enumerate(course):
        datagrams = [bytes([number % 251]) * size] * count + [b"\xff" * min(last, size)]
        datagrams = [one for one in datagrams if one][: most_octets(size) // size]
        if not datagrams:
            continue
        octets = sum(map(len, datagrams))
        pieces: list[Piece] = [b"".join(datagrams)] if one_piece else list(datagrams)
        outbox.add(destination, pieces, size, octets)
        expected[destination] += datagrams
    outbox.flush()
    found: dict[tuple[str, int], list[bytes]] = {NEAR: [], FAR: []}
    for octets_sent, size, destination in sent.batches:
        assert len(octets_sent) <= most_octets(size)
        found[destination] += [
            octets_sent[at : at + size] for at in range(0, len(octets_sent), size)
        ]
    assert found == expected
