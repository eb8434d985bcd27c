"""The relay's decisions (Fig. 7-2), one by one."""

from __future__ import annotations

import pytest

from protocol.errors import DropReason
from protocol.learning import Learnt
from protocol.relay import Forward, Relay, RelayedGroup, Strip
from protocol.relay import flow_table as flow_table_module
from protocol.relay.upkeep import FLOW_IDLE_TIME, SWEEP_INTERVAL
from protocol.types import SECOND, Address, VpnId
from protocol.wire.ip import checksum
from tests.protocol.relay.datagrams import (
    GROUPS,
    address,
    datagram,
    member,
    pass_on,
    relay_with,
    station,
)

VPN, OTHER, IPV4_VPN = 1001, 1002, 1003


def test_a_broadcast_goes_to_all_of_the_group_but_the_sender() -> None:
    relay = relay_with("a", "b", "c", "d", "e")
    assert pass_on(relay, "a", datagram(VPN)) == {"b", "c"}
    assert pass_on(relay, "d", datagram(OTHER)) == {"e"}


def test_an_unknown_station_is_sought_everywhere_and_a_known_one_where_it_is() -> None:
    relay = relay_with("a", "b", "c")
    assert pass_on(relay, "a", datagram(VPN, "aa", "bb")) == {"b", "c"}
    assert pass_on(relay, "b", datagram(VPN, "bb", "aa")) == {"a"}
    assert pass_on(relay, "a", datagram(VPN, "aa", "bb")) == {"b"}


def test_a_datagram_never_goes_back_where_it_came_from() -> None:
    relay = relay_with("a", "b")
    pass_on(relay, "a", datagram(VPN, "aa"))
    assert pass_on(relay, "a", datagram(VPN, "ab", "aa")) == "hairpin"


def test_equal_stations_in_two_groups_are_two_stations() -> None:
    relay = relay_with("a", "b", "c", "d", "e")
    pass_on(relay, "b", datagram(VPN, "bb"))
    pass_on(relay, "e", datagram(OTHER, "bb"))
    assert pass_on(relay, "a", datagram(VPN, "aa", "bb")) == {"b"}
    assert pass_on(relay, "d", datagram(OTHER, "aa", "bb")) == {"e"}


@pytest.mark.parametrize("source", ["*", "m", "0"])
def test_a_group_or_zero_address_is_never_learnt(source: str) -> None:
    relay = relay_with("a", "b", "c")
    pass_on(relay, "b", datagram(VPN, source, "aa"))
    assert len(relay.mac_ip) == 0
    assert pass_on(relay, "a", datagram(VPN, "aa", source)) == {"b", "c"}


@pytest.mark.parametrize("destination", ["*", "m", "0"])
def test_a_group_or_zero_address_is_never_looked_up(destination: str) -> None:
    relay = relay_with("a", "b", "c")
    relay.mac_ip.learn((VpnId(VPN), station(destination)), member("b"), 0)
    assert pass_on(relay, "a", datagram(VPN, "aa", destination)) == {"b", "c"}


def test_a_header_without_stations_goes_to_all_and_teaches_nothing() -> None:
    relay = relay_with("a", "b", "c")
    assert pass_on(relay, "a", datagram(VPN, None)) == {"b", "c"}
    assert len(relay.mac_ip) == 0


def test_a_group_with_one_member_has_nowhere_to_send() -> None:
    assert pass_on(relay_with("a"), "a", datagram(VPN)) == "no_other_member"


@pytest.mark.parametrize(
    ("sender", "payload", "reason"),
    [
        ("c", datagram(VPN), "unregistered_sender"),
        ("a", datagram(OTHER), "foreign_group"),
        ("a", datagram(IPV4_VPN), "foreign_group"),
        ("a", datagram(VPN, spi=9999), "unknown_spi"),
        ("a", datagram(VPN, spi=4098), "unknown_spi"),
        ("a", datagram(VPN, flags=1), "unsupported_flags"),
        ("a", b"", "malformed_datagram"),
        ("a", datagram(VPN)[:-1], "malformed_datagram"),
        ("a", datagram(VPN) + b"\0", "malformed_datagram"),
        ("a", datagram(VPN)[16:], "malformed_datagram"),
        ("a", b"\x03" + datagram(VPN)[1:], "malformed_datagram"),
        ("a", datagram(VPN)[:2] + b"\x01" + datagram(VPN)[3:], "malformed_datagram"),
        ("a", datagram(VPN)[:16] + b"\x50" + datagram(VPN)[17:], "malformed_datagram"),
        ("a", datagram(VPN)[:22] + b"\x11" + datagram(VPN)[23:], "malformed_datagram"),
        ("a", datagram(VPN, length=19), "malformed_datagram"),
    ],
)
def test_what_must_not_pass_is_dropped_and_counted_by_its_reason(
    sender: str, payload: bytes, reason: str
) -> None:
    relay = relay_with("a", "b", "v")
    assert pass_on(relay, sender, payload) == reason
    totals = relay.flows.totals()
    assert totals.drops == {DropReason(reason): 1}
    assert (totals.datagrams_in, totals.octets_in, totals.copies_out) == (1, len(payload), 0)
    assert (len(relay.flows), len(relay.mac_ip)) == (0, 0)


def test_an_address_that_no_group_has_is_of_an_unknown_group() -> None:
    relay = relay_with("a", "b")
    relay.remove_group(VpnId(VPN))
    assert pass_on(relay, "a", datagram(VPN)) == "unknown_group"


@pytest.mark.parametrize(("place", "value"), [(16, 0x46), (22, 0x20), (23, 1), (25, 17)])
def test_an_ipv4_header_with_options_or_of_a_fragment_is_malformed(place: int, value: int) -> None:
    relay = relay_with("v", "w")
    payload = bytearray(datagram(IPV4_VPN))
    payload[place] = value
    payload[26:28] = bytes(2)
    payload[26:28] = checksum(bytes(payload[16:36])).to_bytes(2, "big")
    assert pass_on(relay, "v", bytes(payload)) == "malformed_datagram"


def test_an_ipv4_group_is_served_as_well() -> None:
    relay = relay_with("v", "w")
    assert pass_on(relay, "v", datagram(IPV4_VPN)) == {"w"}
    assert pass_on(relay, "w", datagram(IPV4_VPN, None)) == {"v"}


def test_a_registered_host_with_another_port_is_not_registered() -> None:
    relay = relay_with("a", "b")
    verdict = relay.receive_datagram(datagram(VPN), Address(address("a").host, 5001), 0)
    assert getattr(verdict, "reason", None) is DropReason.UNREGISTERED_SENDER


@pytest.mark.parametrize(
    ("strip", "source", "expected"),
    [
        (Strip.KEEP, "aa", 0),
        (Strip.KEEP, None, 0),
        (Strip.PATENT, "aa", 16),
        (Strip.PATENT, None, 4),
    ],
)
def test_strip_says_from_which_octet_on_the_payload_is_sent(
    strip: Strip, source: str | None, expected: int
) -> None:
    relay = relay_with("a", "b", "c", strip=strip)
    verdict = relay.receive_datagram(datagram(VPN, source), address("a"), 0)
    assert isinstance(verdict, Forward)
    assert {strip for _, strip, _ in verdict.destinations} == {expected}
    totals = relay.flows.totals()
    assert totals.octets_out == 2 * (totals.octets_in - expected)


# -- where stations are


def test_the_newest_place_of_a_station_wins_after_the_hold_down() -> None:
    relay = relay_with("a", "b", "c")
    pass_on(relay, "b", datagram(VPN, "bb"), 0)
    pass_on(relay, "c", datagram(VPN, "bb"), SECOND - 1)
    assert pass_on(relay, "a", datagram(VPN, "aa", "bb"), SECOND - 1) == {"b"}
    assert relay.stations.not_learnt[Learnt.HELD_DOWN] == 1
    pass_on(relay, "c", datagram(VPN, "bb", "a1"), SECOND)
    assert pass_on(relay, "a", datagram(VPN, "aa", "bb"), SECOND) == {"c"}


def test_a_move_that_was_held_down_is_learnt_from_the_same_flow_later() -> None:
    relay = relay_with("a", "b", "c")
    pass_on(relay, "b", datagram(VPN, "bb"), 0)
    pass_on(relay, "c", datagram(VPN, "bb"), SECOND // 2)
    due = relay.next_timeout()
    assert due == SECOND // 2 + SECOND
    relay.handle_timeout(due)
    pass_on(relay, "c", datagram(VPN, "bb"), due)
    assert pass_on(relay, "a", datagram(VPN, "aa", "bb"), due) == {"c"}


def run_timers(now: int, end: int, relay: Relay) -> None:
    """Has every timer go off at its own time."""
    while (due := relay.next_timeout()) is not None and due <= end:
        relay.handle_timeout(max(due, now))


def test_a_station_that_is_silent_for_its_lifetime_is_forgotten() -> None:
    relay = relay_with("a", "b", "c", mac_lifetime=30 * SECOND)
    pass_on(relay, "b", datagram(VPN, "bb"), 0)
    run_timers(0, 29 * SECOND, relay)
    assert pass_on(relay, "a", datagram(VPN, "aa", "bb"), 29 * SECOND) == {"b"}
    run_timers(29 * SECOND, 36 * SECOND, relay)
    assert pass_on(relay, "a", datagram(VPN, "aa", "bb"), 36 * SECOND) == {"b", "c"}


def test_a_lookup_after_the_lifetime_hides_nothing_from_the_flows_in_force() -> None:
    relay = relay_with("a", "b", "c", mac_lifetime=32 * SECOND)
    pass_on(relay, "b", datagram(VPN, "bb"), 0)
    pass_on(relay, "a", datagram(VPN, "aa", "bb"), SECOND)
    run_timers(SECOND, 36 * SECOND, relay)
    pass_on(relay, "c", datagram(VPN, "cc", "bb"), 37 * SECOND)
    run_timers(37 * SECOND, 42 * SECOND, relay)
    assert pass_on(relay, "a", datagram(VPN, "aa", "bb"), 42 * SECOND) == {"b", "c"}


def test_a_station_that_goes_on_sending_is_not_forgotten() -> None:
    relay = relay_with("a", "b", "c", mac_lifetime=30 * SECOND)
    pass_on(relay, "b", datagram(VPN, "bb"), 0)
    for second in range(4, 200, 4):
        run_timers(0, second * SECOND, relay)
        assert pass_on(relay, "a", datagram(VPN, "aa", "bb"), second * SECOND) == {"b"}
        pass_on(relay, "b", datagram(VPN, "bb"), second * SECOND)


def test_a_client_may_have_so_many_stations_and_no_more() -> None:
    relay = relay_with("a", "b", "c")
    relay.mac_ip.capacity = 2
    for name in ("b1", "b2", "b3"):
        pass_on(relay, "b", datagram(VPN, name))
    pass_on(relay, "c", datagram(VPN, "c1"))
    assert [
        pass_on(relay, "a", datagram(VPN, "aa", name)) for name in ("b1", "b2", "b3", "c1")
    ] == [
        {"b"},
        {"b"},
        {"b", "c"},
        {"c"},
    ]
    assert relay.stations.not_learnt[Learnt.FULL] == 1


def test_a_client_that_leaves_takes_its_stations_and_its_flows_along() -> None:
    relay = relay_with("a", "b", "c")
    pass_on(relay, "b", datagram(VPN, "bb"))
    assert pass_on(relay, "a", datagram(VPN, "aa", "bb")) == {"b"}
    relay.remove_member(member("b").client_id)
    assert pass_on(relay, "a", datagram(VPN, "aa", "bb")) == {"c"}
    assert pass_on(relay, "b", datagram(VPN, "bb")) == "unregistered_sender"
    assert [key[1] for key, _, _ in relay.mac_ip.rows(0)] == [station("aa")]


def test_a_member_that_is_known_already_is_our_own_mistake_and_changes_nothing() -> None:
    relay = relay_with("a", "b")
    with pytest.raises(ValueError, match="client 1"):
        relay.add_member(member("a"))
    assert pass_on(relay, "a", datagram(VPN)) == {"b"}


def test_a_group_address_that_another_group_has_is_our_own_mistake() -> None:
    relay = relay_with("a")
    taken = next(row for row in relay.multicast_addresses.rows() if row.vpn_id == VPN)
    with pytest.raises(ValueError, match="belongs to VPN 1001"):
        relay.install_group(RelayedGroup(VpnId(7), taken.multicast_address, frozenset()))


# -- decisions in force


def keys_in_force(relay: Relay, name: str) -> int:
    return sum(key[0] == address(name) for key, _ in relay.flows.items())


def test_a_further_datagram_of_a_flow_needs_no_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    relay = relay_with("a", "b")
    assert pass_on(relay, "a", datagram(VPN)) == {"b"}
    monkeypatch.delattr("protocol.relay.decider.Decider.forward")
    assert pass_on(relay, "a", datagram(VPN, length=500)) == {"b"}
    assert relay.flows.totals().copies_out == 2


def test_what_leaves_something_to_do_is_news_once_and_a_further_datagram_of_a_flow_is_none() -> (
    None
):
    relay = relay_with("a", "b")
    assert not relay.take_news()
    for source in ("01", "02"):
        pass_on(relay, "a", datagram(VPN, source))
        assert relay.next_timeout() is not None
        assert relay.take_news()
        pass_on(relay, "a", datagram(VPN, source))
        assert not relay.take_news()


def test_a_change_in_one_group_leaves_the_other_groups_flows_in_force() -> None:
    relay = relay_with("a", "b", "d", "e")
    pass_on(relay, "a", datagram(VPN))
    pass_on(relay, "d", datagram(OTHER))
    in_force = [entry for _, entry in relay.flows.items() if entry.sender == member("d")]
    relay.add_member(member("c"))
    relay.remove_member(member("b").client_id)
    pass_on(relay, "c", datagram(VPN, "cc"))
    relay.install_group(
        RelayedGroup(
            VpnId(VPN),
            next(iter(relay.multicast_addresses.rows())).multicast_address,
            frozenset([GROUPS[VpnId(VPN)][1], 5000]),
        )
    )
    assert [entry for _, entry in relay.flows.items()] == in_force
    assert keys_in_force(relay, "a") == 0


def test_a_withdrawn_spi_takes_effect_at_once() -> None:
    relay = relay_with("a", "b")
    (group,) = [row for row in relay.multicast_addresses.rows() if row.vpn_id == VPN]
    assert pass_on(relay, "a", datagram(VPN)) == {"b"}
    relay.install_group(RelayedGroup(group.vpn_id, group.multicast_address, frozenset([5000])))
    assert pass_on(relay, "a", datagram(VPN)) == "unknown_spi"
    assert pass_on(relay, "a", datagram(VPN, spi=5000)) == {"b"}


def test_flows_are_capped_for_each_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_table_module, "FLOWS_PER_CLIENT", 3)
    relay = relay_with("a", "b", "c")
    pass_on(relay, "b", datagram(VPN, "bb"))
    for destination in ("b0", "b1", "b2", "b3", "b4", "b5"):
        pass_on(relay, "a", datagram(VPN, "aa", destination))
    assert (keys_in_force(relay, "a"), keys_in_force(relay, "b")) == (3, 0)
    pass_on(relay, "b", datagram(VPN, "bb"))
    assert (keys_in_force(relay, "a"), keys_in_force(relay, "b")) == (3, 1)
    assert relay.flows.totals().datagrams_in == 8


@pytest.mark.parametrize("source", ["aa", None, "0", "m"])
def test_an_idle_flow_is_forgotten_and_its_counters_are_not(source: str | None) -> None:
    relay = relay_with("a", "b", mac_lifetime=10 * SECOND)
    pass_on(relay, "a", datagram(VPN, source))
    run_timers(0, FLOW_IDLE_TIME + 3 * SWEEP_INTERVAL, relay)
    assert len(relay.flows) == 0
    assert relay.flows.totals().datagrams_in == 1
    assert relay.next_timeout() is None


def test_senders_that_are_not_registered_fill_no_table() -> None:
    relay = relay_with("a", "b")
    for number in range(500):
        relay.receive_datagram(datagram(VPN), Address("3ffe::bad", number), 0)
        pass_on(relay, "a", datagram(VPN, f"{number % 256:02x}", spi=number))
    assert (len(relay.flows), len(relay.mac_ip)) == (0, 0)
    assert relay.flows.totals().datagrams_in == 1000
