"""NATs in a world: what they translate, and what holds of the protocol behind them (hole 18)."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from protocol.errors import DropReason
from protocol.types import SECOND
from protocol.wire.messages import RefusalReason
from simulator.nat import LIFETIME, Nat, Ports
from simulator.packets import UDP, Packet
from simulator.world import World, WorldSettings
from tests.simulator.worlds import arrivals, frame
from topologies.branches import OUTSIDE_MTU, assemble, members_of, outside_link, trunk
from topologies.parts import Node, Role
from topologies.plan import Plan

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
    ports: Ports, lifetime: int = LIFETIME, data_ports: dict[str, int] | None = None
) -> World:
    """Starts a world with a NAT; time passes until everybody who can is in the group."""
    world = World(plan_with_nat(), 1, WorldSettings(data_ports=data_ports or {}))
    world.network.translate("nat", "internet", ports, lifetime, filters=True)
    world.start()
    world.run(5)
    return world


def came_to(world: World, source: str) -> set[str]:
    octets = frame(world.plan, source, payload=str(world.engine.now).encode())
    world.send(source, octets)
    world.run(1)
    return set(arrivals(world, octets))


def test_two_clients_with_ports_of_their_own_work_behind_a_box_that_keeps_ports() -> None:
    world = behind("preserve", data_ports={"c3": PORT + 1})
    assert world.all_registered()
    for source in ("t1a", "t3a", "t2a", "t4a"):
        came_to(world, source)
    for source in ("t1a", "t3a", "t2a", "t4a"):
        assert came_to(world, source) == {"t1a", "t2a", "t3a", "t4a"} - {source}


def test_of_two_clients_that_name_the_same_port_the_second_is_refused_in_words() -> None:
    world = behind("preserve")
    registered = {name for name, one in world.clients.items() if one.registered}
    assert registered == {"c1", "c2", "c4"}
    assert {one.reason for one in world.clients["c3"].refusals} == {RefusalReason.ADDRESS_IN_USE}


def test_behind_a_box_that_changes_ports_nothing_passes_and_it_is_counted() -> None:
    world = behind("change", data_ports={"c3": PORT + 1})
    assert world.all_registered()
    assert came_to(world, "t1a") == set()
    assert came_to(world, "t2a") == {"t4a"}
    assert world.server is not None
    assert world.server.relay.flows.totals().drops[DropReason.UNREGISTERED_SENDER] == 1
    box = world.network.nodes["nat"].nat
    assert box is not None
    assert box.counts["unknown_port"] == 2


@pytest.mark.parametrize(("silence", "hears"), [(20, True), (40, False)])
def test_a_client_that_sends_nothing_is_not_reached_once_its_mapping_has_ended(
    silence: int, hears: bool
) -> None:
    """Keep-alives pass on the control channel, not by the data port; the next frame opens the way."""
    world = behind("preserve", 30 * SECOND, {"c3": PORT + 1})
    came_to(world, "t1a")
    world.run(silence)
    assert ("t1a" in came_to(world, "t2a")) is hears
    came_to(world, "t1a")
    assert "t1a" in came_to(world, "t2a")
