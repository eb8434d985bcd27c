"""Clients behind a router that translates addresses and draws ports by chance (hole 18)."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.conftest import give_up
from tests.nodes.running import Crew, crew_on, eventually
from tests.simulator.test_nat import plan_with_nat
from topologies.emulate import Network, emulate

pytestmark = pytest.mark.emulated

RULES = """
table ip6 nat {
    chain outwards {
        type nat hook postrouting priority srcnat
        oifname "nat-out" masquerade random,fully-random
    }
}
"""
LASTING = {"nf_conntrack_udp_timeout": 30, "nf_conntrack_udp_timeout_stream": 120}
"""How long a mapping lasts without a datagram, in seconds."""
HASTY = """
import sys
from protocol.client import binding
binding.INTERVAL = 1_700_000_000
from nodes.client import main
sys.exit(main())
"""
MUTE = HASTY.replace("binding.INTERVAL = 1_700_000_000", "binding.Bindings._ask = lambda _: None")
CLIENTS = ("c1", "c2", "c3")


@pytest.fixture(scope="module")
def network(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Network]:
    """Builds the network of `plan_with_nat`, and makes `nat` translate."""
    rules = tmp_path_factory.mktemp("rules") / "nat.nft"
    rules.write_text(RULES)
    with emulate(plan_with_nat()) as built:
        taken = built.run("nat", ["nft", "-f", str(rules)], timeout=60)
        if taken.returncode != 0:
            required = request.config.getoption("--require-emulated")
            give_up(f"this machine cannot translate addresses: {taken.stderr}", required)
        yield built


def let_mappings_last(network: Network, **seconds: int) -> None:
    for name, value in seconds.items():
        script = f"echo {value} > /proc/sys/net/netfilter/{name}"
        assert network.run("nat", ["sh", "-c", script], timeout=60).returncode == 0


def ports(crew: Crew) -> dict[str, int]:
    """Returns the ports in table 507 of the clients behind the router."""
    places = {client: place for _, client, place, _ in crew.rows("server", "507")}
    outside = re.compile(r"\[3ffe:0:0:99::2\]:(\d+)")
    found = {client: outside.fullmatch(place) for client, place in places.items()}
    return {client: int(match[1]) for client, match in found.items() if match}


def start(crew: Crew, program: str, *clients: str) -> None:
    for client in clients:
        crew.start(client, program=program)
    for client in clients:
        crew.wait(client, "registered")
    crew.wait_for_lans()


@pytest.mark.parametrize("dataplane", ["batch", "kernel"])
def test_two_with_the_same_port_hear_and_are_heard_also_when_it_forgets(
    request: pytest.FixtureRequest, network: Network, dataplane: str
) -> None:
    let_mappings_last(network, **LASTING)
    with crew_on(network) as crew:
        crew.configure("server", server={"dataplane": dataplane})
        crew.up("server")
        if crew.status("server")["process"]["dataplane"] != dataplane:
            required = request.config.getoption("--require-emulated")
            give_up(f"this machine cannot forward so: {crew.errors('server')}", required)
        start(crew, HASTY, *CLIENTS)
        assert eventually(lambda: len({*ports(crew).values()} - {0, 4790}) == 2)
        before = ports(crew)
        for source, target in (("t1a", "t2a"), ("t2a", "t3a"), ("t3a", "t1a")):
            assert crew.reach(source, target), (source, target)
        let_mappings_last(network, **dict.fromkeys(LASTING, 1))
        assert eventually(lambda: not {*before.items()} & {*ports(crew).items()})
        assert eventually(lambda: crew.reach("t2a", "t1a", "0.5"))
        assert eventually(lambda: crew.reach("t3a", "t2a", "0.5"))
        assert eventually(lambda: crew.counter("server", "addresses_changed") >= 4)
        assert eventually(lambda: crew.counter("c1", "bindings_answered") >= 2)


def test_a_client_that_does_not_say_where_it_is_is_not_heard(network: Network) -> None:
    let_mappings_last(network, **LASTING)
    with crew_on(network) as crew:
        crew.up("server", "c2")
        start(crew, MUTE, "c1")
        assert not crew.reach("t1a", "t2a", "0.3")
        assert not crew.reach("t2a", "t1a", "0.3")
        assert crew.counter("server", "dropped_unregistered_sender") > 0
