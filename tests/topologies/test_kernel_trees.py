"""The kernels' multicast tables are read as they are, and what is no tree is told."""

from __future__ import annotations

import sys
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from topologies.catalog import multicast
from topologies.kernel_trees import Routes, follow, parse_routes, tree_faults
from topologies.plan import MulticastRoute

PLAN = multicast(clients=3, terminals=1, second_group=0, family=4)
GROUP, SOURCE = PLAN.groups[0].multicast_address, PLAN.data_address("c1")
INTERFACES = """Interface      BytesIn  PktsIn  BytesOut PktsOut Flags Local    Remote
 0 m1-m2             0       0         0       0 00000 010113C6 00000000
 1 pimreg            0       0         0       0 00004 010113C6 00000000
 2 m1-c1          1000      10         0       0 00000 FE0112C6 00000000
"""


def number(address: str) -> str:
    """Writes an address as the kernel does."""
    return f"{int.from_bytes(IPv4Address(address).packed, sys.byteorder):08X}"


def planned() -> dict[str, list[MulticastRoute]]:
    """Gives every router the Plan's routes."""
    return {router: list(PLAN.multicast_routes(router)) for router in PLAN.multicast_routers}


def with_route(router: str, **changes: object) -> Routes:
    """Changes a router's route for packets of c1."""
    return {
        name: [
            replace(route, **changes) if (name, route.source) == (router, SOURCE) else route  # type: ignore[arg-type]
            for route in routes
        ]
        for name, routes in planned().items()
    }


def test_routes_are_read_and_entries_that_wait_are_not() -> None:
    group, source = number("239.192.0.1"), number("198.18.1.1")
    cache = (
        "Group    Origin   Iif     Pkts    Bytes    Wrong Oifs\n"
        f"{group} {source} 2         10     1000        0  1:1    0:1\n"
        f"{group} {number('198.18.2.1')} -1         0        0        0\n"
    )
    assert parse_routes(INTERFACES, cache) == (
        MulticastRoute(
            IPv4Address("239.192.0.1"), IPv4Address("198.18.1.1"), "m1-c1", ("m1-m2", "pimreg")
        ),
    )


def test_the_plans_own_routes_are_trees() -> None:
    assert tree_faults(PLAN, planned()) == []


def test_a_tree_is_the_interfaces_that_packets_pass() -> None:
    tree = follow(PLAN, "c1", planned())
    passed = {"m1-c1", "m1-m2", "m1-m3", "m2-m1", "m2-c2", "m3-m1", "m3-c3"}
    assert tree.interfaces == passed
    assert tree.faults == ()


@pytest.mark.parametrize(
    ("router", "changes", "fault"),
    [
        ("m2", {"outgoing": ()}, "m2: no way on for c1"),
        ("m2", {"incoming": "m2-m3"}, "m2: refuses packets of c1 from m1"),
        ("m2", {"outgoing": ("m2-c2", "m2-m3")}, "m3: refuses packets of c1 from m"),
        ("m1", {"outgoing": ("m1-m2",)}, "c3: not reached from c1"),
        ("m1", {"outgoing": ("m1-m2", "m1-m3", "m1-m4")}, "m4: no way on for c1"),
        ("m2", {"outgoing": ("m2-c2", "pimreg")}, "m2: still sends packets of c1 in registers"),
    ],
)
def test_what_is_no_tree_is_told(router: str, changes: dict[str, object], fault: str) -> None:
    faults = follow(PLAN, "c1", with_route(router, **changes)).faults
    assert any(found.startswith(fault) for found in faults), faults


def test_registers_of_the_rendezvous_router_to_itself_pass_no_link() -> None:
    tree = follow(PLAN, "c1", with_route("m1", outgoing=("m1-m2", "m1-m3", "pimreg")))
    assert tree == follow(PLAN, "c1", planned())


def test_a_client_of_another_group_is_not_to_be_reached() -> None:
    plan = multicast(clients=3, terminals=1, second_group=2, family=4)
    routes = {router: list(plan.multicast_routes(router)) for router in plan.multicast_routers}
    routes["m1"] = [
        replace(route, outgoing=(*route.outgoing, "m1-c5")) if route.source == SOURCE else route
        for route in routes["m1"]
    ]
    assert follow(plan, "c1", routes).faults == ("c5: not to be reached from c1",)
