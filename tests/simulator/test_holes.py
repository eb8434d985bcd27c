"""Holes of the patent: what its literal rule does in a world, and that ours does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from protocol.client.tables import Side
from protocol.errors import DropReason, OpenError
from protocol.management import RekeyPolicy
from protocol.security_association import SecurityAssociation
from protocol.types import SECOND, MemberDelivery
from protocol.wire.ethernet import BROADCAST, EthernetHeader, parse_mac
from simulator.monitor import esp_of
from simulator.observer import Observer
from simulator.world import World, WorldSettings
from tests.simulator import literal
from tests.simulator.worlds import arrivals, frame, ready, ready_on
from topologies.catalog import cascade
from topologies.shared_lan import share_lan

TextOrOurs = pytest.mark.parametrize("as_written", [True, False], ids=["as written", "ours"])
STORM = 5_000
"""Events after one frame; without a storm two minutes have some hundred."""


class Listener(Observer):
    """Keeps what comes to whatever relays."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, bytes]] = []

    def at_relay(self, name: str, payload: bytes) -> None:
        self.heard.append((name, payload))


def mac_of(world: World, terminal: str) -> bytes:
    mac = world.plan.lan_interface(terminal).mac
    assert mac is not None
    return parse_mac(mac)


def greet_all(world: World) -> None:
    for terminal in world.plan.terminals(1001):
        world.send(terminal.name, frame(world.plan, terminal.name))
        world.run(2)


@TextOrOurs
def test_2_a_frame_goes_round_three_servers_for_ever(as_written: bool) -> None:
    world = ready("cascade", settings=WorldSettings(split_horizon=not as_written))
    begin = world.engine.events
    world.send("t1a", frame(world.plan, "t1a"))
    deadline = world.engine.now + 120 * SECOND
    world.engine.run_while(lambda: world.engine.events < begin + STORM, deadline)
    assert (world.engine.events - begin >= STORM) is as_written


@TextOrOurs
def test_3_a_server_gets_a_copy_for_each_of_its_clients(
    as_written: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = Listener()
    world = ready("cascade", observer=listener, clients=6, terminals=1)
    if as_written:
        literal.servers_once_for_each_client(monkeypatch, world)
    listener.heard.clear()
    world.send("t1a", frame(world.plan, "t1a"))
    world.run(1)
    home = world.plan.nearest("c1")
    others = [name for name, _ in listener.heard if name != home]
    assert len(others) == (4 if as_written else 2)
    assert set(others) == {relay.name for relay in world.plan.relays} - {home}


@TextOrOurs
def test_4_two_clients_seal_with_one_nonce_and_what_they_said_leaks(
    as_written: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one nonce the sum of two ciphertexts is that of the plaintexts, for whoever listens."""
    listener = Listener()
    if as_written:
        literal.no_senders_in_nonces(monkeypatch, World(ready().plan))
    world = ready(observer=listener)
    listener.heard.clear()
    frames = [frame(world.plan, name, payload=name.encode() * 8) for name in ("t1a", "t2a")]
    for octets, terminal in zip(frames, ("t1a", "t2a"), strict=True):
        world.send(terminal, octets)
    world.run(1)
    first, second = (esp_of(payload) for _, payload in listener.heard)
    assert (first[8:16] == second[8:16]) is as_written
    behind_etherip = slice(16 + 2, 16 + 2 + len(frames[0]))
    sum_of_sealed = _sum(first[behind_etherip], second[behind_etherip])
    assert (sum_of_sealed == _sum(*frames)) is as_written


@TextOrOurs
def test_5_one_window_drops_the_packets_of_the_second_sender(
    as_written: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if as_written:
        literal.one_window(monkeypatch, World(ready().plan))
    world = ready()
    for number in range(5):
        for terminal in ("t1a", "t2a"):
            world.send(terminal, frame(world.plan, terminal, payload=bytes([number])))
        world.run(0.1)
    drops = world.clients["c3"].client.drops[DropReason.REPLAYED]
    assert drops == (5 if as_written else 0)
    assert len(world.received["t3a"]) == 10 - drops


@TextOrOurs
def test_8_a_station_that_has_moved_is_never_found_again(
    as_written: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = ready()
    if as_written:
        literal.first_place_for_ever(monkeypatch, world)
    greet_all(world)
    world.send("t2a", frame(world.plan, "t1a", payload=b"t1a is on the second LAN now"))
    world.run(2)
    octets = frame(world.plan, "t3a", "t1a")
    world.send("t3a", octets)
    world.run(1)
    assert (arrivals(world, octets) == {"t2a": 1}) is not as_written


@TextOrOurs
def test_9_a_station_that_has_moved_here_is_not_heard(
    as_written: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = ready()
    if as_written:
        literal.outside_until_forgotten(monkeypatch, world)
    greet_all(world)
    octets = frame(world.plan, "t1a", payload=b"from the second LAN")
    world.send("t2a", octets)
    world.run(1)
    assert ("t3a" in arrivals(world, octets)) is not as_written
    dropped = world.clients["c2"].client.drops[DropReason.STATION_SEEN_OUTSIDE]
    assert dropped == int(as_written)


@TextOrOurs
def test_10_a_frame_comes_back_and_its_own_station_is_taken_for_an_external_one(
    as_written: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shared medium shows the client what two stations of its own LAN say to each other."""
    world = ready()
    greet_all(world)
    if as_written:
        literal.back_to_where_it_came_from(monkeypatch, world)
    octets = frame(world.plan, "t1a", "t1b")
    world.clients["c1"].receive_frame(octets)
    world.run(2)
    assert arrivals(world, octets) == ({"t1b": 1} if as_written else {})
    stations = world.clients["c1"].client.transfer.stations
    place = stations.lookup(mac_of(world, "t1a"), world.engine.now)
    assert place is (Side.OUTSIDE if as_written else Side.LAN)
    later = frame(world.plan, "t1a", payload=b"later")
    world.send("t1a", later)
    world.run(1)
    assert ("t2a" in arrivals(world, later)) is not as_written


@TextOrOurs
def test_11_a_group_address_as_source_takes_all_broadcasts(
    as_written: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if as_written:
        literal.any_address_is_a_station(monkeypatch, World(ready().plan))
    world = ready()
    head = EthernetHeader(mac_of(world, "t2a"), BROADCAST, 0x88B5)
    world.clients["c1"].receive_frame(head.pack() + bytes(46))
    world.run(2)
    octets = frame(world.plan, "t2a")
    world.send("t2a", octets)
    world.run(1)
    assert {"t1a", "t1b"} <= set(arrivals(world, octets))
    assert ("t3a" in arrivals(world, octets)) is not as_written


@TextOrOurs
def test_12_a_broadcast_goes_round_two_clients_of_one_lan_for_ever(
    as_written: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Table 311 does not end it: one client sees a frame on the LAN before it has its own copy."""
    world = ready_on(share_lan(cascade(terminals=1), "c1", "c2"))
    if as_written:
        literal.no_other_client_on_the_lan(monkeypatch, world)
        world.run(10)
    begin = world.engine.events
    octets = frame(world.plan, "t3a")
    world.send("t3a", octets)
    deadline = world.engine.now + 120 * SECOND
    world.engine.run_while(lambda: world.engine.events < begin + STORM, deadline)
    assert (world.engine.events - begin >= STORM) is as_written
    assert (arrivals(world, octets) == {"t1a": 1, "t4a": 1}) is not as_written


@pytest.mark.parametrize(("rekey", "reads"), [("never", True), ("on-leave", False)])
def test_16_who_was_expelled_reads_on(rekey: RekeyPolicy, reads: bool) -> None:
    """He keeps his keys and listens before the relay."""
    listener = Listener()
    world = ready(settings=replace(WorldSettings(), rekey=rekey), observer=listener)
    kept = world.clients["c2"].client.associations.sealing
    assert kept is not None
    world.expel("c2")
    world.run(20)
    listener.heard.clear()
    octets = frame(world.plan, "t1a", payload=b"not for c2")
    world.send("t1a", octets)
    world.run(1)
    ((_, payload),) = listener.heard
    assert _opened(kept, esp_of(payload)) == (octets if reads else None)


@pytest.mark.parametrize(("delivery", "in_vain"), [("patent", 1), ("spi", 0)])
def test_17_ciphertext_is_sent_to_members_who_cannot_read_it(
    delivery: MemberDelivery, in_vain: int
) -> None:
    world = ready("subgroups", settings=replace(WorldSettings(), member_delivery=delivery))
    octets = frame(world.plan, "t1a")
    world.send("t1a", octets)
    world.run(1)
    assert not {"t3a", "t3b"} & set(arrivals(world, octets))
    assert world.clients["c3"].client.drops[DropReason.UNKNOWN_SPI] == in_vain
    assert world.server is not None
    assert world.server.relay.flows.totals().copies_unreadable == in_vain


def _opened(association: SecurityAssociation, packet: bytes) -> bytes | None:
    """Opens a packet of the SA's SPI with its key; None when it is of another SA, or was altered."""
    if int.from_bytes(packet[:4], "big") != association.spi:
        return None
    try:
        return association.open(packet)
    except OpenError:
        return None


def _sum(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
