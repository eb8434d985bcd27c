"""Registration: all of it or nothing of it, whatever breaks off."""

from __future__ import annotations

import random
from collections.abc import Callable
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.management import GroupConfiguration, Management, UserRecord
from protocol.management import actions as act
from protocol.management.management import CONNECTIONS, REGISTRATION_TIME
from protocol.relay import Relay
from protocol.relay.tables import NO_PORT
from protocol.types import SECOND, Address, ClientId, Secret, VpnId
from protocol.wire.messages import (
    VERSION,
    ClientMessage,
    KeepAlive,
    Leave,
    Refused,
    Register,
    Registered,
    RekeyRequest,
)
from tests.world import apply_to_relay

VPN = VpnId(1001)


class Bench:
    """User VPN management and a relay, driven step by step."""

    def __init__(self, *users: str, hop_tags: bool = False, bindings: bool = True) -> None:
        self.management = Management(
            [GroupConfiguration(VPN, ip_address("ff1e::1"))],
            [UserRecord(user, VPN) for user in users],
            Address("3ffe::1000", 5000),
            random.Random(1).randbytes,
            hop_tags=hop_tags,
            bindings=bindings,
        )
        self.relay = Relay()
        self.now = SECOND

    def open(self, connection: int, host: str | None = None) -> None:
        self.management.connection_made(connection, host or f"3ffe::{connection:x}", self.now)

    def say(self, connection: int, message: ClientMessage) -> None:
        self.management.receive_message(connection, message, self.now)

    def check(self, connection: int, accepted: bool = True) -> None:
        self.management.credentials_checked(connection, accepted, self.now)

    def actions(self) -> list[act.Action]:
        """Takes all actions; the relay does its part."""
        taken = []
        while (action := self.management.next_action()) is not None:
            taken.append(action)
            if isinstance(action, (act.GroupChanged, act.MemberJoined, act.MemberLeft)):
                apply_to_relay(self.relay, action)
        return taken

    def register(self, connection: int, user: str, host: str | None = None) -> list[act.Action]:
        self.open(connection, host)
        self.say(connection, request(user))
        self.check(connection)
        return self.actions()

    def tables(self) -> tuple[object, ...]:
        """What stands in tables 507 and 508, here and at the relay, and which connections count."""
        management = self.management
        return (
            list(management.unicast_groups.rows()),
            [(vpn, sub, key.spi) for vpn, sub, key in management.multicast_addresses.rows()],
            list(self.relay.unicast_groups.rows()),
            [row for row in self.relay.multicast_addresses.rows() if row.spis],
            management.next_timeout(),
        )


def request(user: str, port: int = 5000, version: int = VERSION) -> Register:
    return Register(version, user, Secret(b"open"), VPN, port)


def replies(actions: list[act.Action], connection: int) -> list[str]:
    """The messages sent on a connection: a refusal's reason, or the message's type."""
    return [
        action.message.reason.value
        if isinstance(action.message, Refused)
        else type(action.message).__name__
        for action in actions
        if isinstance(action, act.SendMessage) and action.connection == connection
    ]


@pytest.mark.parametrize("members", [0, 1, 3])
@pytest.mark.parametrize("steps", range(5))
def test_a_registration_broken_off_anywhere_leaves_the_tables_as_they_were(
    members: int, steps: int
) -> None:
    bench = Bench("a", "b", "c", "d")
    for index in range(members):
        bench.register(index + 1, "abc"[index])
    before = bench.tables()
    course: list[Callable[[], object]] = [
        lambda: bench.open(99),
        lambda: bench.say(99, request("d")),
        bench.actions,
        lambda: bench.check(99),
    ]
    for step in course[:steps]:
        step()
    bench.management.connection_lost(99, bench.now)
    bench.actions()
    assert bench.tables() == before


messages = st.sampled_from(
    [
        request("d"),
        request("nobody"),
        request("d", version=9),
        request("d", port=1),
        KeepAlive(),
        Leave(),
        RekeyRequest(256),
    ]
)
events = st.one_of(messages, st.booleans(), st.just("actions"))


@given(st.lists(events, max_size=8), st.integers(0, 2))
def test_whatever_a_connection_says_nothing_of_it_is_left_when_it_is_lost(
    course: list[ClientMessage | bool | str], members: int
) -> None:
    bench = Bench("a", "b", "d")
    for index in range(members):
        bench.register(index + 1, "ab"[index])
    before = bench.tables()
    bench.open(99)
    for event in course:
        if isinstance(event, bool):
            bench.check(99, event)
        elif isinstance(event, str):
            bench.actions()
        else:
            bench.say(99, event)
    bench.management.connection_lost(99, bench.now)
    bench.actions()
    assert bench.tables() == before


def test_members_and_keys_go_with_the_last_client() -> None:
    bench = Bench("a", "b")
    bench.register(1, "a")
    bench.register(2, "b")
    bench.say(1, Leave())
    bench.actions()
    assert len(bench.relay.unicast_groups) == 1
    bench.say(2, Leave())
    bench.actions()
    assert list(bench.management.multicast_addresses.rows()) == []
    assert [row.spis for row in bench.relay.multicast_addresses.rows()] == [frozenset()]


def test_a_group_that_comes_back_has_another_key() -> None:
    bench = Bench("a")
    keys = []
    for connection in (1, 2):
        bench.register(connection, "a")
        keys += [key.key.reveal() for _, _, key in bench.management.multicast_addresses.rows()]
        bench.say(connection, Leave())
        bench.actions()
    assert len(set(keys)) == 2


def test_the_relay_is_told_of_a_member_before_the_member_is_told_of_the_relay() -> None:
    bench = Bench("a")
    kinds = [type(action).__name__ for action in bench.register(1, "a")]
    assert kinds == ["CheckCredentials", "GroupChanged", "MemberJoined", "SendMessage"]


def test_the_relay_is_never_told_a_key() -> None:
    bench = Bench("a")
    actions = bench.register(1, "a")
    (key,) = [key for _, _, key in bench.management.multicast_addresses.rows()]
    told = [repr(action) for action in actions if isinstance(action, act.GroupChanged)]
    told += [repr(vars(row)) for row in bench.relay.multicast_addresses.rows()]
    assert told
    assert not any(key.key.reveal().hex() in text or "secret" in text for text in told)


def registered_in(actions: list[act.Action]) -> Registered:
    (found,) = [
        action.message
        for action in actions
        if isinstance(action, act.SendMessage) and isinstance(action.message, Registered)
    ]
    return found


def test_with_hop_tags_each_registration_brings_a_key_that_the_relay_knows_too() -> None:
    bench = Bench("a", "b", hop_tags=True)
    first, second = (registered_in(bench.register(n, user)) for n, user in ((1, "a"), (2, "b")))
    again = registered_in(bench.register(3, "a"))
    keys = [message.hop_key.reveal() for message in (first, second, again) if message.hop_key]
    assert len(set(keys)) == 3
    known = [member.hop_keys[0] for _, row in bench.relay.unicast_groups.rows() for member in row]
    assert {key.reveal() for key in known if key} == set(keys[1:])
    assert not any(key.hex() in repr(bench.tables()) for key in keys)
    assert first.lan_mtu == registered_in(Bench("a").register(1, "a")).lan_mtu - 8


def test_without_hop_tags_nobody_gets_a_key() -> None:
    bench = Bench("a")
    assert registered_in(bench.register(1, "a")).hop_key is None


@pytest.mark.parametrize("message", [KeepAlive(), Leave(), RekeyRequest(256)])
def test_a_message_before_the_registration_is_refused(message: ClientMessage) -> None:
    bench = Bench("a")
    bench.open(1)
    bench.say(1, message)
    assert replies(bench.actions(), 1) == ["protocol"]


def test_a_message_while_the_password_is_checked_is_refused_and_the_answer_ignored() -> None:
    bench = Bench("a")
    bench.open(1)
    bench.say(1, request("a"))
    bench.say(1, request("a"))
    bench.check(1)
    assert replies(bench.actions(), 1) == ["protocol"]
    assert len(bench.management.unicast_groups) == 0


def test_a_second_registration_on_one_connection_is_refused() -> None:
    bench = Bench("a")
    bench.register(1, "a")
    bench.say(1, request("a"))
    assert replies(bench.actions(), 1) == ["protocol"]


def test_another_version_is_refused_before_the_password_is_looked_at() -> None:
    bench = Bench("a")
    bench.open(1)
    bench.say(1, request("a", version=VERSION + 1))
    actions = bench.actions()
    assert replies(actions, 1) == ["version"]
    assert not any(isinstance(action, act.CheckCredentials) for action in actions)


def test_by_the_named_port_alone_a_second_user_at_one_data_address_is_refused() -> None:
    bench = Bench("a", "b", bindings=False)
    bench.register(1, "a", host="3ffe::1")
    bench.register(2, "b", host="3ffe::2")
    before = bench.tables()[:4]
    actions = bench.register(3, "b", host="3ffe::1")
    assert replies(actions, 3) == ["address_in_use"]
    assert bench.tables()[:4] == before


def test_a_second_user_at_one_data_address_has_still_to_show_where_he_is() -> None:
    bench = Bench("a", "b")
    bench.register(1, "a", host="3ffe::1")
    assert replies(bench.register(2, "b", host="3ffe::1"), 2) == ["Registered"]
    assert [member.address for member in bench.relay.unicast_groups.members(VPN)] == [
        ("3ffe::1", 5000),
        ("3ffe::1", NO_PORT),
    ]
    place = Address("3ffe::1", 1024)
    bench.management.bound(ClientId(2), place)
    bench.management.bound(ClientId(1), place)
    assert [member.address for member in bench.management.unicast_groups.members(VPN)] == [
        ("3ffe::1", 5000),
        place,
    ]


def test_a_user_who_registers_again_from_his_place_is_where_he_had_shown_to_be() -> None:
    bench = Bench("a", hop_tags=True)
    bench.register(1, "a", host="3ffe::1")
    place = Address("3ffe::1", 1024)
    bench.management.bound(ClientId(1), place)
    (before,) = bench.management.unicast_groups.members(VPN)
    bench.register(2, "a", host="3ffe::1")
    (member,) = bench.management.unicast_groups.members(VPN)
    assert member.address == place
    assert member.hop_keys[1:] == before.hop_keys
    assert member.binding_key != before.binding_key
    bench.register(3, "a", host="3ffe::2")
    (member,) = bench.management.unicast_groups.members(VPN)
    assert member.address == ("3ffe::2", 5000)


def test_a_client_with_the_relays_own_data_address_is_refused() -> None:
    bench = Bench("a")
    before = bench.tables()[:4]
    actions = bench.register(1, "a", host="3ffe::1000")
    assert replies(actions, 1) == ["address_in_use"]
    assert bench.tables()[:4] == before


def test_a_user_may_register_again_from_its_own_address() -> None:
    bench = Bench("a", "b")
    bench.register(1, "a", host="3ffe::1")
    actions = bench.register(2, "a", host="3ffe::1")
    assert replies(actions, 1) == ["superseded"]
    assert replies(actions, 2) == ["Registered"]
    assert len(bench.relay.unicast_groups) == 1


def test_every_registration_has_a_client_id_and_a_sender_id_of_its_own() -> None:
    bench = Bench("a", "b")
    bench.register(100, "b")
    given_out = []
    for connection in range(1, 6):
        for action in bench.register(connection, "a"):
            if isinstance(action, act.SendMessage) and isinstance(action.message, Registered):
                association = action.message.security_association
                given_out.append((action.message.client_id, association.sender_id))
    assert given_out == [(2, 1), (3, 2), (4, 3), (5, 4), (6, 5)]


def test_a_connection_without_a_registration_ends_after_its_time() -> None:
    bench = Bench("a")
    bench.open(1)
    bench.management.handle_timeout(bench.now + REGISTRATION_TIME - 1)
    assert bench.actions() == []
    bench.management.handle_timeout(bench.now + REGISTRATION_TIME)
    assert bench.actions() == [act.CloseConnection(1)]


def test_a_silent_client_is_taken_out_and_one_that_speaks_is_not() -> None:
    bench = Bench("a", "b")
    bench.register(1, "a")
    bench.register(2, "b")
    bench.now += 20 * SECOND
    bench.say(2, KeepAlive())
    bench.actions()
    bench.management.handle_timeout(SECOND + 30 * SECOND)
    bench.actions()
    hosts = [member.address.host for member in bench.relay.unicast_groups.members(VPN)]
    assert hosts == ["3ffe::2"]


def test_too_many_connections_are_refused() -> None:
    bench = Bench("a")
    for connection in range(CONNECTIONS + 1):
        bench.open(connection)
    assert replies(bench.actions(), CONNECTIONS) == ["full"]
    assert bench.actions() == []


def test_a_group_address_of_another_family_than_the_relays_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="VPN 1001"):
        Management(
            [GroupConfiguration(VPN, ip_address("239.1.1.1"))],
            [],
            Address("3ffe::1000", 5000),
            random.Random(1).randbytes,
        )


def test_a_long_word_of_a_broken_message_is_cut_to_what_the_refusal_may_carry() -> None:
    bench = Bench("a")
    bench.open(1)
    bench.management.message_broken(1, "x" * 5000)
    (refusal, _) = bench.actions()
    assert isinstance(refusal, act.SendMessage)
    assert isinstance(refusal.message, Refused)
    assert len(refusal.message.detail) == 256


class TestChannelsWhoseUserIsKnown:
    def test_he_registers_without_a_password_check(self) -> None:
        bench = Bench("A")
        bench.management.connection_made(1, "3ffe::1", bench.now, "A")
        bench.say(1, Register(VERSION, "A", Secret(b""), VPN, 5000))
        taken = bench.actions()
        assert not any(isinstance(action, act.CheckCredentials) for action in taken)
        assert any(
            isinstance(action, act.SendMessage) and isinstance(action.message, Registered)
            for action in taken
        )

    @pytest.mark.parametrize("authenticated", ["B", "a", ""])
    def test_nobody_else_registers_by_it(self, authenticated: str) -> None:
        bench = Bench("A", "B")
        bench.management.connection_made(1, "3ffe::1", bench.now, authenticated)
        bench.say(1, request("A"))
        (refused, closed) = bench.actions()
        assert isinstance(refused, act.SendMessage)
        assert isinstance(refused.message, Refused)
        assert refused.message.reason == "credentials"
        assert closed == act.CloseConnection(1)

    def test_a_user_who_was_expelled_meanwhile_does_not_register(self) -> None:
        bench = Bench("B")
        bench.management.connection_made(1, "3ffe::1", bench.now, "A")
        bench.say(1, request("A"))
        (refused, _) = bench.actions()
        assert isinstance(refused, act.SendMessage)
        assert isinstance(refused.message, Refused)
