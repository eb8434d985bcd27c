"""When a client says where it is, and which answers it takes."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from protocol import binding_tag
from protocol.client.actions import Action, SendDatagram
from protocol.client.binding import CHALLENGES, INTERVAL, PAUSES, Bindings
from protocol.types import SECOND, Address, ClientId, Secret
from protocol.wire.binding import NO_TOKEN, Binding, Kind
from protocol.wire.codec import Endpoint
from protocol.wire.messages import NewRelay, RefusalReason, Refused
from tests.world import World

KEY, RELAY = Secret(bytes(range(16))), Address("3ffe::1000", 5000)
TOKEN = b"a token!"


class Side:
    """Bindings of client 7, begun at 1 s, and what they sent."""

    def __init__(self) -> None:
        self.sent: list[Binding] = []
        self.bindings = Bindings(ClientId(7), KEY, RELAY, self._act, SECOND)

    def _act(self, action: Action) -> None:
        assert isinstance(action, SendDatagram)
        assert action.destination == RELAY
        assert binding_tag.holds(action.payload, KEY)
        self.sent.append(Binding.parse(action.payload))

    def answer(self, kind: Kind, counter: int, token: bytes = NO_TOKEN, now: int = SECOND) -> bool:
        payload = binding_tag.tagged(Binding(kind, 7, counter, token), KEY)
        return self.bindings.receive_datagram(payload, RELAY, now)

    def run_until(self, end: int) -> None:
        while (due := self.bindings.next_timeout()) <= end:
            self.bindings.handle_timeout(due)


def test_a_client_asks_at_once_a_few_times_more_and_then_every_interval() -> None:
    side = Side()
    side.run_until(SECOND + INTERVAL - 1)
    assert [one.counter for one in side.sent] == list(range(1, len(PAUSES) + 2))
    assert all(one == Binding(Kind.QUESTION, 7, one.counter) for one in side.sent)
    side.run_until(SECOND + INTERVAL)
    assert len(side.sent) == len(PAUSES) + 2


def test_an_answer_ends_the_round_and_the_next_comes_an_interval_after_it_began() -> None:
    side = Side()
    assert side.answer(Kind.BOUND, 1, now=SECOND + 1)
    side.run_until(SECOND + INTERVAL - 1)
    assert len(side.sent) == side.bindings.bound == 1
    side.run_until(SECOND + INTERVAL)
    assert len(side.sent) == 2


def test_a_challenge_is_met_at_once_and_a_lost_answer_to_that_asked_for_again() -> None:
    side = Side()
    assert side.answer(Kind.CHALLENGE, 1, TOKEN)
    assert side.sent[1:] == [Binding(Kind.QUESTION, 7, 2, TOKEN)]
    side.run_until(SECOND + PAUSES[0])
    assert side.sent[2:] == [Binding(Kind.QUESTION, 7, 3, TOKEN)]


def test_challenges_without_an_end_are_met_a_few_times_a_round() -> None:
    side = Side()
    for counter in range(1, 50):
        side.answer(Kind.CHALLENGE, counter, TOKEN)
    assert len(side.sent) == 1 + CHALLENGES
    side.run_until(SECOND + INTERVAL - 1)
    assert len(side.sent) == 1 + CHALLENGES + len(PAUSES)


@pytest.mark.parametrize(
    ("said", "key", "source"),
    [
        (Binding(Kind.BOUND, 7, 1), Secret(bytes(16)), RELAY),
        (Binding(Kind.BOUND, 7, 1), KEY, Address(RELAY.host, 5001)),
        (Binding(Kind.BOUND, 8, 1), KEY, RELAY),
        (Binding(Kind.BOUND, 7, 0), KEY, RELAY),
        (Binding(Kind.BOUND, 7, 2), KEY, RELAY),
        (Binding(Kind.QUESTION, 7, 1), KEY, RELAY),
        (Binding(Kind.CHALLENGE, 7, 2, TOKEN), KEY, RELAY),
    ],
)
def test_an_answer_that_is_none_to_what_was_asked_changes_nothing(
    said: Binding, key: Secret, source: Address
) -> None:
    side = Side()
    assert not side.bindings.receive_datagram(binding_tag.tagged(said, key), source, SECOND)
    assert len(side.sent) == 1
    assert side.answer(Kind.BOUND, 1)
    assert not side.answer(Kind.BOUND, 1), "an answer that was heard is not taken again"
    assert not side.answer(Kind.CHALLENGE, 1, TOKEN)


def test_a_registered_client_binds_with_a_fresh_key_each_time_and_not_once_it_has_left() -> None:
    world = World("a", "b")
    world.join_all()
    client = world.peers["a"].client
    first = client.establishment.bindings
    assert first is not None
    assert first.bound == 1
    world.disconnect("a")
    assert client.establishment.bindings is first, "goes on while the channel is lost"
    world.connect(world.peers["a"])
    assert client.establishment.bindings not in (None, first)
    world.leave("a")
    assert world.peers["a"].client.establishment.bindings is None


def test_a_client_that_is_refused_binds_no_more() -> None:
    world = World("a")
    (peer,) = world.join("a")
    refused = Refused(RefusalReason.SUPERSEDED, "elsewhere")
    peer.client.receive_message(refused, world.now)
    assert peer.client.establishment.bindings is None


def test_a_client_binds_at_once_with_another_relay_and_its_key() -> None:
    world = World("a")
    (peer,) = world.join("a")
    before = peer.client.establishment.bindings
    endpoint = _endpoint("3ffe::2000")
    peer.client.receive_message(NewRelay(endpoint, (endpoint,), None, KEY), world.now)
    action = peer.client.next_action()
    assert isinstance(action, SendDatagram)
    assert action.destination == endpoint.address
    assert binding_tag.holds(action.payload, KEY)
    assert peer.client.establishment.bindings is not before


def test_a_key_of_another_length_ends_the_channel() -> None:
    world = World("a")
    (peer,) = world.join("a")
    endpoint = _endpoint("3ffe::2000")
    short = NewRelay(endpoint, (endpoint,), None, Secret(bytes(15)))
    peer.client.receive_message(short, world.now)
    world.settle()
    assert peer.connection is None


def test_a_client_of_a_multicast_group_has_no_need_to() -> None:
    world = World("a", "b", delivery="multicast")
    world.join_all()
    assert world.peers["a"].client.establishment.bindings is None


def _endpoint(host: str) -> Endpoint:
    return Endpoint(ip_address(host), 5000)
