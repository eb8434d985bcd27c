"""A Plan is whole and checked: what does not fit together is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import networkx as nx
import pytest

from topologies.catalog import single
from topologies.plan import Group, Interface, Kind, Link, Node, Plan, PlanError, Role, Route

BASE = single(clients=2, terminals=1, second_group=2)


def _outside(near: tuple[str, str, str], far: tuple[str, str, str]) -> Link:
    first, second = (
        Interface(name, Kind.OUTSIDE, None, (ip_interface(address),))
        for _, name, address in (near, far)
    )
    return Link((near[0], far[0]), (first, second))


def _with_node(plan: Plan, name: str, change: Callable[[Node], Node]) -> Plan:
    nodes = tuple(change(node) if node.name == name else node for node in plan.nodes)
    return replace(plan, nodes=nodes)


def _with_interface(plan: Plan, name: str, change: Callable[[Interface], Interface]) -> Plan:
    links = []
    for link in plan.links:
        first, second = (change(item) if item.name == name else item for item in link.interfaces)
        links.append(replace(link, interfaces=(first, second)))
    return replace(plan, links=tuple(links))


def test_the_plan_is_a_graph_of_its_nodes_and_links() -> None:
    assert list(BASE.graph.nodes) == [node.name for node in BASE.nodes]
    assert BASE.graph.edges["c1", "l1"]["link"].interface_of("c1").name == "c1-lan"
    assert nx.is_connected(BASE.graph)
    with pytest.raises(nx.NetworkXError):
        BASE.graph.add_node("more")


def test_a_host_sends_everything_to_its_only_router() -> None:
    route = Route(ip_network("::/0"), ip_address("3ffe:aaaa::ffff"), "c1-out")
    assert BASE.routes("c1") == (route,)
    assert BASE.routes("internet") == ()
    assert BASE.routes("t1a") == ()


def test_routes_follow_the_shortest_path_and_only_routers_forward() -> None:
    # The server between r1 and r3 is the shorter way, but it is no router.
    nodes = [Node(name, Role.ROUTER) for name in ("r1", "r2", "r3")]
    nodes += [Node("server", Role.SERVER), Node("far", Role.SERVER)]
    links = (
        _outside(("r1", "r1-server", "3ffe:1::1/64"), ("server", "s-r1", "3ffe:1::2/64")),
        _outside(("r3", "r3-server", "3ffe:2::1/64"), ("server", "s-r3", "3ffe:2::2/64")),
        _outside(("r1", "r1-r2", "3ffe:3::1/64"), ("r2", "r2-r1", "3ffe:3::2/64")),
        _outside(("r2", "r2-r3", "3ffe:4::1/64"), ("r3", "r3-r2", "3ffe:4::2/64")),
        _outside(("r3", "r3-far", "3ffe:5::1/64"), ("far", "far-r3", "3ffe:5::2/64")),
    )
    plan = Plan("chain", 4, 6, (), tuple(nodes), links)
    routes = {str(route.destination): route for route in plan.routes("r1")}
    assert str(routes["3ffe:5::/64"].gateway) == "3ffe:3::2"
    assert routes["3ffe:5::/64"].interface == "r1-r2"
    assert str({str(r.destination): r for r in plan.routes("server")}["3ffe:5::/64"].gateway) == (
        "3ffe:2::1"
    )


def test_questions_about_neighbours_are_answered_from_the_graph() -> None:
    assert [node.name for node in BASE.terminals_of("c2")] == ["t2a"]
    assert BASE.client_of("t2a").name == "c2"
    assert [node.name for node in BASE.clients(1002)] == ["c3", "c4"]
    assert BASE.lan_interface("c1").name == "c1-lan"
    with pytest.raises(PlanError, match="node c9: expected a node of single"):
        BASE.neighbours("c9", Role.LAN)


def test_the_drawing_puts_the_internet_amid_and_the_server_above() -> None:
    places = single().draw_positions()
    assert places["internet"] == (0.0, 0.0)
    assert places["server"][1] > max(y for name, (_, y) in places.items() if name[0] == "c")
    assert len(set(places.values())) == len(places)
    for name, (x, y) in places.items():
        distance = {"c": 1.0, "l": 1.7, "t": 2.4}.get(name[0]) if name[-1] != "r" else None
        if distance is not None:
            assert (x * x + y * y) ** 0.5 == pytest.approx(distance, abs=0.001)


def test_the_json_tells_what_a_drawing_needs() -> None:
    resolved = BASE.to_json()
    node = next(node for node in resolved["nodes"] if node["name"] == "c1")
    assert (node["role"], node["user"], node["vpn_id"]) == ("client", "A", 1001)
    assert node["data_address"] == "3ffe:aaaa::1"
    assert len(node["position"]) == 2
    link = next(link for link in resolved["links"] if link["ends"] == ["c1", "l1"])
    assert link["interfaces"]["c1"]["name"] == "c1-lan"


def _refusals() -> list[tuple[str, Callable[[], object], str]]:
    foreign = (ip_interface("3ffe:dead::1/64"),)
    return [
        ("long name", lambda: Node("a" * 16, Role.ROUTER), "'a{16}': name: expected 1 to 15"),
        ("slash", lambda: Node("a/b", Role.ROUTER), "'a/b': name"),
        (
            "multicast MAC",
            lambda: Interface("x", Kind.LAN, mac="01:00:00:00:00:01"),
            "interface x: mac: expected a unicast",
        ),
        ("MTU", lambda: Interface("x", Kind.LAN, mtu=67), "interface x: mtu: expected 68"),
        ("group address", lambda: Group(1, ip_address("::1")), "multicast_address"),
        ("family", lambda: replace(BASE, family=5), "family: expected 4 or 6, got 5"),
        (
            "family of groups",
            lambda: replace(BASE, groups=(Group(1001, ip_address("239.1.1.1")),)),
            "group 1001: multicast_address: expected family 6",
        ),
        ("same node", lambda: replace(BASE, nodes=(*BASE.nodes, BASE.nodes[0])), "node server"),
        ("same link", lambda: replace(BASE, links=(*BASE.links, BASE.links[0])), "used twice"),
        (
            "unknown end",
            lambda: replace(BASE, nodes=BASE.nodes[:-1]),
            "link l4-t4a: ends: expected a node's name, got 't4a'",
        ),
        (
            "no user",
            lambda: _with_node(BASE, "c1", lambda node: replace(node, user=None)),
            "node c1: user",
        ),
        (
            "user twice",
            lambda: _with_node(BASE, "c2", lambda node: replace(node, user="A")),
            r"node c2: user: .*A is used twice \(first by c1\)",
        ),
        (
            "unknown group",
            lambda: _with_node(BASE, "c1", lambda node: replace(node, vpn_id=7)),
            r"node c1: vpn_id: expected one of \[1001, 1002\], got 7",
        ),
        (
            "address on a client's LAN",
            lambda: _with_interface(
                BASE, "c1-lan", lambda i: replace(i, addresses=(ip_interface("10.0.0.9/24"),))
            ),
            "node c1: interface c1-lan: addresses: expected none",
        ),
        (
            "different networks",
            lambda: _with_interface(BASE, "c1-out", lambda i: replace(i, addresses=foreign)),
            "link c1-internet: addresses: expected one network",
        ),
        (
            "different MTUs",
            lambda: _with_interface(BASE, "c1-out", lambda i: replace(i, mtu=1400)),
            "link c1-internet: mtu: expected the same",
        ),
        (
            "MAC twice in one group",
            lambda: _with_interface(
                BASE, "t2a-eth0", lambda i: replace(i, mac="02:00:00:00:aa:01")
            ),
            r"node t2a: mac: .*02:00:00:00:aa:01 is used twice \(first by t1a\)",
        ),
        (
            "address twice in one group",
            lambda: _with_interface(
                BASE,
                "t2a-eth0",
                lambda i: replace(i, addresses=(ip_interface("10.0.0.1/24"),)),
            ),
            "node t2a: addresses: .*10.0.0.1 is used twice",
        ),
        (
            "no way out",
            lambda: _with_node(BASE, "internet", lambda node: replace(node, role=Role.TERMINAL)),
            "node internet: vpn_id: expected a group for a terminal",
        ),
    ]


@pytest.mark.parametrize(
    ("make", "message"),
    [pytest.param(make, message, id=label) for label, make, message in _refusals()],
)
def test_what_does_not_fit_is_refused_by_name(make: Callable[[], object], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        make()


def test_a_network_that_no_path_leads_to_is_refused() -> None:
    routers = (Node("r1", Role.ROUTER), Node("r2", Role.ROUTER))
    servers = (Node("s1", Role.SERVER), Node("s2", Role.SERVER))
    links = (
        _outside(("r1", "r1-s1", "3ffe:1::1/64"), ("s1", "s1-r1", "3ffe:1::2/64")),
        _outside(("r2", "r2-s2", "3ffe:2::1/64"), ("s2", "s2-r2", "3ffe:2::2/64")),
    )
    with pytest.raises(PlanError, match="node r1: routes: expected a path through routers to"):
        Plan("islands", 4, 6, (), routers + servers, links)
