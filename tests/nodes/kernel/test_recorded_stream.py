"""What the server of a real run took gives, out of the plane in the kernel, what that server gave."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from nodes import batch_plane
from nodes.kernel.plane import open_kernel_plane
from nodes.planes import BatchPlanes
from protocol.relay import Strip
from protocol.types import SECOND, Address
from tests.nodes.kernel.wire import (
    DEADLINE_S,
    MEMBERS_INTERFACE,
    PORT,
    RELAY_INTERFACE,
    Sending,
    Wire,
    host,
    run,
    wire,
)
from tests.nodes.recorded import SINGLE, Stream, as_recorded, bursts, teach

pytestmark = pytest.mark.emulated

STREAM = Stream.load(SINGLE)
WIRES = [(6, True, True), (6, False, False)]


@pytest.fixture(scope="module", params=WIRES, ids=str)
def on(request: pytest.FixtureRequest) -> Iterator[Wire]:
    with wire(*request.param) as made:
        for place, interface in (
            (made.at_relay(), RELAY_INTERFACE),
            (made.at_members(), MEMBERS_INTERFACE),
        ):
            with place:  # the run was without tags: with them its longest datagrams are longer
                run("ip", "link", "set", "dev", interface, "mtu", "1600")
        yield made


@pytest.mark.parametrize("tagged", [False, True])
@pytest.mark.parametrize("gap", [-1, 5_000])
def test_each_member_gets_what_it_got_in_the_run(
    on: Wire, monkeypatch: pytest.MonkeyPatch, gap: int, tagged: bool
) -> None:
    monkeypatch.setattr(batch_plane, "now", lambda: SECOND)
    numbers = [number + 1 for number in range(len(STREAM.members))]
    addresses = [Address(str(host(on.family, number)), PORT) for number in numbers]
    relay = STREAM.relay(addresses, Strip.KEEP, tagged)
    with on.at_relay():
        udp = BatchPlanes().open(on.address, PORT)
        kernel = open_kernel_plane(relay, on.address, PORT)
    try:
        plane = BatchPlanes().deciding(udp, relay, lambda: None)
        teach(relay, STREAM, addresses, tagged)
        before = relay.flows.totals().datagrams_in
        found: list[list[bytes]] = [[] for _ in numbers]
        awaited = 0
        for waiting in STREAM.wakings(gap, 64):
            for sender, payloads in bursts(STREAM, waiting, tagged):
                on.send(Sending(numbers[sender], payloads))
            awaited += sum(len(one.receivers) for one in waiting)
            deadline = time.monotonic() + DEADLINE_S
            while sum(map(len, found)) < awaited and time.monotonic() < deadline:
                plane.readable()
                for number, more in on.received().items():
                    if more:
                        found[numbers.index(number)] += more
        assert [sorted(some) for some in found] == as_recorded(STREAM, Strip.KEEP, tagged)
        assert relay.flows.totals().datagrams_in - before == len(STREAM.datagrams)
        # all flows are known; only batches of several are not the kernel's
        assert kernel.counters().passed_up <= (0 if gap < 0 else len(STREAM.datagrams) // 10)
    finally:
        with on.at_relay():
            kernel.close()
            udp.close()
