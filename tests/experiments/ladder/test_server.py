"""Every stage of every plane is timed where the loop calls it, and no relay's process loads a cipher."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from ipaddress import IPv6Address

import pytest

from experiments.ladder.server import places
from experiments.ladder.stopwatch import Stopwatch
from nodes.planes import BatchPlanes, Plane, Planes, SocketPlanes
from nodes.udp import UdpSocket
from protocol import hop_tag
from protocol.hub import Hub
from protocol.null_forwarder import NullForwarder
from protocol.relay import Member, RelayedGroup, TaggedRelay
from protocol.types import Address, ClientId, Secret, VpnId
from tests.protocol.relay.datagrams import datagram
from tests.protocol.test_hub import Site, frame

HOST = IPv6Address("::1")
RECEIVER = Address("::1", 9)


class Loop:
    """A plane on a socket of its own, and somebody who sends to it."""

    def __init__(self, planes: Planes, core: NullForwarder | TaggedRelay | Hub) -> None:
        self.udp: UdpSocket = planes.open(HOST, 0)
        self.sender = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.sender.bind(("::1", 0))
        make: Callable[..., Plane] = planes.resealing if isinstance(core, Hub) else planes.deciding
        self.plane = make(self.udp, core, lambda: None)

    def stages(self, payload: bytes) -> dict[str, float]:
        """Moves one datagram with the watch on."""
        watch = Stopwatch(places(self.plane))
        watch.start()
        self.sender.sendto(payload, self.udp.address)
        self.plane.readable()
        times = {stage: len(some) for stage, some in watch._times.items()}
        watch.stop()
        assert vars(self.udp).keys().isdisjoint({"receive", "receive_into", "waits"})
        return {stage: count for stage, count in times.items() if count}

    def close(self) -> None:
        self.udp.close()
        self.sender.close()


@pytest.fixture(params=[SocketPlanes, BatchPlanes])
def planes(request: pytest.FixtureRequest) -> Planes:
    made: Planes = request.param()
    return made


def test_a_null_forwarder_receives_decides_and_sends(planes: Planes) -> None:
    null = NullForwarder()
    loop = Loop(planes, null)
    group = VpnId(1)
    null.add_member(Member(ClientId(1), group, Address(*loop.sender.getsockname()[:2])))
    null.add_member(Member(ClientId(2), group, RECEIVER))
    try:
        assert loop.stages(bytes(64)) == {"receive": 2, "decide": 1, "send": 1}
    finally:
        loop.close()


def test_a_tagged_relay_looks_at_the_tag(planes: Planes) -> None:
    relay = TaggedRelay()
    loop = Loop(planes, relay)
    relay.install_group(RelayedGroup(VpnId(1), IPv6Address("ff1e::1"), frozenset({4097})))
    source = Address(*loop.sender.getsockname()[:2])
    relay.add_member(Member(ClientId(1), VpnId(1), source, hop_keys=(Secret(bytes(16)),)))
    payload = bytes((1, 1)) + bytes(22) + b"\x60" + bytes(80)
    try:
        assert loop.stages(payload) == {"receive": 2, "decide": 1, "tag": 2}
    finally:
        loop.close()


def test_a_run_of_tagged_datagrams_is_looked_at_in_one_go() -> None:
    relay, key = TaggedRelay(), Secret(bytes(16))
    loop = Loop(BatchPlanes(), relay)
    relay.install_group(RelayedGroup(VpnId(1001), IPv6Address("ff1e::1"), frozenset({4097})))
    source = Address(*loop.sender.getsockname()[:2])
    relay.add_member(Member(ClientId(1), VpnId(1001), source, hop_keys=(key,)))
    relay.add_member(Member(ClientId(2), VpnId(1001), RECEIVER))
    payload = hop_tag.add(datagram(1001), key)
    relay.receive_datagram(payload, source, 0)
    watch = Stopwatch(places(loop.plane))
    watch.start()
    try:
        decide = vars(loop.plane)["_decide_batch"]
        size = len(payload)
        runs = decide(bytearray(4 * payload), slice(0, 4 * size), size, source, 0)
        counts = {stage: len(some) for stage, some in watch._times.items() if some}
    finally:
        watch.stop()
        loop.close()
    assert [(run.start, run.stop) for run in runs] == [(0, 4 * size)]
    # the first is looked at alone, then with the three behind it
    assert counts == {"decide": 1, "tag": 2 + 1}


def test_a_hub_opens_and_seals(planes: Planes) -> None:
    site = Site("ABC")
    loop = Loop(planes, site.hub)
    member = site.members["A"]
    source = Address(*loop.sender.getsockname()[:2])
    site.hub._sessions[source] = site.hub._sessions[member.address]
    try:
        found = loop.stages(member.seal(frame(b"\xff" * 6, 1)))
    finally:
        loop.close()
    expected = {"receive": 2, "reseal": 1, "open": 1, "open_cipher": 1, "seal": 2, "seal_cipher": 2}
    assert found == {**expected, "send": 2}


def test_what_a_relay_is_measured_with_loads_no_cipher() -> None:
    program = (
        "import sys; from experiments.ladder import server, stopwatch\n"
        "from nodes.planes import SocketPlanes; from protocol.relay import Relay\n"
        "from ipaddress import IPv6Address\n"
        "planes = SocketPlanes(); udp = planes.open(IPv6Address('::1'), 0)\n"
        "server.places(planes.deciding(udp, Relay(), lambda: None))\n"
        "print([name for name in sys.modules if name.startswith('cryptography')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=250, check=True
    )
    assert done.stdout.strip() == "[]"
