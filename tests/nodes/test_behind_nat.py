"""Clients behind a router that translates addresses and draws ports by chance (hole 18)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

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
FORGETS = ("nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream")
SECONDS = 1
"""How long a mapping lasts without a datagram, once the router is to forget soon."""
HASTY = """
import sys
from protocol.client import binding
binding.INTERVAL = 3_000_000_000
from nodes.client import main
sys.exit(main())
"""


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    """Builds the network of `plan_with_nat`, and makes `nat` translate."""
    rules = tmp_path / "nat.nft"
    rules.write_text(RULES)
    with emulate(plan_with_nat()) as built:
        taken = built.run("nat", ["nft", "-f", str(rules)], timeout=10)
        assert taken.returncode == 0, taken.stderr
        yield built


def ports(crew: Crew) -> dict[str, int]:
    """Returns the ports in table 507 of the clients behind the router."""
    places = {client: place for _, client, place, _ in crew.rows("server", "507")}
    outside = re.compile(r"\[3ffe:0:0:99::2\]:(\d+)")
    found = {client: outside.fullmatch(place) for client, place in places.items()}
    return {client: int(match[1]) for client, match in found.items() if match}


@pytest.mark.parametrize("dataplane", ["batch", "kernel"])
def test_two_with_the_same_port_hear_and_are_heard_also_when_it_forgets(
    network: Network, dataplane: str
) -> None:
    with crew_on(network) as crew:
        crew.configure("server", server={"dataplane": dataplane})
        crew.up("server")
        for client in ("c1", "c2", "c3"):
            crew.start(client, program=HASTY)
        for client in ("c1", "c2", "c3"):
            crew.wait(client, "registered")
        crew.wait_for_lans()
        assert eventually(lambda: len({*ports(crew).values()} - {0, 4790}) == 2)
        before = ports(crew)
        for source, target in (("t1a", "t2a"), ("t2a", "t3a"), ("t3a", "t1a")):
            assert crew.reach(source, target), (source, target)
        for name in FORGETS:
            path = f"/proc/sys/net/netfilter/{name}"
            assert network.run("nat", ["sh", "-c", f"echo {SECONDS} > {path}"]).returncode == 0
        assert eventually(lambda: not {*before.items()} & {*ports(crew).items()})
        assert eventually(lambda: crew.reach("t2a", "t1a", "0.5"))
        assert crew.reach("t3a", "t2a")
        assert crew.counter("server", "addresses_changed") >= 4
        assert crew.counter("c1", "bindings_answered") >= 2
