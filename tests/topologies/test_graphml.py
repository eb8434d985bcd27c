"""A user's own graph becomes a Plan, and what is missing or wrong in the file is named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from topologies.catalog import CATALOG
from topologies.emulate import emulate
from topologies.graphml import SHAPES, read_plan
from topologies.plan import Plan, PlanError, Role
from topologies.trees import with_a_way_round

CHECKOUT = Path(__file__).parents[2]
EXAMPLE = CHECKOUT / "topologies" / "examples" / "three-sites.graphml"
COASTS = CHECKOUT / "topologies" / "examples" / "two-coasts.graphml"

Given = Mapping[str, object]
Edge = tuple[str, str, Given]

NODES: dict[str, Given] = {
    "r": {"role": "router"},
    "s": {"role": "server"},
    "one": {"role": "client", "vpn_id": 7},
    "two": {"role": "client", "vpn_id": 7},
}
EDGES: list[Edge] = [("r", "s", {}), ("r", "one", {}), ("two", "r", {})]
RELAYED: dict[str, Given] = {**NODES, "v": {"role": "relay"}}
RELAYED_EDGES: list[Edge] = [*EDGES, ("v", "r", {"delay_ms": 1.5, "rate_mbit": 2})]
MESHED: dict[str, Given] = {**NODES, "r": {"role": "router", "multicast": "true"}}


def written(
    folder: Path,
    nodes: Mapping[str, Given],
    edges: Iterable[Edge],
    graph: Given | None = None,
    name: str = "mine.graphml",
) -> Path:
    """Writes a GraphML file whose attributes are all texts."""
    keys: dict[tuple[str, str], str] = {}

    def data(kind: str, given: Given) -> str:
        parts = []
        for attribute, value in given.items():
            key = keys.setdefault((kind, attribute), f"k{len(keys)}")
            parts.append(f'<data key="{key}">{value}</data>')
        return "".join(parts)

    body = [f'<node id="{node}">{data("node", given)}</node>' for node, given in nodes.items()]
    body += [
        f'<edge source="{one}" target="{two}">{data("edge", given)}</edge>'
        for one, two, given in edges
    ]
    body.append(data("graph", graph or {}))
    head = [
        f'<key id="{key}" for="{kind}" attr.name="{attribute}" attr.type="string"/>'
        for (kind, attribute), key in keys.items()
    ]
    path = folder / name
    path.write_text(
        '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">'
        f'{"".join(head)}<graph edgedefault="undirected">{"".join(body)}</graph></graphml>'
    )
    return path


def test_a_file_becomes_a_plan_with_lans_terminals_and_addresses(tmp_path: Path) -> None:
    nodes = {**NODES, "two": {"role": "client", "vpn_id": 7, "terminals": 3}}
    plan = read_plan(written(tmp_path, nodes, EDGES), terminals=1)
    assert (plan.name, plan.embodiment, plan.family) == ("mine", 1, 6)
    assert [(node.name, node.user, node.vpn_id) for node in plan.clients()] == [
        ("one", "A", 7),
        ("two", "B", 7),
    ]
    assert [node.name for node in plan.terminals_of("two")] == ["t2a", "t2b", "t2c"]
    assert [str(plan.data_address(name)) for name in ("s", "one")] == ["3ffe::1000", "3ffe:aaaa::1"]
    assert plan.command("s", "python", "/run")[2:] == ("nodes.server", "--config", "/run/s.toml")


def test_delays_and_rates_are_those_of_the_edges(tmp_path: Path) -> None:
    plan = read_plan(written(tmp_path, RELAYED, RELAYED_EDGES))
    (link,) = plan.links_of("v")
    assert (link.delay_ns, link.rate_bits) == (1_500_000, 2_000_000)
    (link,) = plan.links_of("s")
    assert not link.shaped
    assert plan.delays("one") == {"v": 1_500_000}


@pytest.mark.parametrize(
    ("nodes", "edges", "graph", "shape"),
    [
        (NODES, EDGES, {}, "single"),
        (MESHED, EDGES, {}, "multicast"),
        (MESHED, EDGES, {"topo": "single"}, "single"),
        (RELAYED, RELAYED_EDGES, {}, "multiserver"),
        (RELAYED, RELAYED_EDGES, {"topo": "cascade"}, "cascade"),
        (RELAYED, RELAYED_EDGES, {"embodiment": 5}, "cascade"),
    ],
)
def test_the_shape_is_the_named_one_or_follows_from_the_roles(
    tmp_path: Path, nodes: Mapping[str, Given], edges: list[Edge], graph: Given, shape: str
) -> None:
    plan = read_plan(written(tmp_path, nodes, edges, graph))
    assert plan.embodiment == SHAPES[shape] == CATALOG[shape]().embodiment
    assert bool(plan.multicast_routers) == (shape == "multicast")
    assert bool(plan.relays) == (shape in ("multiserver", "cascade"))


def test_defaults_of_the_file_count_and_other_programs_attributes_are_let_pass(
    tmp_path: Path,
) -> None:
    text = written(tmp_path, {**NODES, "r": {"role": "router", "label": "R", "x": 1}}, EDGES)
    path = tmp_path / "defaults.graphml"
    path.write_text(
        text.read_text().replace(
            "<graph edge",
            '<key id="d" for="edge" attr.name="delay_ms" attr.type="double"><default>2</default>'
            "</key><graph edge",
        )
    )
    assert {link.delay_ns for link in read_plan(path).links if link.kind.value == "outside"} == {
        2_000_000
    }


@pytest.mark.parametrize("family", [4, 6])
def test_the_example_has_three_sites_with_delay_and_a_rate(family: int) -> None:
    plan = read_plan(EXAMPLE, family=family)
    assert len(plan.with_role(Role.ROUTER)) == 3
    assert [len(plan.clients(group.vpn_id)) for group in plan.groups] == [3, 2]
    assert sorted(filter(None, (link.delay_ns for link in plan.links))) == [
        500_000,
        3_000_000,
        6_000_000,
        12_000_000,
    ]
    assert [link.rate_bits for link in plan.links if link.rate_bits] == [100_000_000]
    names = [item.name for node in plan.nodes for item in plan.interfaces(node.name)]
    assert len(set(names)) == len(names)


def _with(name: str, **given: object) -> dict[str, Given]:
    return {**NODES, name: given}


CLIENTS: dict[str, Given] = {f"x{i}": {"role": "client", "vpn_id": 7} for i in range(65)}
MISTAKES: dict[str, tuple[Mapping[str, Given], list[Edge], Given, str]] = {
    "no role": (
        _with("r"),
        EDGES,
        {},
        "node r: role: expected one of router, server, relay, client, got nothing",
    ),
    "unknown role": (_with("r", role="hub"), EDGES, {}, "node r: role: expected one of .*'hub'"),
    "undeclared node": (NODES, [*EDGES, ("r", "more", {})], {}, "node more: role: expected"),
    "no VPN": (_with("one", role="client"), EDGES, {}, "node one: vpn_id: expected a VPN ID"),
    "VPN 0": (_with("one", role="client", vpn_id=0), EDGES, {}, "node one: vpn_id: expected 1 to"),
    "VPN of letters": (
        _with("one", role="client", vpn_id="a"),
        EDGES,
        {},
        "node one: vpn_id: .*'a'",
    ),
    "half a VPN": (_with("one", role="client", vpn_id=1.5), EDGES, {}, "node one: vpn_id: .*'1.5'"),
    "alone": (
        _with("one", role="client", vpn_id=8),
        EDGES,
        {},
        "clients of VPN 7: expected 2 to 64, got 1",
    ),
    "terminals": (
        _with("one", role="client", vpn_id=7, terminals=27),
        EDGES,
        {},
        "node one: terminals: expected 1 to 26, got '27'",
    ),
    "multicast": (
        _with("r", role="router", multicast="perhaps"),
        EDGES,
        {},
        "node r: multicast: expected true or false, got 'perhaps'",
    ),
    "long name": (
        {**NODES, "elevenchars": {"role": "router"}},
        EDGES,
        {},
        "node 'elevenchars': name: expected 1 to 10 letters",
    ),
    "name": ({**NODES, "a;b": {"role": "router"}}, EDGES, {}, "node 'a;b': name: expected"),
    "taken name": (
        {**NODES, "l1": {"role": "router"}},
        [*EDGES, ("l1", "r", {})],
        {},
        "node l1: name: expected one of its own",
    ),
    "no uplink": (NODES, EDGES[:2], {}, "node two: edges: expected one, to a router, got nothing"),
    "two uplinks": (
        {**NODES, "q": {"role": "router"}},
        [*EDGES, ("two", "q", {}), ("q", "r", {})],
        {},
        "node two: edges: expected one, to a router, got r, q",
    ),
    "no router": (NODES, [*EDGES, ("one", "two", {})], {}, "edge one-two: ends: expected at least"),
    "islands": (
        {**NODES, "q": {"role": "router"}},
        EDGES,
        {},
        "node q: edges: expected a way to s",
    ),
    "twice": (NODES, [*EDGES, ("one", "r", {})], {}, "edge .*: expected once, got it twice"),
    "loop": (NODES, [*EDGES, ("r", "r", {})], {}, "edge r-r: ends: expected two different nodes"),
    "negative delay": (
        NODES,
        [("r", "s", {"delay_ms": -1}), *EDGES[1:]],
        {},
        "edge r-s: delay_ms: expected 0 to 10000, got '-1'",
    ),
    "delay of nothing": (
        NODES,
        [("r", "s", {"delay_ms": "nan"}), *EDGES[1:]],
        {},
        "edge r-s: delay_ms: expected",
    ),
    "rate of 0": (
        NODES,
        [("r", "s", {"rate_mbit": 0}), *EDGES[1:]],
        {},
        "edge r-s: rate_mbit: expected 0.001 to 1000000, got '0'",
    ),
    "misspelt": (
        NODES,
        [("r", "s", {"delay": 3}), *EDGES[1:]],
        {},
        "edge r-s: delay: expected the name delay_ms",
    ),
    "no server": (_with("s", role="router"), EDGES, {}, "servers: expected 1, got 0"),
    "two servers": (
        {**NODES, "z": {"role": "server"}},
        [*EDGES, ("z", "r", {})],
        {},
        "servers: expected 1, got 2",
    ),
    "too many": (
        {**NODES, **CLIENTS},
        [*EDGES, *((name, "r", {}) for name in CLIENTS)],
        {},
        "clients: expected 2 to 64, got 67",
    ),
    "unknown shape": (NODES, EDGES, {"topo": "ring"}, "graph: topo: expected one of single,"),
    "two shapes": (
        NODES,
        EDGES,
        {"topo": "single", "embodiment": 3},
        "graph: embodiment: expected 1 for single, got 3",
    ),
    "relay of one": (
        RELAYED,
        RELAYED_EDGES,
        {"topo": "single"},
        "relays of single: expected 0, got 1",
    ),
    "no relay": (NODES, EDGES, {"topo": "cascade"}, "relays of cascade: expected 1 to 8, got 0"),
    "unicast router": (
        {**MESHED, "q": {"role": "router"}},
        [*EDGES[:2], ("two", "q", {}), ("q", "r", {})],
        {},
        "node q: multicast: expected true, because client two hangs on it",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_with_the_file_and_the_place(tmp_path: Path, name: str) -> None:
    nodes, edges, graph, message = MISTAKES[name]
    with pytest.raises(PlanError, match=rf"^mine\.graphml: {message}") as refusal:
        read_plan(written(tmp_path, nodes, edges, graph))
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "this is no XML",
        "<html/>",
        "<graphml xmlns='http://graphml.graphdrawing.org/xmlns'><graph><node id='a'>"
        "<data key='none'>1</data></node></graph></graphml>",
        "<graphml xmlns='http://graphml.graphdrawing.org/xmlns'><key id='k' for='node' "
        "attr.name='vpn_id' attr.type='int'/><graph><node id='a'><data key='k'>x</data></node>"
        "</graph></graphml>",
    ],
)
def test_what_is_no_graphml_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.graphml"
    path.write_text(text)
    with pytest.raises(PlanError, match=r"^mine\.graphml: expected GraphML: ") as refusal:
        read_plan(path)
    assert len(str(refusal.value).splitlines()) == 1


def test_a_file_that_is_not_there_or_has_a_topologys_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"none\.graphml: expected a file that is there"):
        read_plan(tmp_path / "none.graphml")
    for name in ("single.graphml", "my file.graphml"):
        with pytest.raises(PlanError, match=f"{name}: name: expected letters"):
            read_plan(written(tmp_path, NODES, EDGES, name=name))


RING: dict[str, Given] = {
    "u": {"role": "router"},
    "ma": {"role": "router", "multicast": "true"},
    "mb": {"role": "router", "multicast": "true"},
    "s": {"role": "server"},
    "one": {"role": "client", "vpn_id": 7},
    "two": {"role": "client", "vpn_id": 7},
}
RING_EDGES: list[Edge] = [("u", "s", {}), ("one", "ma", {}), ("two", "mb", {})]


def test_multicast_routers_that_find_their_ways_get_no_route_out_of_their_midst_and_back(
    tmp_path: Path,
) -> None:
    ways: list[Edge] = [("ma", "mb", {"delay_ms": 20}), ("ma", "u", {}), ("mb", "u", {})]
    path = written(tmp_path, RING, [*RING_EDGES, *ways])
    plan = read_plan(path, family=4)
    # The least delay from one to the other is by u, which forwards no multicast packet.
    for router in plan.multicast_routers:
        assert [str(route.destination) for route in plan.routes(router)] == ["198.18.0.0/24"]
    assert len(plan.routes("u")) == 3
    assert len(read_plan(path).routes("ma")) == 3


def test_a_route_that_leads_out_and_in_again_is_learnt_too(tmp_path: Path) -> None:
    nodes = {**RING, "v": {"role": "router"}}
    ways: list[Edge] = [
        ("ma", "mb", {"delay_ms": 20}),
        ("ma", "v", {}),
        ("v", "mb", {}),
        ("mb", "u", {}),
    ]
    plan = read_plan(written(tmp_path, nodes, [*RING_EDGES, *ways]), family=4)
    assert plan.routes("ma") == ()
    assert [str(route.destination) for route in plan.routes("mb")] == ["198.18.0.0/24"]


def test_multicast_routers_that_find_their_ways_must_meet_each_other(tmp_path: Path) -> None:
    path = written(tmp_path, RING, [*RING_EDGES, ("ma", "u", {}), ("mb", "u", {})])
    with pytest.raises(
        PlanError, match=r"node mb: edges: expected a way to ma through multicast routers alone"
    ):
        read_plan(path, family=4)


@pytest.mark.parametrize("family", [4, 6])
def test_the_example_with_servers_has_two_ways_everywhere(family: int) -> None:
    plan = read_plan(COASTS, family=family)
    assert (plan.embodiment, len(plan.relays), len(plan.clients())) == (4, 3, 5)
    assert plan.delays("depot") == {"vpn-w": 9_000_000, "vpn-e1": 2_000_000, "vpn-e2": 2_000_000}
    positions = plan.draw_positions()
    assert len(set(positions.values())) == len(positions)
    routers = [node.name for node in plan.with_role(Role.ROUTER)]
    assert len(with_a_way_round(plan.links, routers)) == 4


def test_a_link_without_which_routers_fall_apart_has_no_way_round(tmp_path: Path) -> None:
    ways: list[Edge] = [("ma", "mb", {}), ("mb", "u", {}), ("u", "ma", {})]
    plan = read_plan(written(tmp_path, RING, [*RING_EDGES, *ways]))
    assert with_a_way_round(plan.links, ("ma", "mb")) == []
    assert with_a_way_round(plan.links, ()) == []
    assert {link.name for link in with_a_way_round(plan.links, ("u", "ma", "mb"))} == {
        "ma-mb",
        "u-mb",
        "u-ma",
    }


def test_the_same_file_gives_the_same_plan() -> None:
    first, second = read_plan(EXAMPLE), read_plan(EXAMPLE)
    assert isinstance(first, Plan)
    assert first == second


@pytest.mark.emulated
def test_the_example_can_be_built_and_its_delays_are_there() -> None:
    plan = read_plan(EXAMPLE, terminals=1)
    with emulate(plan) as network:
        ping = ["ping", "-n", "-c", "10", "-i", "0.01", "-W", "2", str(plan.data_address("branch"))]
        shown = network.run("office", ping, timeout=120).stdout
    times = [
        float(word.removeprefix("time=")) for word in shown.split() if word.startswith("time=")
    ]
    # Half a millisecond to the first router and six to the second, there and back.
    assert 13 <= min(times) < 15
