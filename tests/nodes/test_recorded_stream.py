"""What the server of a real run took gives, through every plane, what that server gave."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nodes import batch_plane, data_plane
from nodes.batch_socket import missing_options
from nodes.planes import Planes
from protocol.relay import Relay, Strip
from protocol.types import SECOND, ClientId
from tests.nodes.recorded import SINGLE, Stream, as_recorded, bursts, teach
from tests.nodes.scene import ALL_PLANES, Burst, Scene, no_timer, open_scene, through

pytestmark = pytest.mark.skipif(bool(missing_options()), reason="kernel without UDP batches")

STREAM = Stream.load(SINGLE)
NAMES = tuple(map(str, range(len(STREAM.members))))
WAKINGS = {"one at a time": (-1, 1), "within 1 ms": (1_000, 64), "within 5 ms": (5_000, 64)}


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with open_scene(NAMES) as opened:
        yield opened


@pytest.fixture(autouse=True)
def time_of_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the planes go by the time at which the relay was taught."""
    for module in (data_plane, batch_plane):
        monkeypatch.setattr(module, "now", lambda: SECOND)


def relay_on(scene: Scene, strip: Strip, tagged: bool) -> Relay:
    """Returns a relay at the scene, which knows the stations already."""
    addresses = [scene.address(name) for name in NAMES]
    return teach(STREAM.relay(addresses, strip, tagged), STREAM, addresses, tagged)


def course(how: str, tagged: bool) -> list[Burst]:
    """Returns the stream as what the plane finds at each wake-up."""
    made = []
    for waiting in STREAM.wakings(*WAKINGS[how]):
        batches = bursts(STREAM, waiting, tagged)
        made += [
            Burst(str(sender), payloads, batch=len(payloads) > 1, read=number == len(batches))
            for number, (sender, payloads) in enumerate(batches, start=1)
        ]
    return made


def given_by(scene: Scene, planes: Planes, relay: Relay, course: list[Burst]) -> list[list[bytes]]:
    """Sends a course through a plane; returns what each member got, sorted."""
    got = through(scene, planes, lambda how, udp: how.deciding(udp, relay, no_timer), course)
    return [sorted(got[name]) for name in NAMES]


@pytest.mark.parametrize("how", WAKINGS)
@pytest.mark.parametrize("tagged", [False, True])
@pytest.mark.parametrize("strip", list(Strip))
@pytest.mark.parametrize("planes", ALL_PLANES, ids=lambda planes: planes.name)
def test_each_member_gets_what_it_got_in_the_run(
    scene: Scene,
    planes: Planes,
    strip: Strip,
    tagged: bool,
    how: str,
) -> None:
    relay = relay_on(scene, strip, tagged)
    before = relay.flows.totals()
    assert given_by(scene, planes, relay, course(how, tagged)) == as_recorded(STREAM, strip, tagged)
    after = relay.flows.totals()
    assert after.datagrams_in - before.datagrams_in == len(STREAM.datagrams)
    assert not after.drops


@pytest.mark.parametrize("planes", ALL_PLANES, ids=lambda planes: planes.name)
def test_a_member_that_is_gone_and_a_tag_that_is_forged_are_noticed(
    scene: Scene, planes: Planes
) -> None:
    some = course("within 5 ms", True)
    relay = relay_on(scene, Strip.KEEP, True)
    relay.remove_member(ClientId(2))
    assert given_by(scene, planes, relay, some) != as_recorded(STREAM, Strip.KEEP, True)
    relay = relay_on(scene, Strip.KEEP, True)
    first, *others = some
    spoilt = bytearray(first.datagrams[0])
    spoilt[20] ^= 1
    forged = Burst(first.sender, (bytes(spoilt), *first.datagrams[1:]), first.batch, first.read)
    got = given_by(scene, planes, relay, [forged, *others])
    whole = as_recorded(STREAM, Strip.KEEP, True)
    lost = [len(one) - len(other) for one, other in zip(whole, got, strict=True)]
    receivers = STREAM.datagrams[0].receivers
    assert lost == [int(number in receivers) for number in range(len(NAMES))]


def test_the_stream_is_of_many_kinds() -> None:
    receivers = [len(one.receivers) for one in STREAM.datagrams]
    assert len(STREAM.datagrams) > 500
    assert len(STREAM.groups) == 2
    assert {1, 2} <= set(receivers)
    assert len({len(one.payload) for one in STREAM.datagrams}) >= 3
    longest = max(len(burst.datagrams) for burst in course("within 5 ms", True))
    assert longest > 4, "batches form"
