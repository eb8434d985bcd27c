"""A server with the kernel plane: frames flow, and nothing stays behind, however it ends."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from experiments.instrument.bpf_stats import bpf
from nodes.planes import best_sockets
from tests.nodes.running import Crew, crew_on, eventually
from topologies.catalog import cascade, single
from topologies.emulate import Network, emulate

pytestmark = pytest.mark.emulated

INTERFACE = "server-out"
PROGRAM_BY_ID = 13
SECONDS = 60.0
LOOKUP = "/proc/sys/net/ipv6/conf/lo/forwarding"


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with emulate(single(clients=3, terminals=1, second_group=0)) as built:
        yield built


@pytest.fixture
def crew(network: Network) -> Iterator[Crew]:
    with crew_on(network) as gathered:
        gathered.configure("server", server={"dataplane": "kernel"})
        yield gathered


def shown(network: Network, *command: str) -> str:
    return network.run("server", command, timeout=SECONDS).stdout


def filters(network: Network) -> list[dict[str, Any]]:
    """Lists the programs at the interface's ingress."""
    text = shown(network, "tc", "-json", "filter", "show", "dev", INTERFACE, "ingress")
    return [each["options"] for each in json.loads(text or "[]") if "options" in each]


def qdiscs(network: Network) -> str:
    return shown(network, "tc", "qdisc", "show", "dev", INTERFACE)


def is_loaded(program: int) -> bool:
    """Tells whether the kernel still has a program, by its number."""
    try:
        descriptor = bpf(PROGRAM_BY_ID, program.to_bytes(4, "little"))
    except OSError:
        return False
    os.close(descriptor)
    return True


def test_frames_flow_through_the_kernel_and_the_end_leaves_nothing(
    network: Network, crew: Crew
) -> None:
    before = qdiscs(network)
    crew.up("server", "c1", "c2", "c3")
    assert "data plane kernel" in crew.output("server")
    (attached,) = filters(network)
    assert attached["bpf_name"].startswith("blindrelay")
    for _ in range(3):
        assert crew.reach("t1a", "t2a")
        assert crew.reach("t3a", "t2a")
    status = crew.status("server")
    assert status["process"]["dataplane"] == "kernel"
    assert status["counters"]["kernel_flows"] >= 4
    handled = status["counters"]["datagrams_in"]
    assert handled > status["counters"]["kernel_passed_up"]
    assert crew.end("c1", "c2", "c3", "server") == [0, 0, 0, 0]
    assert filters(network) == []
    assert qdiscs(network) == before
    assert shown(network, "cat", LOOKUP) == "0\n"
    assert eventually(lambda: not is_loaded(attached["prog"]["id"]))


def test_a_killed_relay_leaves_a_program_that_the_next_one_removes(
    network: Network, crew: Crew
) -> None:
    before = qdiscs(network)
    crew.up("server")
    (first,) = filters(network)
    crew.kill("server")
    assert filters(network) == [first]
    crew.up("server")
    (second,) = filters(network)
    assert second["prog"]["id"] != first["prog"]["id"]
    assert eventually(lambda: not is_loaded(first["prog"]["id"]))
    assert crew.end("server") == [0]
    assert filters(network) == []
    assert qdiscs(network) == before
    assert shown(network, "cat", LOOKUP) == "0\n"


def test_what_a_killed_relay_left_can_be_cleared_without_another_and_what_runs_stays(
    network: Network, crew: Crew
) -> None:
    before = qdiscs(network)
    clear = (sys.executable, "-m", "nodes.kernel")
    crew.up("server")
    shown(network, *clear)
    assert len(filters(network)) == 1
    crew.kill("server")
    shown(network, *clear)
    assert filters(network) == []
    assert qdiscs(network) == before
    assert shown(network, "cat", LOOKUP) == "0\n"


def test_other_filters_and_their_qdisc_stay(network: Network, crew: Crew) -> None:
    matching = ("bpf", "bytecode", "1,6 0 0 0")
    at = ("dev", INTERFACE, "egress")
    crew.up("server")
    shown(network, "tc", "filter", "add", *at, *matching)
    theirs = shown(network, "tc", "filter", "show", *at)
    assert "bytecode" in theirs
    assert crew.end("server") == [0]
    assert filters(network) == []
    assert shown(network, "tc", "filter", "show", *at) == theirs
    shown(network, "tc", "qdisc", "del", "dev", INTERFACE, "clsact")


@pytest.mark.parametrize("cleared_by", ["the next relay", "make clean"])
def test_of_a_killed_relay_goes_its_filter_alone(
    network: Network, crew: Crew, cleared_by: str
) -> None:
    """Another's filter at the same ingress, with another's qdisc, is as it was before."""
    at = ("dev", INTERFACE, "ingress")
    shown(network, "tc", "qdisc", "add", "dev", INTERFACE, "clsact")
    try:
        shown(network, "tc", "filter", "add", *at, "prio", "7", "bpf", "bytecode", "1,6 0 0 -1")
        before, theirs = qdiscs(network), shown(network, "tc", "filter", "show", *at)
        crew.up("server")
        assert shown(network, "tc", "filter", "show", *at) != theirs
        crew.kill("server")
        assert "blindrelay" in shown(network, "tc", "filter", "show", *at)
        if cleared_by == "make clean":
            shown(network, sys.executable, "-m", "nodes.kernel")
        else:
            crew.up("server")
            assert crew.end("server") == [0]
        assert shown(network, "tc", "filter", "show", *at) == theirs
        assert qdiscs(network) == before
        assert shown(network, "cat", LOOKUP) == "0\n"
    finally:
        shown(network, "tc", "qdisc", "del", "dev", INTERFACE, "clsact")


def test_a_server_that_may_not_forward_in_the_kernel_says_so_and_serves(
    network: Network, crew: Crew
) -> None:
    crew.configure("server", server={"strip": "patent"})
    crew.up("server", "c1", "c2")
    (line,) = crew.errors("server")
    assert "this machine cannot forward in the kernel: strip" in line
    assert crew.status("server")["process"]["dataplane"] != "kernel"
    assert crew.reach("t1a", "t2a")
    assert filters(network) == []


def test_the_kernel_serves_where_nothing_is_said_of_the_data_plane(
    network: Network, crew: Crew
) -> None:
    crew.configure("server", server={"dataplane": None})
    crew.up("server", "c1", "c2")
    assert "data plane kernel\n" in crew.output("server")
    assert crew.status("server")["process"]["dataplane"] == "kernel"
    assert crew.reach("t1a", "t2a")
    assert crew.end("c1", "c2", "server") == [0, 0, 0]
    assert filters(network) == []


def test_what_kept_the_kernel_from_serving_is_said_at_the_start_where_it_was_not_asked_for(
    network: Network, crew: Crew
) -> None:
    crew.configure("server", server={"dataplane": None, "strip": "patent"})
    crew.up("server", "c1", "c2")
    assert crew.errors("server") == []
    sockets = best_sockets()
    assert f"data plane {sockets}; not in the kernel: strip" in crew.output("server")
    assert crew.status("server")["process"]["dataplane"] == sockets
    assert crew.reach("t1a", "t2a")
    assert filters(network) == []


def test_a_user_without_rights_is_told_and_served_by_sockets(network: Network, crew: Crew) -> None:
    crew.start("server", wrapper=("setpriv", "--bounding-set", "-all", "--inh-caps", "-all"))
    crew.wait("server", "serving")
    (line,) = crew.errors("server")
    assert "not permitted: needs root" in line
    assert filters(network) == []


@pytest.mark.parametrize("dataplane", ["socket", "batch", "kernel"])
def test_with_tags_required_frames_flow_and_clients_skip_the_tag(
    network: Network, crew: Crew, dataplane: str
) -> None:
    crew.configure("server", server={"dataplane": dataplane, "hop_tags": "required"})
    crew.up("server", "c1", "c2", "c3")
    for _ in range(2):
        assert crew.reach("t1a", "t2a")
    if dataplane == "kernel":
        assert crew.status("server")["counters"]["kernel_flows"] >= 2
    assert crew.counter("server", "dropped_forged_hop_tag") == 0
    assert crew.rows("c1", "309")[0].count(1338) == 1
    assert crew.end("c1", "c2", "c3", "server") == [0, 0, 0, 0]


def test_vpn_servers_forward_in_the_kernel_to_each_other_and_to_their_clients() -> None:
    plan = cascade()
    relays = [relay.name for relay in plan.relays]
    clients = ["c1", "c3", "c5"]
    with emulate(plan) as network, crew_on(network) as crew:
        for relay in relays:
            crew.configure(relay, relay={"dataplane": "kernel"})
        crew.up("server", *relays, *clients)
        for _ in range(3):
            assert crew.reach("t1a", "t3a")
            assert crew.reach("t1a", "t5a")
        for relay in relays:
            assert "data plane kernel" in crew.output(relay)
        assert sum(crew.counter(relay, "kernel_flows") for relay in relays) >= 4
        assert crew.end(*clients, *relays, "server") == [0] * (len(clients) + len(relays) + 1)
        for relay in relays:
            at = ("dev", f"{relay}-out", "ingress")
            assert network.run(relay, ("tc", "filter", "show", *at), timeout=SECONDS).stdout == ""
