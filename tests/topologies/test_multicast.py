"""The multicast topology: its trees, and the routes that real routers' kernels have."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from ipaddress import IPv6Address

import networkx as nx
import pytest

from experiments.embodiments.multicast.invariants import tree_interfaces
from tests.namespaces import inside
from topologies.catalog import multicast
from topologies.emulate import Network, emulate
from topologies.parts import Kind, MulticastRoute
from topologies.plan import Plan, PlanError, Role
from topologies.smcroute import configuration, installed

LISTEN = """
import socket, struct, sys
sys.path.insert(0, sys.argv[1])
from ipaddress import ip_address
from nodes.esp_socket import EspSocket
esp = EspSocket(ip_address(sys.argv[2]), sys.argv[3])
esp.join(ip_address(sys.argv[4]))
print("ready", flush=True)
import select
for _ in range(2):
    select.select([esp.fileno()], [], [], 10)
    received = esp.receive()
    print(received and received.packet.hex(), flush=True)
"""
SEND = """
import sys
sys.path.insert(0, sys.argv[1])
from ipaddress import ip_address
from nodes.esp_socket import EspSocket, interface_with
address = ip_address(sys.argv[2])
esp = EspSocket(address, interface_with(address))
esp.join(ip_address(sys.argv[3]))
sent = [esp.send(bytes(size), ip_address(sys.argv[3])) for size in (64, 1460, 1461)]
print(*sent, esp.refused, esp.receive())
"""


def routers(plan: Plan) -> nx.Graph:
    graph: nx.Graph = plan.graph.subgraph(plan.multicast_routers)
    return graph


def test_there_are_four_routers_in_a_mesh_that_stands_the_loss_of_any_link() -> None:
    mesh = routers(multicast())
    assert len(mesh) == 4
    assert nx.edge_connectivity(mesh) >= 2


def test_the_server_has_no_part_in_the_multicast_network() -> None:
    plan = multicast()
    (neighbour,) = plan.neighbours("server", Role.ROUTER)
    assert not neighbour.multicast
    assert plan.multicast_routes(neighbour.name) == ()
    assert not any(
        "internet" in place
        for client in plan.clients()
        for place in tree_interfaces(plan, client.name)
    )


@pytest.mark.parametrize("clients", [2, 4, 9])
def test_every_tree_leads_to_every_other_member_once_over_shortest_paths(clients: int) -> None:
    plan = multicast(clients=clients)
    for group in plan.groups:
        members = [client.name for client in plan.clients(group.vpn_id)]
        for source in members:
            hops = follow(plan, source)
            assert sorted(hops) == sorted(set(members) - {source})
            assert hops == {
                name: nx.shortest_path_length(plan.graph, source, name) for name in hops
            }


def follow(plan: Plan, source: str) -> dict[str, int]:
    """Follows a packet of ``source`` along the routes; returns the clients it reaches, and how far."""
    ends = {
        (end, interface.name): link.other_end(end)
        for link in plan.links
        for end, interface in zip(link.ends, link.interfaces, strict=True)
    }
    address = plan.data_address(source)
    reached: dict[str, int] = {}
    (link,) = [link for link in plan.links_of(source) if link.kind is Kind.OUTSIDE]
    waiting = [(link.other_end(source), source, 1)]
    while waiting:
        name, before, hops = waiting.pop()
        if name not in plan.multicast_routers:
            assert name not in reached
            reached[name] = hops
            continue
        (route,) = [one for one in plan.multicast_routes(name) if one.source == address]
        assert ends[name, route.incoming] == before
        waiting += [(ends[name, out], name, hops + 1) for out in route.outgoing]
    return reached


def test_the_plan_is_the_same_in_every_process() -> None:
    program = "from topologies.catalog import multicast; print(multicast(9).to_json())"
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PATH": "/usr/bin"},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(texts) == 1


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"family": 5}, "multicast: family: expected 4 or 6, got 5"),
        ({"clients": 49}, "multicast: clients: expected 2 to 48, got 49"),
    ],
)
def test_what_cannot_be_planned_is_refused(parameters: dict[str, int], complaint: str) -> None:
    with pytest.raises(PlanError) as refusal:
        multicast(**parameters)
    assert str(refusal.value) == complaint


def test_a_router_is_told_its_interfaces_and_then_its_routes() -> None:
    route = MulticastRoute(IPv6Address("ff1e::1"), IPv6Address("3ffe::5"), "in", ("one", "two"))
    assert configuration([route]) == (
        "phyint in enable\nphyint one enable\nphyint two enable\n"
        "mroute from in source 3ffe::5 group ff1e::1 to one two\n"
    )


@pytest.mark.emulated
def test_packets_reach_the_group_over_real_routers_and_nobody_else() -> None:
    plan = multicast(clients=4, terminals=1)
    group = str(plan.groups[0].multicast_address)
    with emulate(plan) as network:
        for router in plan.multicast_routers:
            wanted = {(route.group, route.source) for route in plan.multicast_routes(router)}
            assert installed(network.pid(router)) == wanted
        listeners = {}
        for name in ("c2", "c3", "c4"):
            argv = [
                sys.executable,
                "-c",
                LISTEN,
                ".",
                str(plan.data_address(name)),
                f"{name}-out",
                group,
            ]
            listeners[name] = network.popen(name, argv, stdout=subprocess.PIPE, text=True)
        for process in listeners.values():
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        outsider = everything(network, "server", "server-out")
        member = everything(network, "c2", "c2-out")
        argv = [sys.executable, "-c", SEND, ".", str(plan.data_address("c1")), group]
        sent = network.run("c1", argv, timeout=120)
        # The third is a packet of 1501 octets; the sender gets none of its own back.
        assert sent.stdout.split() == ["True", "True", "False", "1", "None"]
        for process in listeners.values():
            output, _ = process.communicate(timeout=120)
            assert output.split() == [bytes(64).hex(), bytes(1460).hex()]
        packed = plan.groups[0].multicast_address.packed
        assert [any(packed in frame for frame in came(one)) for one in (outsider, member)] == [
            False,
            True,
        ]


def everything(network: Network, node: str, interface: str) -> socket.socket:
    """Opens a socket that gets every frame of an interface."""
    with inside(network.pid(node)):
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
    opened.bind((interface, 0x0003))
    opened.setblocking(False)
    return opened


def came(opened: socket.socket) -> list[bytes]:
    """Takes what has come, and closes the socket."""
    found: list[bytes] = []
    with opened, contextlib.suppress(BlockingIOError):
        while True:
            found.append(opened.recv(65536))
    return found
