"""Embodiments 4 and 5 in memory: placement, forwarding, stations, lost servers, restarts."""

from __future__ import annotations

from functools import partial
from random import Random

import pytest

from protocol.client.actions import SendMessage
from protocol.client.probing import LAST_WAIT, Probing
from protocol.errors import DropReason
from protocol.management.servers import VpnServer, VpnServers
from protocol.relay.tables import NextHop, NextHopTable
from protocol.types import SECOND, Address, Secret, ServerDelivery, SubId, VpnId
from protocol.wire.codec import Endpoint
from protocol.wire.messages import Candidate, Candidates, Measured
from protocol.wire.probe import PROBE, Probe
from tests.servers_world import MILLISECOND, QUIET, ServersWorld
from tests.world import Datagram, frame

both_deliveries = pytest.mark.parametrize("delivery", ["direct", "cascade"])
with_and_without_tags = pytest.mark.parametrize("hop_tags", [False, True])
NEAR, FAR = 2 * MILLISECOND, 4_500_000
"""One-way delays whose round-trip times differ by 5 ms."""


def set_delay(world: ServersWorld, user: str, **delays: int) -> None:
    for server, delay in delays.items():
        world.delays[frozenset((user, server))] = delay


def passes_four_of_five_probes(chance: Random, datagram: Datagram) -> bool:
    return datagram.payload[0] != PROBE or chance.random() < 0.8


def note_in(noted: list[Datagram], world: ServersWorld) -> None:
    """Has every datagram noted, and lets it pass."""

    def note(datagram: Datagram) -> bool:
        noted.append(datagram)
        return True

    world.on_datagram = note


def apart(
    delivery: ServerDelivery = "direct", reports: bool = True, hop_tags: bool = False
) -> ServersWorld:
    """Returns a world with clients a, b, c at servers one, two, three."""
    world = ServersWorld("a", "b", "c", delivery=delivery, reports=reports, hop_tags=hop_tags)
    set_delay(world, "a", two=3 * MILLISECOND, three=5 * MILLISECOND)
    set_delay(world, "b", one=3 * MILLISECOND, three=3 * MILLISECOND)
    set_delay(world, "c", one=5 * MILLISECOND, two=3 * MILLISECOND)
    world.join("a", "b", "c")
    assert [world.server_of(name) for name in "abc"] == ["one", "two", "three"]
    return world


def reaches(world: ServersWorld, sender: str, octets: bytes, *receivers: str) -> None:
    assert world.send(sender, octets) == {name: [octets] for name in receivers}


# -- placement


@pytest.mark.parametrize("seed", range(20))
def test_the_nearest_server_is_chosen_and_with_swapped_delays_the_other(seed: int) -> None:
    for near, far in (("one", "two"), ("two", "one")):
        world = ServersWorld("a", servers=("one", "two"), seed=seed)
        jitter = world.random.randrange(200_000)
        set_delay(world, "a", **{near: NEAR + jitter, far: FAR + jitter})
        world.on_datagram = partial(passes_four_of_five_probes, world.random)
        world.join("a", seconds=4)
        assert world.server_of("a") == near


def test_servers_that_are_equally_near_share_the_load() -> None:
    world = ServersWorld("a", "b", "c", "d", "e", "f")
    for name in "abcdef":
        world.join(name)
    homes = [world.server_of(name) for name in "abcdef"]
    assert {homes.count(server) for server in world.servers} == {2}


def test_within_500_us_the_load_decides_and_beyond_them_the_time() -> None:
    servers = VpnServers(VpnServer(name, Address("3ffe::1", 1)) for name in ("one", "two"))
    servers.set_up("one", True)
    servers.set_up("two", True)
    servers.count("one", 1)
    nearest = servers.nearest({"one": 1000, "two": 1500})
    assert nearest is not None
    assert nearest.name == "two"
    nearest = servers.nearest({"one": 1000, "two": 1501})
    assert nearest is not None
    assert nearest.name == "one"


def test_when_no_server_answers_probes_a_client_is_given_one_all_the_same() -> None:
    world = ServersWorld("a")
    world.on_datagram = lambda one: one.payload[0] != PROBE
    world.join("a", seconds=4)
    assert world.server_of("a") is not None


def test_with_one_server_nothing_is_measured() -> None:
    world = ServersWorld("a", servers=("one",))
    world.join("a", seconds=1.5)
    assert world.server_of("a") == "one"
    assert world.datagrams == 0


def test_a_late_answer_is_not_measured_twice() -> None:
    said: list[object] = []
    place = Address("3ffe::1000:a", 5000)
    token = Secret(bytes(16))
    candidates = Candidates(token, 2, 10, (Candidate("one", Endpoint.of(place)),))
    probing = Probing(candidates, said.append, 0)
    probing.handle_timeout(10 * MILLISECOND)
    probing.receive_datagram(Probe(0, bytes(16)).pack(), place, 11 * MILLISECOND)
    probing.handle_timeout(10 * MILLISECOND + LAST_WAIT)
    assert not probing.receive_datagram(Probe(1, bytes(16)).pack(), place, 2 * SECOND)
    measured = [one.message for one in said if isinstance(one, SendMessage)]
    assert len(measured) == 1
    assert isinstance(measured[0], Measured)


def test_servers_that_come_up_late_are_waited_for() -> None:
    world = ServersWorld("a", servers=("one", "two"))
    set_delay(world, "a", one=FAR)
    world.crash_server("two")
    world.join("a", seconds=0.5)
    assert world.server_of("a") is None
    world.start_server("two")
    world.run(2)
    assert world.server_of("a") == "two"


def test_while_all_servers_are_down_clients_wait_and_then_succeed() -> None:
    world = ServersWorld("a", "b")
    for name in world.servers:
        world.crash_server(name)
    world.join("a", "b", seconds=20)
    assert world.registered() == set()
    world.start_server("two")
    world.run(3)
    assert world.registered() == {"a", "b"}
    reaches(world, "a", frame("*", "aa"), "b")


@pytest.mark.parametrize("after", [step / 100 for step in range(0, 40, 2)])
def test_a_server_may_be_lost_at_any_moment_of_a_registration(after: float) -> None:
    world = ServersWorld("a", "b", servers=("one", "two"))
    set_delay(world, "a", two=FAR)
    for server in world.servers:
        world.delays[frozenset(("representative", server))] = 20 * MILLISECOND
    world.run(2)
    world.join("a", "b", seconds=after)
    world.crash_server("one")
    world.run(5)
    assert [world.server_of(name) for name in "ab"] == ["two", "two"]
    reaches(world, "a", frame("*", "aa"), "b")


# -- forwarding


@both_deliveries
@with_and_without_tags
def test_frames_flow_between_clients_of_three_servers_once_each(
    delivery: ServerDelivery, hop_tags: bool
) -> None:
    world = apart(delivery, hop_tags=hop_tags)
    reaches(world, "a", frame("*", "aa"), "b", "c")
    reaches(world, "b", frame("aa", "bb"), "a")
    reaches(world, "c", frame("bb", "cc"), "b")


def storm(split_horizon: bool) -> tuple[int, dict[str, int]]:
    """Counts datagrams, and copies that reach each client, after one broadcast by three servers."""
    world = ServersWorld("a", "b", "c", delivery="cascade", split_horizon=split_horizon)
    for name, near in zip("abc", world.servers, strict=True):
        set_delay(world, name, **{far: FAR for far in world.servers if far != near})
    world.join("a", "b", "c")
    world.datagrams, world.datagram_limit = 0, 2000
    copies = dict.fromkeys("abc", 0)

    def note(datagram: Datagram) -> bool:
        for name in "abc":
            copies[name] += datagram.destination == world.peers[name].address
        return True

    world.on_datagram = note
    world.send("a", frame("*", "aa"), seconds=3)
    return world.datagrams, copies


def test_one_broadcast_by_three_servers_is_five_datagrams() -> None:
    assert storm(split_horizon=True) == (5, {"a": 0, "b": 1, "c": 1})


def test_by_the_literal_rule_it_goes_round_until_the_limit() -> None:
    datagrams, copies = storm(split_horizon=False)
    assert datagrams > 2000
    assert min(copies.values()) > 100


def test_a_list_with_an_entry_for_each_client_sends_two_copies_and_a_set_one() -> None:
    """Fig. 19 names server A in place of client A and in place of client B."""
    server = NextHop("one", Address("3ffe::1000:a", 5000))
    clients = [server, server]
    assert len([hop.address for hop in clients]) == 2
    table = NextHopTable()
    for hop in clients:
        table.install(hop, frozenset([VpnId(1001)]))
    assert table.of_group(VpnId(1001)) == [server]


def test_a_registered_client_takes_datagrams_of_its_servers_only() -> None:
    world = apart("cascade")
    caught: list[Datagram] = []
    note_in(caught, world)
    world.send("b", frame("*", "bb"))
    (copy,) = [one for one in caught if one.destination == world.peers["a"].address]
    client = world.peers["a"].client
    for source in (world.servers["two"].address, Address("3ffe::bad", 5000)):
        before = client.drops[DropReason.UNEXPECTED_SOURCE]
        client.receive_datagram(copy.payload, source, world.now)
        assert client.drops[DropReason.UNEXPECTED_SOURCE] == before + 1
    client.receive_datagram(copy.payload, copy.source, world.now)
    assert client.drops[DropReason.REPLAYED] == 1


# -- stations


def flooded(world: ServersWorld) -> int:
    return sum(server.relay.flows.totals().sought for server in world.servers.values())


def test_with_reports_all_unicast_goes_to_one_client_and_without_it_floods_for_ever() -> None:
    for reports in (True, False):
        world = apart("direct", reports)
        for name in "abc":
            world.send(name, frame("*", name * 2))
        for _ in range(5):
            world.send("a", frame("bb", "aa"))
            world.send("b", frame("aa", "bb"))
        assert flooded(world) == (0 if reports else 10)


def test_a_station_that_moves_between_servers_is_found_at_its_new_place() -> None:
    world = apart("direct")
    world.send("b", frame("*", "05"))
    reaches(world, "a", frame("05", "aa"), "b")
    world.run(2)
    world.send("c", frame("*", "05"))
    reaches(world, "a", frame("05", "aa"), "c")
    reaches(world, "b", frame("05", "bb"), "c")


def test_a_station_that_is_silent_at_home_is_forgotten_elsewhere() -> None:
    world = ServersWorld("a", "b", servers=("one", "two"), mac_lifetime=10 * SECOND)
    set_delay(world, "a", two=FAR)
    set_delay(world, "b", one=FAR)
    world.join("a", "b")
    world.send("b", frame("*", "05"))
    relay = world.servers["one"].relay
    assert len(list(relay.stations.elsewhere())) == 1
    world.run(20)
    assert list(relay.stations.elsewhere()) == []


def test_a_client_that_leaves_takes_its_stations_along_everywhere() -> None:
    world = apart("direct")
    world.send("b", frame("*", "05"))
    world.leave("b")
    assert all(not list(one.relay.stations.elsewhere()) for one in world.servers.values())
    reaches(world, "a", frame("05", "aa"), "c")


def test_a_station_seen_while_the_channel_was_away_is_known_elsewhere_afterwards() -> None:
    world = ServersWorld("a", "b", servers=("one", "two"))
    world.crash_server("two")
    world.join("a", "b")
    world.send("a", frame("*", "aa"))
    world.cut(world.servers["one"].channel)
    world.send("a", frame("*", "05"), seconds=0.1)
    world.run(3)
    world.start_server("two")
    world.run(1)
    known = {station[1][-1] for station, _ in world.servers["two"].relay.stations.elsewhere()}
    assert known == {0xAA, 0x05}


# -- lost servers


@both_deliveries
@with_and_without_tags
def test_clients_of_a_lost_server_go_to_the_next_nearest(
    delivery: ServerDelivery, hop_tags: bool
) -> None:
    world = apart(delivery, hop_tags=hop_tags)
    for name in "abc":
        world.send(name, frame("*", name * 2))
    world.crash_server("two")
    world.run(3)
    assert world.server_of("b") in {"one", "three"}
    for sender, others in (("a", "bc"), ("b", "ac"), ("c", "ab")):
        reaches(world, sender, frame("*", sender * 2), *others)
    world.start_server("two")
    world.run(3)
    for sender, others in (("a", "bc"), ("b", "ac"), ("c", "ab")):
        reaches(world, sender, frame("*", sender * 2), *others)


def test_a_silent_station_behind_a_lost_server_is_sought_again() -> None:
    world = apart("cascade")
    world.send("b", frame("*", "bb"))
    world.crash_server("two")
    world.run(3)
    octets = frame("bb", "aa", b"are you still there?")
    assert world.send("a", octets)["b"] == [octets]


# -- a representative that comes back


def keep_talking(world: ServersWorld, seconds: float, step: float = 0.25) -> list[str]:
    """Has each client send a frame at each step; returns whom one did not reach, or twice."""
    wrong = []
    for number in range(round(seconds / step)):
        for name in "abc":
            octets = frame("*", name * 2, f"{number} of {name}".encode())
            got = world.send(name, octets, seconds=step / 3)
            due = {other: [octets] for other in "abc" if other != name}
            if got != due:
                wrong.append(f"{world.now / SECOND:.2f} {name}: {sorted(got)}")
    return wrong


def sealing(world: ServersWorld) -> set[int]:
    """Returns the SPIs of the SAs that the clients seal with."""
    found = [peer.client.associations.sealing for peer in world.peers.values()]
    return {one.spi for one in found if one is not None}


@both_deliveries
@with_and_without_tags
@pytest.mark.parametrize("outage", [0.3, 7.0])
def test_frames_go_on_while_the_representative_is_away_and_comes_back(
    delivery: ServerDelivery, hop_tags: bool, outage: float
) -> None:
    world = apart(delivery, hop_tags=hop_tags)
    for name, delay in zip("cab", (1, 40, 300), strict=True):
        world.delays[frozenset(("representative", name))] = delay * MILLISECOND
    before = sealing(world)
    world.crash_representative()
    assert keep_talking(world, outage) == []
    world.start_representative()
    assert keep_talking(world, QUIET) == []
    assert world.registered() == {"a", "b", "c"}
    after = sealing(world)
    assert len(after) == 1
    assert not after & before
    for server in world.servers.values():
        assert [row.spis for row in server.relay.multicast_addresses.rows()] == [after]
    assert len(set(world.given_out)) == len(world.given_out)
    assert len(set(world.client_ids)) == len(world.client_ids) == 6


def test_in_recovery_a_client_opens_with_the_sa_that_is_being_replaced_too() -> None:
    world = ServersWorld("a", "b", servers=("one",))
    world.join("b")
    world.crash_representative()
    world.wanted.discard("b")
    world.start_representative()
    world.join("a", seconds=0.8)  # new to the group: it seals with the new SA at once
    assert world.representative is not None
    world.representative.management.keys.replace(world.vpn_of["a"], SubId(1), world.now)
    world.join("b", seconds=0.8)
    reaches(world, "a", frame("*", "aa"), "b")


def test_a_client_whose_server_was_lost_while_it_registered_is_told_of_one_server_once() -> None:
    world = ServersWorld("a", servers=("one", "two"))
    set_delay(world, "a", two=FAR)
    world.delays[frozenset(("representative", "one"))] = 300 * MILLISECOND
    world.run(2)
    world.join("a", seconds=0.5)
    assert world.server_of("a") is None  # server one has not said yet that it knows of it
    world.crash_server("one")
    world.run(1)
    assert world.server_of("a") == "two"
    assert world.representative is not None
    known = world.representative.management.connections.of_user("a")
    assert known is not None
    assert not known.moving


# -- probes


def answer(world: ServersWorld, payload: bytes) -> list[Datagram]:
    sent: list[Datagram] = []
    note_in(sent, world)
    stranger = Address("3ffe:dead::1", 7)
    world.transmit(Datagram(stranger, world.servers["one"].address, payload))
    world.run(0.1)
    return sent[1:]


def test_a_probe_with_the_token_comes_back_as_it_is_and_any_other_is_one_drop() -> None:
    world = ServersWorld()
    world.run(2)
    assert world.representative is not None
    token = world.representative.management.placement.token.reveal()
    probe = Probe(7, token).pack()
    assert [one.payload for one in answer(world, probe)] == [probe]
    assert answer(world, Probe(7, bytes(16)).pack()) == []
    assert world.servers["one"].drops == {"unknown_token": 1}
    for wrong in (probe[:-1], probe + b"\0", b"\3\1" + probe[2:]):
        assert answer(world, wrong) == []
    assert world.servers["one"].drops["malformed_datagram"] == 3
    world.crash_representative()
    world.start_representative()
    world.run(2)
    assert answer(world, probe) == []
    assert world.servers["one"].drops["unknown_token"] == 2
