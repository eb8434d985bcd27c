"""After any sequence of joins, leaves and faults, once quiet, tables and deliveries are as they should be."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from protocol.client.binding import INTERVAL
from protocol.distribution.publisher import Distribution
from protocol.types import SECOND, Address, ServerDelivery
from tests.servers_world import QUIET, ServersWorld, published_state, relay_state
from tests.world import VPN, frame

USERS = ("a", "b", "c", "d", "e@1002")
MACS = {"a": "aa", "b": "bb", "c": "cc", "d": "dd", "e": "ee"}
SERVERS = ("one", "two", "three", "four")
NAT = "3ffe:99::1"
users = st.sampled_from(sorted(MACS))
servers = st.sampled_from(SERVERS)


class Faults(RuleBasedStateMachine):
    """A world to which anything may happen, and what holds when it is quiet again."""

    @initialize(
        number=st.integers(1, 4),
        delivery=st.sampled_from(["direct", "cascade"]),
        distribution=st.sampled_from(["full", "delta"]),
        hop_tags=st.booleans(),
    )
    def begin(
        self, number: int, delivery: ServerDelivery, distribution: Distribution, hop_tags: bool
    ) -> None:
        self.world = ServersWorld(
            *USERS,
            servers=SERVERS[:number],
            delivery=delivery,
            distribution=distribution,
            hop_tags=hop_tags,
        )
        self.world.run(0.5)

    @rule(name=users)
    def join(self, name: str) -> None:
        self.world.join(name, seconds=0.3)

    @rule(name=users)
    def leave(self, name: str) -> None:
        if name in self.world.wanted:
            self.world.leave(name)

    @rule(name=users)
    def lose_client_channel(self, name: str) -> None:
        self.world.cut_client(name)

    @rule(name=users, port=st.integers(1024, 1026))
    def change_place(self, name: str, port: int) -> None:
        """The NAT before the clients gives one of them another port, which may have been another's."""
        address = Address(NAT, port)
        if all(peer.address != address for peer in self.world.peers.values()):
            self.world.peers[name].address = address

    @rule(name=servers, crash=st.booleans())
    def lose_server(self, name: str, crash: bool) -> None:
        if name not in self.world.servers:
            return
        if crash:
            self.world.crash_server(name)
        else:
            self.world.cut(self.world.servers[name].channel)

    @rule(name=servers)
    def start_server(self, name: str) -> None:
        if name in self.world.servers:
            self.world.start_server(name)

    @rule()
    def crash_representative(self) -> None:
        self.world.crash_representative()

    @rule()
    def start_representative(self) -> None:
        if self.world.representative is None:
            self.world.start_representative()

    @rule(name=users, destination=st.sampled_from(["*", *MACS.values()]), station=st.integers(0, 2))
    def talk(self, name: str, destination: str, station: int) -> None:
        """A LAN sends a frame; stations 1 and 2 move about between the LANs."""
        source = f"0{station}" if station else MACS[name]
        self.world.send(name, frame(destination, source), seconds=0.05)

    @rule(seconds=st.sampled_from([0.002, 0.3, 2.0, 12.0]))
    def wait(self, seconds: float) -> None:
        self.world.run(seconds)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            make_quiet(self.world)
            check_quiet(self.world)


def make_quiet(world: ServersWorld) -> None:
    """Starts all that is down, and waits."""
    if world.representative is None:
        world.start_representative()
    for name in world.servers:
        world.start_server(name)
    world.run(QUIET + 2 * INTERVAL / SECOND)  # who waits for another's port gets it in the second


def check_quiet(world: ServersWorld) -> None:
    """Checks registrations, tables, broadcast and unicast."""
    assert world.registered() == world.wanted
    assert len(set(world.given_out)) == len(world.given_out)
    assert len(set(world.client_ids)) == len(world.client_ids)
    check_tables(world)
    for name in sorted(world.wanted):
        server = world.server_of(name)
        assert server is not None
        member = world.servers[server].relay.unicast_groups.at(world.peers[name].address)
        assert member is not None
        assert member.home
        octets = frame("*", MACS[name], f"from {name}".encode())
        others = [one for one in sorted(world.wanted) if world.vpn_of[one] == world.vpn_of[name]]
        others.remove(name)
        assert world.send(name, octets) == {other: [octets] for other in others}
    check_unicast(world)
    world.run(1)
    check_tables(world)


def check_tables(world: ServersWorld) -> None:
    """Compares each relay's tables with what the representative says."""
    for name, server in world.servers.items():
        assert relay_state(server.relay) == published_state(world, name)


def check_unicast(world: ServersWorld) -> None:
    """Checks that a frame to a station that everybody knows goes to its holder alone."""
    members = [name for name in sorted(world.wanted) if world.vpn_of[name] == VPN]
    for name in members:
        for other in members:
            if other == name:
                continue
            octets = frame(MACS[other], MACS[name], b"to one")
            before = world.datagrams
            assert world.send(name, octets) == {other: [octets]}
            crosses = world.server_of(name) != world.server_of(other)
            expected = 3 if crosses and _cascade(world) else 2
            assert world.datagrams - before == expected


def _cascade(world: ServersWorld) -> bool:
    return any(len(server.relay.next_hops) for server in world.servers.values())


TestFaults = Faults.TestCase
TestFaults.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


@pytest.mark.parametrize("delivery", ["direct", "cascade"])
def test_the_checks_fail_when_a_server_lacks_a_client(delivery: ServerDelivery) -> None:
    world = ServersWorld(*USERS, servers=("one",), delivery=delivery)
    world.join("a", "b", "c")
    check_quiet(world)
    relay = world.servers["one"].relay
    member = relay.unicast_groups.at(world.peers["b"].address)
    assert member is not None
    relay.remove_member(member.client_id)
    with pytest.raises(AssertionError):
        check_tables(world)
    with pytest.raises(AssertionError):
        check_quiet(world)
