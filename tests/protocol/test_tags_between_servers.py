"""Hop tags with several servers: whose key tags what, who knows it, and what a wrong one does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec.structs import replace as replace_fields

from protocol import hop_tag
from protocol.distribution.publisher import Publisher
from protocol.distribution.subscriber import CloseReport, SendReport, Subscriber
from protocol.relay import Member, Relay, TaggedRelay
from protocol.relay.tables import NextHop
from protocol.types import SECOND, Secret, ServerDelivery
from protocol.wire.table_messages import Snapshot
from tests.protocol.test_servers import apart, keep_talking, note_in, reaches
from tests.servers_world import MILLISECOND, QUIET, ServersWorld
from tests.world import Datagram, frame

SERVERS = ("one", "two", "three")


def cascade() -> ServersWorld:
    """Returns clients a, b, c at servers one, two, three, hops tagged, each heard by the others."""
    world = apart("cascade", hop_tags=True)
    for name in "abc":
        world.send(name, frame("*", name * 2))
    return world


def hop(world: ServersWorld, at: str, to: str) -> NextHop:
    """Returns what a server knows of another."""
    found = world.servers[at].relay.next_hops.named(to)
    assert found is not None
    return found


def sent_key(world: ServersWorld, at: str, to: str) -> Secret:
    key = hop(world, at, to).send_key
    assert key is not None
    return key


def client_at(world: ServersWorld, server: str, name: str) -> Member:
    member = world.servers[server].relay.unicast_groups.at(world.peers[name].address)
    assert member is not None
    return member


def holders(datagram: Datagram, keys: dict[str, Secret]) -> set[str]:
    """Returns under which of the keys a datagram's tag holds."""
    tagged = hop_tag.split(datagram.payload)
    assert tagged is not None
    return {name for name, key in keys.items() if hop_tag.key_of(tagged, (key,)) is not None}


def every_key(world: ServersWorld) -> dict[str, Secret]:
    """Returns all keys of hops: of two servers, and of a client to its server."""
    pairs = [(at, to) for at in SERVERS for to in SERVERS if at != to]
    keys = {f"{at} to {to}": sent_key(world, at, to) for at, to in pairs}
    for name, server in zip("abc", SERVERS, strict=True):
        (keys[name],) = client_at(world, server, name).hop_keys
    return keys


def test_each_hop_has_a_key_of_its_own_for_each_direction() -> None:
    world = cascade()
    assert len(set(every_key(world).values())) == 9
    for at in SERVERS:
        for to in {*SERVERS} - {at}:
            assert hop(world, to, at).hop_keys == (sent_key(world, at, to),)


def test_the_servers_tag_takes_the_place_of_the_clients_and_stays_on_the_way_to_clients() -> None:
    world = cascade()
    keys = every_key(world)
    noted: list[Datagram] = []
    note_in(noted, world)
    reaches(world, "a", frame("*", "aa"), "b", "c")
    names = {server.address: name for name, server in world.servers.items()}
    names |= {peer.address: name for name, peer in world.peers.items()}
    found = {
        (names[one.source], names[one.destination]): holders(one, keys)
        for one in noted
        if len(one.payload) > 40
    }
    assert found == {
        ("a", "one"): {"a"},
        ("one", "two"): {"one to two"},
        ("one", "three"): {"one to three"},
        ("two", "b"): {"one to two"},
        ("three", "c"): {"one to three"},
    }
    bodies = {one.payload[24:] for one in noted if len(one.payload) > 40}
    assert len(bodies) == 1


def test_a_tag_made_anew_is_that_of_a_payload_which_never_had_another() -> None:
    world = cascade()
    noted: list[Datagram] = []
    note_in(noted, world)
    world.send("a", frame("*", "aa"))
    plain = hop_tag.remove(noted[0].payload)
    key = Secret(bytes(range(16)))
    again = hop_tag.renewed(noted[0].payload, key)
    assert again + noted[0].payload[len(again) :] == hop_tag.add(plain, key)


def test_with_direct_delivery_only_its_own_server_knows_a_clients_key() -> None:
    world = apart("direct", hop_tags=True)
    for name, own in zip("abc", SERVERS, strict=True):
        known = {server: len(client_at(world, server, name).hop_keys) for server in SERVERS}
        assert known == {server: int(server == own) for server in SERVERS}
    assert not any(len(server.relay.next_hops) for server in world.servers.values())


def between(world: ServersWorld, sender: str = "a") -> Datagram:
    """Returns a datagram from server one to server two that has arrived there before."""
    noted: list[Datagram] = []
    note_in(noted, world)
    world.send(sender, frame("*", sender * 2))
    world.on_datagram = lambda datagram: True
    one, two = (world.servers[name].address for name in ("one", "two"))
    (found,) = [each for each in noted if (each.source, each.destination) == (one, two)]
    return found


FORGERIES = ["true", "none", "altered", "client", "other direction", "other hop", "other source"]


@pytest.mark.parametrize("what", FORGERIES)
def test_a_datagram_between_servers_passes_with_the_tag_of_that_hop_alone(what: str) -> None:
    world = cascade()
    true = between(world)
    plain = hop_tag.remove(true.payload)
    altered = bytearray(true.payload)
    altered[11] ^= 1  # of the destination's MAC address
    three = world.servers["three"].address
    made = {
        "true": true,
        "none": replace(true, payload=plain),
        "altered": replace(true, payload=bytes(altered)),
        "client": replace(true, payload=hop_tag.add(plain, every_key(world)["a"])),
        "other direction": replace(true, payload=hop_tag.add(plain, sent_key(world, "two", "one"))),
        "other hop": replace(true, payload=hop_tag.add(plain, sent_key(world, "one", "three"))),
        "other source": replace(true, source=three),
    }[what]
    two = world.servers["two"]
    two.drops.clear()
    before, stations = world.datagrams, list(two.relay.mac_ip.rows(world.now))
    world.transmit(made)
    world.run(0.1)
    assert world.datagrams - before == (2 if what == "true" else 1)
    assert dict(two.drops) == ({} if what == "true" else {"forged_hop_tag": 1})
    if what != "true":
        rows = [row[:2] for row in two.relay.mac_ip.rows(world.now)]
        assert rows == [row[:2] for row in stations]


def test_a_datagram_heard_on_one_hop_is_worth_nothing_on_another() -> None:
    world = cascade()
    true = between(world)
    for to in ("one", "three"):
        server = world.servers[to]
        server.drops.clear()
        world.transmit(replace(true, destination=server.address))
        world.run(0.1)
        reason = "unregistered_sender" if to == "one" else "forged_hop_tag"
        assert dict(server.drops) == {reason: 1}


@pytest.mark.parametrize("delivery", ["direct", "cascade"])
def test_a_client_that_is_moved_gets_a_key_for_its_new_hop(delivery: ServerDelivery) -> None:
    world = apart(delivery, hop_tags=True)
    (before,) = client_at(world, "two", "b").hop_keys
    noted: list[Datagram] = []
    note_in(noted, world)
    world.send("b", frame("*", "bb"))
    old = next(one for one in noted if one.source == world.peers["b"].address)
    world.crash_server("two")
    world.run(3)
    server = world.server_of("b")
    assert server is not None
    now = world.servers[server]
    (after,) = client_at(world, server, "b").hop_keys
    assert after != before
    now.drops.clear()
    world.transmit(replace(old, destination=now.address))
    world.run(0.1)
    assert dict(now.drops) == {"forged_hop_tag": 1}
    reaches(world, "b", frame("*", "bb"), "a", "c")


@pytest.mark.parametrize("last", SERVERS)
def test_no_frame_is_lost_while_servers_hear_of_new_keys_one_after_another(last: str) -> None:
    world = cascade()
    for name, delay in zip(SERVERS, (5, 40, 5), strict=True):
        world.delays[frozenset(("representative", name))] = (
            300 if name == last else delay
        ) * MILLISECOND
    before = set(every_key(world).values())
    world.crash_representative()
    assert keep_talking(world, 0.5) == []
    world.start_representative()
    assert keep_talking(world, QUIET) == []
    assert not before & set(every_key(world).values())


def test_who_registers_again_while_it_is_a_member_loses_nothing() -> None:
    world = apart("cascade", hop_tags=True)
    world.delays[frozenset(("representative", "a"))] = 100 * MILLISECOND
    peer = world.peers["a"]
    (key,) = client_at(world, "one", "a").hop_keys
    assert peer.connection is not None
    world._channels[peer.connection].open = False  # it is dead, and only the client has noticed
    peer.connection = None
    peer.client.channel_lost(world.now)
    world._open_client("a")
    for number in range(80):
        octets = frame("*", "aa", f"{number}".encode())
        assert world.send("a", octets, seconds=0.02) == {"b": [octets], "c": [octets]}
    keys = client_at(world, "one", "a").hop_keys
    assert keys[1:] == (key,)
    assert peer.client.information is not None
    assert peer.client.information.hop_key == keys[0]


# -- what servers are told


def snapshot(hop_tags: bool, key: Secret | None = None) -> Snapshot:
    world = cascade()
    assert world.representative is not None
    rows = world.representative.publisher.tables("one").rows()
    if key is not None:
        members = tuple(replace_fields(member, hop_keys=(key,)) for member in rows.members)
        rows = replace_fields(rows, members=members)
    return Snapshot(1, 1, rows, Secret(bytes(16)), reports=False, grace=0, hop_tags=hop_tags)


@pytest.mark.parametrize("required", [False, True])
def test_a_server_that_is_set_up_otherwise_takes_no_tables_and_says_why(required: bool) -> None:
    relay = TaggedRelay() if required else Relay()
    subscriber = Subscriber(relay, 1)
    subscriber.channel_opened(0)
    subscriber.next_action()
    subscriber.receive_message(snapshot(hop_tags=not required), SECOND)
    here, there = ("required", "off") if required else ("off", "required")
    action = subscriber.next_action()
    assert action == CloseReport(f'hop_tags: expected "{there}" as there, got "{here}"')
    assert dict(subscriber.ignored) == {"other_hop_tags": 1}
    assert len(relay.unicast_groups) == 0
    subscriber.receive_message(snapshot(hop_tags=required), SECOND)
    assert isinstance(subscriber.next_action(), SendReport)
    assert len(relay.unicast_groups) == 1


def test_a_hop_key_of_another_length_is_refused() -> None:
    subscriber = Subscriber(TaggedRelay(), 1)
    subscriber.receive_message(snapshot(hop_tags=True, key=Secret(bytes(15))), SECOND)
    assert dict(subscriber.ignored) == {"inconsistent": 1}
    subscriber.receive_message(snapshot(hop_tags=True, key=Secret(bytes(16))), SECOND)
    assert len(subscriber.tables) > 0


def test_a_server_tags_nothing_with_what_the_other_has_not_been_told() -> None:
    world = ServersWorld("a", "b", delivery="cascade", hop_tags=True, servers=("one", "two"))
    world.servers["two"].reachable = False
    world.run(1)
    assert world.representative is not None
    publisher: Publisher = world.representative.publisher
    row = publisher.tables("one").servers["two"]
    assert (row.send_key, len(row.hop_keys)) == (None, 1)
    world.servers["two"].reachable = True
    world._open_server(world.servers["two"])
    world.run(1)
    assert sent_key(world, "one", "two") == hop(world, "two", "one").hop_keys[0]


def test_other_keys_move_no_station_and_no_member() -> None:
    world = cascade()
    relay = world.servers["two"].relay
    stations = [row[:2] for row in relay.mac_ip.rows(world.now)]
    assert len(stations) == 3
    member = client_at(world, "two", "b")
    relay.change_hop_keys(member.client_id, (Secret(bytes(16)),))
    one = hop(world, "two", "one")
    relay.install_next_hop(replace(one, hop_keys=(Secret(bytes(16)),)), frozenset([member.vpn_id]))
    assert [row[:2] for row in relay.mac_ip.rows(world.now)] == stations
    assert len(relay.flows) == 0
    world.send("a", frame("*", "aa"))
    assert world.servers["two"].drops["forged_hop_tag"] == 1


def test_no_key_is_shown() -> None:
    from nodes import relay_view

    world = cascade()
    shown = []
    for server in world.servers.values():
        tables = relay_view.tables_of_relay(server.relay)
        tables |= relay_view.learnt_tables(server.relay, world.now)
        hops = [repr(hop) for hop, _ in server.relay.next_hops.rows()]
        members = [
            repr(client_at(world, server.name, name))
            for name in "abc"
            if server.relay.unicast_groups.at(world.peers[name].address)
        ]
        verdicts = [repr(entry.verdict) for _, entry in server.relay.flows.items()]
        shown += [repr(tables), *hops, *members, *verdicts, repr(server.subscriber.tables)]
    assert any("secret of 16 octets" in one for one in shown)
    for key in every_key(world).values():
        assert not any(key.reveal().hex() in one or repr(key.reveal()) in one for one in shown)
