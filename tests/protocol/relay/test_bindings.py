"""How a relay takes a client's word for where it is: checks, tokens, and what follows for flows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol import binding_tag
from protocol.errors import DropReason
from protocol.relay import Drop, Relay, TaggedRelay
from protocol.relay.tables import NO_PORT, NextHop
from protocol.relay.transfer import TAKEN
from protocol.types import Address, ClientId, Secret
from protocol.wire.binding import LENGTH, NO_TOKEN, Binding, Kind
from tests.nodes.kernel.test_plane import beside
from tests.protocol.relay.datagrams import address, datagram, member, pass_on, relay_with

VPN = 1001
KEYS = {name: Secret(bytes([number]) * 16) for number, name in enumerate("abcde", 1)}
ELSEWHERE, THIRD = Address("3ffe:99::9", 1024), Address("3ffe:99::9", 1025)


def relay_of(*names: str, kind: type[Relay] = Relay) -> Relay:
    """Returns a relay with these clients, each with a binding key."""
    relay = relay_with()
    if kind is not Relay:
        groups, relay = list(relay.multicast_addresses.rows()), kind()
        for group in groups:
            relay.install_group(group)
    for name in names:
        relay.add_member(replace(member(name), binding_key=KEYS[name]))
    return relay


def question(name: str, counter: int, token: bytes = NO_TOKEN, key: Secret | None = None) -> bytes:
    said = Binding(Kind.QUESTION, member(name).client_id, counter, token)
    return binding_tag.tagged(said, key or KEYS[name])


def ask(relay: Relay, payload: bytes, source: Address) -> Binding | DropReason:
    """Gives the relay a binding; returns its answer, or why there is none."""
    relay.take_news()
    verdict = relay.receive_datagram(payload, source, 0)
    assert relay.take_news(), "an answer waits"
    answers = relay.bindings.take_answers()
    if isinstance(verdict, Drop):
        assert not answers
        return verdict.reason
    assert verdict == TAKEN
    ((answer, destination),) = answers
    assert destination == source
    assert len(answer) == LENGTH == len(payload)
    return Binding.parse(answer)


def move(relay: Relay, name: str, to: Address, counter: int = 1) -> None:
    """Has a client show that it is at ``to``."""
    challenge = ask(relay, question(name, counter), to)
    assert isinstance(challenge, Binding)
    assert challenge.kind is Kind.CHALLENGE
    bound = ask(relay, question(name, counter + 1, challenge.token), to)
    assert isinstance(bound, Binding)
    assert (bound.kind, bound.counter, bound.token) == (Kind.BOUND, counter + 1, NO_TOKEN)


def where(relay: Relay, name: str) -> Address:
    found = relay.member(member(name).client_id)
    assert found is not None
    assert (relay.unicast_groups.at(found.address) is found) is found.is_reached
    return found.address


@pytest.mark.parametrize("kind", [Relay, TaggedRelay])
def test_a_binding_from_where_the_client_is_known_to_be_is_answered(kind: type[Relay]) -> None:
    relay = relay_of("a", kind=kind)
    answer = ask(relay, question("a", 1), address("a"))
    assert answer == Binding(Kind.BOUND, 1, 1)
    assert relay.bindings.take_bound() == {ClientId(1): address("a")}
    assert (relay.bindings.answered, relay.bindings.changed) == (1, 0)
    assert relay.flows.totals().datagrams_in == 0


@pytest.mark.parametrize("kind", [Relay, TaggedRelay])
def test_a_client_that_answers_the_challenge_is_moved(kind: type[Relay]) -> None:
    relay = relay_of("a", "b", kind=kind)
    move(relay, "a", ELSEWHERE)
    assert where(relay, "a") == ELSEWHERE
    assert relay.unicast_groups.at(address("a")) is None
    assert relay.bindings.take_bound() == {ClientId(1): ELSEWHERE}
    assert (relay.bindings.answered, relay.bindings.changed) == (2, 1)


def test_a_claim_alone_moves_nobody() -> None:
    relay = relay_of("a")
    for counter in range(1, 5):
        answer = ask(relay, question("a", counter), ELSEWHERE)
        assert isinstance(answer, Binding)
        assert answer.kind is Kind.CHALLENGE
    assert where(relay, "a") == address("a")
    assert relay.bindings.take_bound() == {}


def test_a_token_serves_at_the_address_that_it_was_sent_to_alone() -> None:
    relay = relay_of("a")
    challenge = ask(relay, question("a", 1), ELSEWHERE)
    assert isinstance(challenge, Binding)
    again = ask(relay, question("a", 2, challenge.token), THIRD)
    assert isinstance(again, Binding)
    assert again.kind is Kind.CHALLENGE
    assert again.token != challenge.token
    assert where(relay, "a") == address("a")


def test_a_token_of_an_earlier_membership_or_start_serves_no_more() -> None:
    relay, counter = relay_of("a"), 1
    challenge = ask(relay, question("a", counter), ELSEWHERE)
    assert isinstance(challenge, Binding)
    known = relay.member(ClientId(1))
    assert known is not None
    relay.remove_member(ClientId(1))
    relay.add_member(known)
    restarted = relay_with()
    restarted.bindings.start_at(10**15)
    restarted.add_member(known)
    for one in (relay, restarted):
        answer = ask(one, question("a", counter + 1, challenge.token), ELSEWHERE)
        assert isinstance(answer, Binding)
        assert answer.kind is Kind.CHALLENGE


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (question("a", 5, key=KEYS["b"]), DropReason.FORGED_BINDING),
        (question("a", 5)[:-1] + b"\0", DropReason.FORGED_BINDING),
        (question("a", 4), DropReason.REPLAYED_BINDING),
        (question("a", 3), DropReason.REPLAYED_BINDING),
        (question("c", 5), DropReason.UNKNOWN_CLIENT),
        (question("d", 5), DropReason.UNKNOWN_CLIENT),
        (question("e", 5), DropReason.UNKNOWN_CLIENT),
        (question("a", 5)[:-1], DropReason.MALFORMED_DATAGRAM),
        (question("a", 5) + b"\0", DropReason.MALFORMED_DATAGRAM),
        (b"\x04", DropReason.MALFORMED_DATAGRAM),
        (
            binding_tag.tagged(Binding(Kind.BOUND, 1, 5), KEYS["a"]),
            DropReason.MALFORMED_DATAGRAM,
        ),
    ],
)
def test_what_does_not_hold_changes_nothing_and_is_not_answered(
    payload: bytes, reason: DropReason
) -> None:
    """There is no c; d is another server's; e has no key."""
    relay = relay_of("a", "b")
    relay.add_member(replace(member("d"), binding_key=KEYS["d"], home=False))
    relay.add_member(member("e"))
    ask(relay, question("a", 4), address("a"))
    relay.bindings.take_bound()
    assert ask(relay, payload, ELSEWHERE) is reason
    assert relay.flows.totals().drops == {reason: 1}
    assert relay.bindings.take_bound() == {}
    assert where(relay, "a") == address("a")
    assert isinstance(ask(relay, question("a", 5), address("a")), Binding)


def test_nobody_takes_the_address_of_another_or_of_a_server() -> None:
    relay = relay_of("a", "b")
    hop = NextHop("two", Address("3ffe::1000", 5000))
    relay.install_next_hop(hop, frozenset())
    for counter, taken in ((1, address("b")), (11, hop.address)):
        challenge = ask(relay, question("a", counter), taken)
        assert isinstance(challenge, Binding)
        shown = ask(relay, question("a", counter + 1, challenge.token), taken)
        assert shown is DropReason.ADDRESS_IN_USE
        replayed = ask(relay, question("a", counter + 1, challenge.token), taken)
        assert replayed is DropReason.REPLAYED_BINDING
    assert (where(relay, "a"), where(relay, "b")) == (address("a"), address("b"))
    move(relay, "b", ELSEWHERE)
    move(relay, "a", address("b"), 21)


def test_who_is_there_from_an_earlier_epoch_makes_room_for_who_has_come_back() -> None:
    relay = relay_of("a", "b")
    relay.former = frozenset([ClientId(2)])
    move(relay, "a", address("b"))
    assert relay.member(ClientId(2)) is None
    relay.add_member(replace(member("d"), binding_key=KEYS["d"]))
    relay.former = frozenset([ClientId(4)])
    challenge = ask(relay, question("a", 9), address("d"))
    assert isinstance(challenge, Binding)
    shown = ask(relay, question("a", 10, challenge.token), address("d"))
    assert shown is DropReason.ADDRESS_IN_USE, "a client of another group"


def test_copies_go_to_the_new_address_from_the_next_datagram_on() -> None:
    relay = relay_of("a", "b", "c")
    pass_on(relay, "a", datagram(VPN, "aa"))
    for destination in ("*", "aa"):
        payload = datagram(VPN, "bb", destination)
        before = relay.receive_datagram(payload, address("b"), 0)
        assert address("a") in [to for to, *_ in before.destinations]
    move(relay, "a", ELSEWHERE)
    for destination in ("*", "aa"):
        after = relay.receive_datagram(datagram(VPN, "bb", destination), address("b"), 0)
        hosts = [to for to, *_ in after.destinations]
        assert ELSEWHERE in hosts
        assert address("a") not in hosts
        assert len(hosts) == (2 if destination == "*" else 1)
    assert pass_on(relay, "a", datagram(VPN, "aa")) == "unregistered_sender"
    known = relay.receive_datagram(datagram(VPN, "aa", "bb"), ELSEWHERE, 0)
    assert [to for to, *_ in known.destinations] == [address("b")]


@pytest.mark.parametrize("kind", [Relay, TaggedRelay])
def test_bindings_behind_each_other_are_looked_at_one_by_one(kind: type[Relay]) -> None:
    relay = relay_of("a", "b", kind=kind)
    asked = [question("a", 1), question("a", 1), question("a", 2), question("b", 1)]
    buffer = bytearray(b"".join(asked))
    runs = relay.receive_batch(buffer, slice(0, len(buffer)), LENGTH, address("a"), 0)
    assert [(run.stop - run.start) // LENGTH for run in runs] == [1, 1, 2]
    answers = [Binding.parse(payload) for payload, _ in relay.bindings.take_answers()]
    assert [(one.kind, one.client_id, one.counter) for one in answers] == [
        (Kind.BOUND, 1, 1),
        (Kind.BOUND, 1, 2),
        (Kind.CHALLENGE, 2, 1),
    ]
    assert relay.flows.totals().drops == {DropReason.REPLAYED_BINDING: 1}


def test_other_groups_decisions_stay() -> None:
    relay = relay_of("a", "b", "d", "e")
    pass_on(relay, "a", datagram(VPN))
    pass_on(relay, "d", datagram(1002))
    move(relay, "a", ELSEWHERE)
    assert [entry.vpn_id for _, entry in relay.flows.items()] == [1002]


def test_counts_go_with_the_client() -> None:
    relay = relay_of("a", "b")
    payload = datagram(VPN)
    pass_on(relay, "b", payload)
    move(relay, "a", ELSEWHERE)
    pass_on(relay, "b", payload)
    _, received = relay.flows.passed()
    assert received[ELSEWHERE].datagrams == 2
    assert address("a") not in received


def test_the_kernel_keeps_no_decision_that_names_the_old_address() -> None:
    relay = relay_of("a", "b", "c", "d", "e")
    _, memory = beside(relay)
    for name, vpn_id in (("a", VPN), ("b", VPN), ("d", 1002)):
        pass_on(relay, name, datagram(vpn_id))
    assert len(memory.flows) == 3
    move(relay, "a", ELSEWHERE)
    assert len(memory.flows) == len(memory.lists) == 1, "that of the other group"
    relay.receive_datagram(datagram(VPN), ELSEWHERE, 0)
    assert len(memory.flows) == 2


def test_a_client_that_has_not_shown_where_it_is_is_sent_nothing_until_it_has() -> None:
    relay = relay_of("a")
    for name in ("b", "c"):
        nowhere = Address(address("b").host, NO_PORT)
        relay.add_member(replace(member(name), address=nowhere, binding_key=KEYS[name]))
    assert len(relay.unicast_groups) == 3
    assert pass_on(relay, "a", datagram(VPN)) == "no_other_member"
    move(relay, "b", address("b"))
    assert pass_on(relay, "a", datagram(VPN)) == {"b"}
    relay.remove_member(ClientId(3))
    relay.remove_member(ClientId(2))
    assert len(relay.unicast_groups) == 1
