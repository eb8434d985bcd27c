"""NATs in a world: what they translate, and what holds of the protocol behind them (hole 18)."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from protocol.client.binding import INTERVAL
from protocol.errors import DropReason
from protocol.types import SECOND
from protocol.wire.messages import RefusalReason
from simulator.nat import LIFETIME, Nat, Ports
from simulator.packets import UDP, Packet
from simulator.world import World, WorldSettings
from tests.simulator.worlds import arrivals, frame
from topologies.branches import (
    OUTSIDE_MTU,
    assemble,
    command,
    members_of,
    outside_link,
    trunk,
)
from topologies.parts import Node, Role
from topologies.plan import Plan
from topologies.sites import relay_link, router_link

OUTSIDE = ip_address("198.51.100.1")
INNER, OTHER = ip_address("10.0.0.1"), ip_address("10.0.0.2")
SERVER, STRANGER = ip_address("192.0.2.1"), ip_address("192.0.2.2")
PORT = 4790


def sent(source: object = INNER, destination: object = SERVER, port: int = PORT) -> Packet:
    return Packet(source, destination, UDP, b"payload", (port, PORT))  # type: ignore[arg-type]


def answer(packet: Packet) -> Packet:
    return Packet(packet.destination, packet.source, UDP, b"answer", packet.ports[::-1])


def nat(ports: Ports = "preserve", *, filters: bool = True) -> Nat:
    return Nat("outside", OUTSIDE, ports, filters=filters)


@pytest.mark.parametrize(("ports", "kept"), [("preserve", True), ("change", False)])
def test_a_datagram_leaves_with_the_outside_address_and_its_answer_comes_back(
    ports: Ports, kept: bool
) -> None:
    box = nat(ports)
    out = box.out(sent(), 0)
    assert out is not None
    assert out.source == OUTSIDE
    assert (out.ports[0] == PORT) is kept
    back = box.back(answer(out), 1)
    assert back is not None
    assert (back.destination, back.ports[1]) == (INNER, PORT)


def test_a_port_that_another_has_is_changed_and_a_mapping_is_the_same_to_everybody() -> None:
    box = nat()
    first, second = box.out(sent(), 0), box.out(sent(OTHER), 0)
    assert first is not None
    assert second is not None
    assert first.ports[0] == PORT != second.ports[0]
    again = box.out(sent(OTHER, STRANGER), 1)
    assert again is not None
    assert again.ports[0] == second.ports[0]


def test_a_stranger_comes_in_only_where_nothing_is_filtered() -> None:
    for filters in (True, False):
        box = nat(filters=filters)
        out = box.out(sent(), 0)
        assert out is not None
        strange = answer(out)._replace(source=STRANGER)
        assert (box.back(strange, 1) is None) is filters
        assert box.counts["filtered"] == int(filters)


def test_a_silent_mapping_ends_and_its_port_is_free_again() -> None:
    box = nat()
    out = box.out(sent(), 0)
    assert out is not None
    assert box.back(answer(out), LIFETIME - 1) is not None
    assert box.back(answer(out), LIFETIME) is None
    assert box.counts["unknown_port"] == 1
    other = box.out(sent(OTHER), LIFETIME)
    assert other is not None
    assert other.ports[0] == PORT


def test_a_box_that_starts_again_knows_nobody() -> None:
    box = nat()
    out = box.out(sent(), 0)
    assert out is not None
    box.restart()
    assert box.back(answer(out), 1) is None


def test_only_datagrams_are_translated() -> None:
    box = nat()
    assert box.out(sent()._replace(protocol=50), 0) is None
    assert box.counts["protocol"] == 1


def test_ports_that_are_all_taken_are_taken_from_who_was_silent_longest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("simulator.nat.LAST_PORT", 1_025)
    box = nat("change")
    got = [box.out(sent(port=5_000 + number), number) for number in range(3)]
    assert [one.ports[0] for one in got if one is not None] == [1_024, 1_025, 1_024]
    assert box.back(answer(got[2]), 4) == answer(got[2])._replace(  # type: ignore[arg-type]
        destination=INNER, ports=(PORT, 5_002)
    )


# -- the protocol behind one: c1 and c3 are at home behind it, c2 and c4 are not


def plan_with_nat(clients: int = 4) -> Plan:
    nodes, links = trunk(6)
    nodes.append(Node("nat", Role.ROUTER))
    links.append(
        outside_link("nat", "nat-out", "internet", "3ffe:0:0:99::2/64", "3ffe:0:0:99::1/64")
    )
    assert links[-1].interfaces[0].mtu == OUTSIDE_MTU
    members = members_of("home", clients, 1, 0, 1346)
    return assemble("home", 1, (nodes, links), members, 6, 1346, ("nat", "internet"))


def behind(
    ports: Ports,
    lifetime: int = LIFETIME,
    data_ports: dict[str, int] | None = None,
    *,
    literal: bool = False,
) -> World:
    """Starts a world with a NAT; time passes until everybody who can is in the group.

    With ``literal`` clients do not show where they are.
    """
    settings = WorldSettings(data_ports=data_ports or {}, bindings=not literal)
    world = World(plan_with_nat(), 1, settings)
    world.network.translate("nat", "internet", ports, lifetime, filters=True)
    world.start()
    world.run(5)
    return world


def came_to(world: World, source: str) -> set[str]:
    octets = frame(world.plan, source, payload=str(world.engine.now).encode())
    world.send(source, octets)
    world.run(1)
    return set(arrivals(world, octets))


TERMINALS = {"t1a", "t2a", "t3a", "t4a"}


def expect_all_to_hear_all(world: World) -> None:
    """Expects a broadcast of each terminal at every other."""
    for source in sorted(TERMINALS):
        assert came_to(world, source) == TERMINALS - {source}, source


def box_of(world: World) -> Nat:
    box = world.network.nodes["nat"].nat
    assert box is not None
    return box


@pytest.mark.parametrize("ports", ["preserve", "change"])
@pytest.mark.parametrize("data_ports", [{}, {"c3": PORT + 1}])
def test_two_clients_behind_one_box_hear_and_are_heard(
    ports: Ports, data_ports: dict[str, int]
) -> None:
    world = behind(ports, data_ports=data_ports)
    assert world.all_registered()
    expect_all_to_hear_all(world)


def test_by_the_named_port_two_clients_with_ports_of_their_own_work_while_they_send() -> None:
    world = behind("preserve", data_ports={"c3": PORT + 1}, literal=True)
    assert world.all_registered()
    for source in ("t1a", "t3a"):
        came_to(world, source)
    expect_all_to_hear_all(world)


def test_by_the_named_port_the_second_of_two_with_the_same_is_refused_in_words() -> None:
    world = behind("preserve", literal=True)
    registered = {name for name, one in world.clients.items() if one.registered}
    assert registered == {"c1", "c2", "c4"}
    assert {one.reason for one in world.clients["c3"].refusals} == {RefusalReason.ADDRESS_IN_USE}


def test_by_the_named_port_nothing_passes_a_box_that_changes_it_and_that_is_counted() -> None:
    world = behind("change", data_ports={"c3": PORT + 1}, literal=True)
    assert world.all_registered()
    assert came_to(world, "t1a") == set()
    assert came_to(world, "t2a") == {"t4a"}
    assert world.server is not None
    assert world.server.relay.flows.totals().drops[DropReason.UNREGISTERED_SENDER] == 1
    assert box_of(world).counts["unknown_port"] == 2


@pytest.mark.parametrize(("silence", "hears"), [(20, True), (40, False)])
def test_by_the_named_port_a_silent_client_is_not_reached_once_its_mapping_has_ended(
    silence: int, hears: bool
) -> None:
    """Keep-alives pass on the control channel, not by the data port; the next frame opens the way."""
    world = behind("preserve", 30 * SECOND, {"c3": PORT + 1}, literal=True)
    came_to(world, "t1a")
    world.run(silence)
    assert ("t1a" in came_to(world, "t2a")) is hears
    came_to(world, "t1a")
    assert "t1a" in came_to(world, "t2a")


@pytest.mark.parametrize("ports", ["preserve", "change"])
def test_a_client_that_sends_no_frames_keeps_its_mapping(ports: Ports) -> None:
    world = behind(ports, 30 * SECOND)
    world.run(200)
    assert came_to(world, "t2a") == {"t1a", "t3a", "t4a"}


@pytest.mark.parametrize(("literal", "mended"), [(False, True), (True, False)])
def test_a_box_that_forgets_and_gives_other_ports_is_mended_within_an_interval(
    literal: bool, mended: bool
) -> None:
    """Behind a box that keeps ports the literal rule works, until the two get each other's."""
    world = behind("preserve", data_ports={"c3": PORT + 1}, literal=literal)
    for source in ("t1a", "t3a"):
        came_to(world, source)
    expect_all_to_hear_all(world)
    box = box_of(world)
    box.restart()
    box.keeps_ports = False
    assert "t1a" not in came_to(world, "t2a")
    world.run(INTERVAL / SECOND)
    assert (came_to(world, "t2a") >= {"t1a", "t3a"}) is mended
    if mended:
        expect_all_to_hear_all(world)
        assert world.server is not None
        assert world.server.relay.bindings.changed == 2
        rows = world.server.relay.unicast_groups.rows()
        here = {member.address for _, members in rows for member in members}
        rows = world.server.management.unicast_groups.rows()
        assert {member.address for _, members in rows for member in members} == here


def with_servers(delivery: str, ports: Ports, *, filters: bool, literal: bool = False) -> World:
    """Starts a world with VPN servers a and b; c1 and c3 are near a, and both behind a NAT."""
    nodes, links = trunk(6)
    for index, name in enumerate("ab"):
        site = f"site-{name}"
        relay = Node(name, Role.RELAY, command=command("nodes.relay", name))
        nodes += [Node(site, Role.ROUTER), relay]
        way = router_link(site, "internet", index + 1, 6)
        links.append(replace(way, delay_ns=5_000_000 * (index + 1)))
        links.append(relay_link(name, index, site, 6))
    nodes.append(Node("nat", Role.ROUTER))
    near, far = "3ffe:0:0:99::2/64", "3ffe:0:0:99::1/64"
    links.append(outside_link("nat", "nat-out", "site-a", near, far))
    embodiment = {"direct": 4, "cascade": 5}[delivery]
    members = members_of("home", 4, 1, 0, 1346)
    plan = assemble("home", embodiment, (nodes, links), members, 6, 1346, ("nat", "site-b"))
    assert plan.delivery == delivery
    world = World(plan, 1, WorldSettings(bindings=not literal))
    world.network.translate("nat", "site-a", ports, LIFETIME, filters=filters)
    world.start()
    world.run(12)
    return world


def places(world: World, name: str) -> dict[int, str]:
    """Returns where a VPN server's table 507 has each client."""
    relay = world.relays[name].relay
    rows = (members for _, members in relay.unicast_groups.rows())
    return {one.client_id: str(one.address) for members in rows for one in members}


@pytest.mark.parametrize(("delivery", "filters"), [("direct", False), ("cascade", True)])
def test_with_several_servers_all_learn_where_a_client_is(delivery: str, filters: bool) -> None:
    world = with_servers(delivery, "change", filters=filters)
    assert world.all_registered()
    expect_all_to_hear_all(world)
    box_of(world).restart()
    world.run(INTERVAL / SECOND + 1)
    expect_all_to_hear_all(world)
    assert world.server is not None
    rows = world.server.management.unicast_groups.rows()
    told = {one.client_id: str(one.address) for _, members in rows for one in members}
    assert len(told) == 4
    for name in "ab":
        held = places(world, name)
        assert held.items() <= told.items()
        assert len(held) == (4 if delivery == "direct" else 2)


def test_by_the_named_port_a_server_sends_to_where_nobody_is() -> None:
    world = with_servers("cascade", "change", filters=True, literal=True)
    assert came_to(world, "t2a") == {"t4a"}


def test_with_direct_delivery_a_box_that_filters_lets_other_servers_copies_not_in() -> None:
    """As documented: c1 and c3 have sent nothing to b since the box knows them, only probes before."""
    world = with_servers("direct", "preserve", filters=True)
    expect_all_to_hear_all(world)
    box_of(world).restart()
    world.run(INTERVAL / SECOND + 1)
    assert came_to(world, "t1a") == TERMINALS - {"t1a"}
    assert came_to(world, "t2a") == {"t4a"}


def test_servers_and_representative_that_come_back_are_mended_by_the_next_binding() -> None:
    world = with_servers("cascade", "change", filters=True)
    expect_all_to_hear_all(world)
    for name in ("a", world.server_name):
        world.crash(name)
        world.run(1)
        world.start_process(name)
        world.run(60)
        expect_all_to_hear_all(world)
