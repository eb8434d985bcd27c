"""The networks of the catalog are what the patent's figures show."""

from __future__ import annotations

import json
from typing import Any

import pytest

from topologies.branches import with_room_for_hop_tags
from topologies.catalog import CATALOG, single, subgroups, user_of
from topologies.plan import Kind, Plan, PlanError, Role


def _lan_addresses(plan: Plan, client: str) -> list[tuple[object, ...]]:
    return [
        (interface.mac, *interface.addresses)
        for terminal in plan.terminals_of(client)
        for interface in plan.interfaces(terminal.name)
    ]


def test_single_has_the_addresses_of_the_patent() -> None:
    plan = single()
    addresses = [str(plan.data_address(name)) for name in ("server", "c1", "c2", "c3")]
    assert addresses == ["3ffe::1000", "3ffe:aaaa::1", "3ffe:bbbb::1", "3ffe:cccc::1"]
    assert str(plan.group(1001).multicast_address) == "ff1e::1"
    assert str(plan.group(1002).multicast_address) == "ff1e::2"


def test_single_has_the_users_and_groups_of_the_patent() -> None:
    plan = single()
    members = [(client.user, client.vpn_id) for client in plan.clients()]
    assert members == [("A", 1001), ("B", 1001), ("C", 1001), ("D", 1002), ("E", 1002)]


def test_single_names_nodes_and_interfaces_after_their_place() -> None:
    plan = single()
    assert [node.name for node in plan.terminals(1001)] == [
        "t1a",
        "t1b",
        "t2a",
        "t2b",
        "t3a",
        "t3b",
    ]
    assert [item.name for item in plan.interfaces("c1")] == ["c1-out", "c1-lan"]
    assert [item.name for item in plan.interfaces("t1a")] == ["t1a-eth0"]
    assert [node.name for node in plan.with_role(Role.LAN)] == ["l1", "l2", "l3", "l4", "l5"]


def test_a_terminals_mac_tells_its_lan_and_its_number() -> None:
    plan = single(clients=7)
    macs = [plan.lan_interface(name).mac for name in ("t1a", "t2b", "t7a")]
    assert macs == ["02:00:00:00:aa:01", "02:00:00:00:bb:02", "02:00:00:00:07:01"]


def test_the_second_group_repeats_macs_and_addresses_of_the_first() -> None:
    plan = single()
    assert _lan_addresses(plan, "c4") == _lan_addresses(plan, "c1")
    assert _lan_addresses(plan, "c5") == _lan_addresses(plan, "c2")
    assert _lan_addresses(plan, "c1") != _lan_addresses(plan, "c2")


def test_the_second_group_can_be_left_out() -> None:
    plan = single(second_group=0)
    assert [group.vpn_id for group in plan.groups] == [1001]
    assert len(plan.clients()) == 3


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("clients", [2, 3, 6, 7, 64])
def test_addresses_are_unique_where_frames_or_packets_can_meet(family: int, clients: int) -> None:
    plan = single(clients=clients, terminals=3, family=family)
    outside = [
        address.ip
        for node in plan.nodes
        for interface in plan.interfaces(node.name, Kind.OUTSIDE)
        for address in interface.addresses
    ]
    assert len(outside) == 2 * (clients + 2 + 1)
    assert len(set(outside)) == len(outside)
    assert {address.version for address in outside} == {family}
    for group in plan.groups:
        ends = [plan.lan_interface(node.name) for node in plan.terminals(group.vpn_id)]
        macs = [end.mac for end in ends]
        addresses = [address.ip for end in ends for address in end.addresses]
        assert len(set(macs)) == len(macs)
        assert len(set(addresses)) == len(addresses)


def test_the_lan_mtu_leaves_room_for_sealing() -> None:
    for family, mtu in ((6, 1346), (4, 1386)):
        plan = single(family=family)
        inside = {i.mtu for node in plan.nodes for i in plan.interfaces(node.name, Kind.LAN)}
        outside = {i.mtu for node in plan.nodes for i in plan.interfaces(node.name, Kind.OUTSIDE)}
        assert (inside, outside) == ({mtu}, {1500})
    assert single(lan_mtu=1400).lan_interface("t1a").mtu == 1400


@pytest.mark.parametrize("topo", ["single", "subgroups", "multiserver", "cascade"])
@pytest.mark.parametrize(("family", "expected"), [(6, 1338), (4, 1378)])
def test_a_hop_tag_makes_the_lans_smaller_and_changes_nothing_else(
    topo: str, family: int, expected: int
) -> None:
    plan = CATALOG[topo](family=family)
    smaller = with_room_for_hop_tags(plan)
    found = {smaller.lan_interface(node.name).mtu for node in smaller.terminals()}
    assert found == {expected}
    mtu = plan.lan_interface("t1a").mtu
    restored = json.dumps(smaller.to_json()).replace(f'"mtu": {expected}', f'"mtu": {mtu}')
    assert json.loads(restored) == json.loads(json.dumps(plan.to_json()))


def test_ipv4_addresses_are_those_for_benchmarks() -> None:
    plan = single(family=4)
    assert str(plan.data_address("server")) == "198.18.0.100"
    assert str(plan.data_address("c3")) == "198.18.3.1"
    assert str(plan.group(1001).multicast_address) == "239.192.0.1"


def test_every_machine_of_the_system_has_its_command_line() -> None:
    plan = single()
    server = plan.command("server", python="python3", run="/run/x")
    assert server == ("python3", "-m", "nodes.server", "--config", "/run/x/server.toml")
    assert plan.command("c1", python="p", run="r")[2:] == ("nodes.client", "--config", "r/c1.toml")
    assert plan.command("t1a", python="p", run="r") == ()


def test_every_plan_has_deterministic_json() -> None:
    for make in CATALOG.values():
        first, second = make(), make()
        assert json.dumps(first.to_json()) == json.dumps(second.to_json())
        assert first == second
    assert single() != single(clients=4)


def test_subgroups_is_single_with_the_third_client_in_sub_id_2() -> None:
    plan = subgroups()
    members = [(client.user, client.vpn_id, client.sub_id) for client in plan.clients()]
    first = [("A", 1001, 1), ("B", 1001, 1), ("C", 1001, 2), ("D", 1001, 1)]
    assert members == [*first, ("E", 1002, 1), ("F", 1002, 1)]
    assert plan.embodiment == 2
    assert plan.sub_id_of("t3a") == 2
    assert plan.sub_id_of("t4b") == 1
    like = single(clients=4)
    assert plan.links == like.links
    assert [node.name for node in plan.nodes] == [node.name for node in like.nodes]
    assert plan.groups == like.groups


@pytest.mark.parametrize("clients", [3, 1001])
def test_subgroups_wants_one_who_moves_one_who_is_expelled_and_two_who_stay(clients: int) -> None:
    with pytest.raises(PlanError, match=f"subgroups: clients: expected 4 to 1000, got {clients}"):
        subgroups(clients=clients)


def test_users_are_lettered_like_columns() -> None:
    assert [user_of(number) for number in (1, 26, 27, 52, 53)] == ["A", "Z", "AA", "AZ", "BA"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"clients": 1}, "clients: expected 2 to 1000, got 1"),
        ({"clients": 1001}, "clients: expected 2 to 1000, got 1001"),
        ({"clients": "3"}, "clients: expected 2 to 1000, got '3'"),
        ({"terminals": 0}, "terminals: expected 1 to 26, got 0"),
        ({"family": 5}, "family: expected 4 or 6, got 5"),
        ({"second_group": 4}, "second_group: expected 0 to 3, got 4"),
        ({"lan_mtu": 1279}, "lan_mtu: expected 1280 to 9000, got 1279"),
    ],
)
def test_a_parameter_out_of_range_is_named(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        single(**parameters)


@pytest.mark.parametrize("family", [4, 6])
def test_a_thousand_clients_have_addresses_of_their_own(family: int) -> None:
    """A Plan refuses an address that two have; the last terminals are on the first one's subnet."""
    plan = single(clients=1000, terminals=1, family=family, second_group=0)
    first, last = (plan.lan_interface(name).addresses for name in ("t1a", "t1000a"))
    assert [one.network for one in first] == [one.network for one in last]


def test_a_small_group_has_the_addresses_that_it_always_had() -> None:
    plan = single(clients=64, terminals=1)
    found = plan.lan_interface("t64a")
    assert [str(one) for one in found.addresses] == ["10.0.0.64/24", "fd00::40/64"]
    assert found.mac == "02:00:00:00:64:01"
