"""The kernel plane's book-keeping, with a program that exists in memory only."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

import pytest

from nodes.kernel import layout
from nodes.kernel.library import KernelPlaneError
from nodes.kernel.plane import KernelPlane, open_kernel_plane
from protocol.relay import Relay, RelayedGroup, Strip
from protocol.relay import flow_table as flow_table_module
from protocol.relay.upkeep import FLOW_IDLE_TIME, SWEEP_INTERVAL
from protocol.types import SECOND, IpAddress, VpnId
from tests.protocol.relay.datagrams import GROUPS, address, datagram, member, pass_on, relay_with

VPN, IPV4_VPN = 1001, 1003
LENGTH = len(datagram(VPN))


class Memory:
    """Stands for the program: what it was told, and counters that a test sets."""

    def __init__(self, room: int = 100) -> None:
        self.version = 6
        self.room = room
        self.flows: dict[bytes, tuple[int, int]] = {}
        self.lists: dict[int, bytes] = {}
        self.slots: dict[int, tuple[int, int]] = {}
        self.renewed = 0
        self.events: list[str] = []

    def put_flow(self, key: bytes, list_number: int, slot: int, hop_key: bytes) -> bool:
        assert len(key) == layout.KEY_LENGTH
        assert list_number in self.lists
        assert hop_key == b""
        if len(self.flows) >= self.room:
            return False
        self.flows[key] = (list_number, slot)
        return True

    def remove_flow(self, key: bytes) -> None:
        del self.flows[key]

    def put_list(self, number: int, destinations: bytes) -> bool:
        assert len(destinations) == layout.LIST_LENGTH
        assert number not in self.lists
        self.lists[number] = destinations
        return True

    def remove_list(self, number: int) -> None:
        assert all(number != list_number for list_number, _ in self.flows.values())
        del self.lists[number]

    def passed(self, slot: int) -> tuple[int, int]:
        return self.slots.get(slot, (0, 0))

    def passed_up(self) -> int:
        return 0

    def renew(self, lease: int) -> None:
        assert lease > SWEEP_INTERVAL
        self.renewed += 1

    def detach(self) -> None:
        self.events.append("detach")

    def close(self) -> None:
        self.events.append("close")

    def carry(self, packets: int) -> None:
        """Counts so many packets more in every flow."""
        for _, slot in self.flows.values():
            before = self.passed(slot)
            self.slots[slot] = before[0] + packets, before[1] + packets * LENGTH


def beside(relay: Relay, room: int = 100) -> tuple[KernelPlane, Memory]:
    """Returns a plane beside a relay, and its program."""
    memory = Memory(room)
    return KernelPlane(relay, memory), memory


def test_a_decided_flow_is_copied_and_counted_where_it_passes() -> None:
    relay = relay_with("a", "b", "c")
    kernel, memory = beside(relay)
    pass_on(relay, "a", datagram(VPN))
    assert kernel.counters().flows == len(memory.flows) == 1
    memory.carry(10)
    totals = relay.flows.totals()
    assert (totals.datagrams_in, totals.octets_in) == (11, 11 * LENGTH)
    assert (totals.copies_out, totals.octets_out) == (22, 22 * LENGTH)
    assert relay.flows.totals() == totals


def test_decisions_that_were_in_force_before_are_copied_too() -> None:
    relay = relay_with("a", "b")
    pass_on(relay, "a", datagram(VPN))
    assert beside(relay)[0].counters().flows == 1


def test_what_ends_a_decision_takes_it_out_of_the_kernel_at_once_and_loses_no_count() -> None:
    relay = relay_with("a", "b", "c", "d", "e")
    _, memory = beside(relay)
    pass_on(relay, "d", datagram(1002))
    others = set(memory.flows)
    changes: list[Callable[[], None]] = [
        lambda: relay.remove_member(member("c").client_id),
        lambda: relay.add_member(member("c")),
        lambda: relay.install_group(
            RelayedGroup(VpnId(VPN), group_address(relay), frozenset([GROUPS[VpnId(VPN)][1], 7]))
        ),
    ]
    for change in changes:
        pass_on(relay, "a", datagram(VPN))
        memory.carry(5)
        assert len(memory.flows) == 2
        change()
        assert set(memory.flows) == others
    assert relay.flows.totals().datagrams_in == 4 + 3 * 5 * 2
    assert len(memory.lists) == 1


def group_address(relay: Relay) -> IpAddress:
    return next(
        row for row in relay.multicast_addresses.rows() if row.vpn_id == VPN
    ).multicast_address


def test_what_was_under_way_while_a_flow_was_forgotten_is_counted_later() -> None:
    relay = relay_with("a", "b", "c")
    _, memory = beside(relay)
    pass_on(relay, "a", datagram(VPN))
    ((_, slot),) = memory.flows.values()
    relay.remove_member(member("c").client_id)
    memory.slots[slot] = 1, LENGTH
    totals = relay.flows.totals()
    assert (totals.datagrams_in, totals.copies_out) == (2, 4)
    assert relay.flows.totals() == totals


def test_flows_to_the_same_clients_share_a_list_and_no_number_comes_twice() -> None:
    relay = relay_with("a", "b", "c")
    _, memory = beside(relay)
    for source in ("a0", "a1", "a2"):
        pass_on(relay, "a", datagram(VPN, source, "bb"))
    assert len({number for number, _ in memory.flows.values()}) == len(memory.lists) == 1
    first = set(memory.lists)
    relay.add_member(member("d"))
    relay.remove_member(member("c").client_id)
    assert memory.lists == {}
    pass_on(relay, "a", datagram(VPN, "a0"))
    assert set(memory.lists).isdisjoint(first)


def test_a_station_lives_on_while_its_flow_passes_the_kernel_alone() -> None:
    relay = relay_with("a", "b", "c", mac_lifetime=30 * SECOND)
    _, memory = beside(relay)
    pass_on(relay, "b", datagram(VPN, "bb"), 0)
    for second in range(5, 120, 5):
        memory.carry(1)
        relay.handle_timeout(second * SECOND)
    assert pass_on(relay, "a", datagram(VPN, "aa", "bb"), 120 * SECOND) == {"b"}
    for second in range(125, 125 + FLOW_IDLE_TIME // SECOND + 40, 5):
        relay.handle_timeout(second * SECOND)
    assert (memory.flows, len(relay.mac_ip)) == ({}, 0)


def test_each_sweep_renews_the_lease() -> None:
    relay = relay_with("a", "b")
    _, memory = beside(relay)
    pass_on(relay, "a", datagram(VPN))
    renewed = memory.renewed
    assert renewed
    relay.handle_timeout(SWEEP_INTERVAL)
    assert memory.renewed > renewed


def test_what_the_program_cannot_do_stays_with_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    relay = relay_with("a", "b", "v", "w")
    kernel, _ = beside(relay, room=1)
    pass_on(relay, "a", datagram(VPN, None))
    pass_on(relay, "v", datagram(IPV4_VPN))
    assert kernel.counters().flows == 0
    monkeypatch.setattr(layout, "MAXIMUM_DESTINATIONS", 0)
    pass_on(relay, "a", datagram(VPN))
    assert kernel.counters().flows == 0
    monkeypatch.undo()
    pass_on(relay, "b", datagram(VPN))
    pass_on(relay, "b", datagram(VPN, "bb", "aa"))
    assert kernel.counters().flows == 1
    assert relay.flows.totals().datagrams_in == 5


def test_the_oldest_flow_of_a_client_leaves_the_kernel_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_table_module, "FLOWS_PER_CLIENT", 3)
    relay = relay_with("a", "b")
    _, memory = beside(relay)
    for destination in ("b0", "b1", "b2", "b3", "b4"):
        pass_on(relay, "a", datagram(VPN, "aa", destination))
    assert len(memory.flows) == 3


def test_the_end_reads_the_counters_once_more_after_the_program_is_off() -> None:
    relay = relay_with("a", "b")
    kernel, memory = beside(relay)
    pass_on(relay, "a", datagram(VPN))
    memory.carry(3)
    kernel.close()
    assert memory.events == ["detach", "close"]
    assert relay.flows.totals().datagrams_in == 4
    pass_on(relay, "b", datagram(VPN))
    assert len(memory.flows) == 1


def test_a_relay_that_strips_headers_is_refused() -> None:
    relay = relay_with("a", strip=Strip.PATENT)
    with pytest.raises(KernelPlaneError, match="strip"):
        open_kernel_plane(relay, ip_address(address("a").host), 4790)
