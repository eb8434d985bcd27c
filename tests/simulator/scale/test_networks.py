"""Tests of simulator.scale.networks and simulator.scale.routers."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from simulator.scale.networks import network
from simulator.scale.routers import NetworkError, from_graph
from simulator.scale.trees import Paths

EXAMPLES = Path(__file__).resolve().parents[3] / "topologies" / "examples"


@pytest.mark.parametrize(
    ("name", "routers", "links"),
    [
        ("topozoo/Abilene", 11, 14),
        ("sndlib/polska", 12, 18),
        ("caida/2024-08/7018", 594, 1674),
        ("backbone/world", 3815, 5189),
    ],
)
def test_the_collection_has_networks_of_the_real_world(name: str, routers: int, links: int) -> None:
    found = network(name)
    assert (found.count, len(found.links)) == (routers, links)
    assert found.delays.max() < 100_000_000
    assert np.isfinite(found.positions).all()


def test_light_takes_five_microseconds_a_kilometre() -> None:
    abilene = network("topozoo/Abilene")
    arc = next(
        arc for arc in range(abilene.arcs) if (abilene.tails[arc], abilene.heads[arc]) == (0, 1)
    )
    assert abilene.delays[arc] == 1146.16 * 5000


def test_of_a_backbone_only_cities_have_clients() -> None:
    world = network("backbone/world")
    assert world.access.sum() == 1246
    assert network("topozoo/Abilene").access.all()


@pytest.mark.parametrize("name", ["internet:1000", "waxman:200", "barabasi:50"])
def test_generated_networks_depend_on_the_seed_alone(name: str) -> None:
    one, same, other = network(name, 1), network(name, 1), network(name, 2)
    assert np.array_equal(one.tails, same.tails)
    assert np.array_equal(one.delays, same.delays)
    assert not np.array_equal(one.heads, other.heads)
    assert one.count + one.left_out == int(name.partition(":")[2])


def test_a_graphml_file_may_say_delays_or_distances(tmp_path: Path) -> None:
    path = tmp_path / "small.graphml"
    graph = nx.Graph([("a", "b", {"delay_ms": 2.5}), ("b", "c", {"dist": 10.0})])
    nx.write_graphml(graph, path)
    found = network(str(path))
    assert sorted(set(found.delays.tolist())) == [50_000, 2_500_000]
    assert len(list(EXAMPLES.glob("*.graphml"))) >= 2
    for example in EXAMPLES.glob("*.graphml"):
        assert Paths(network(str(example))).routers.count > 4


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere", "network nowhere: expected one of topohub"),
        ("Germany-50", r"expected one of topohub \(as sndlib/germany50"),
        ("?", r"expected one of topohub \(as backbone/world\), a file"),
        ("backbone/atlantis", "expected one of topohub"),
        ("waxman:many", "expected 4 to 20000 routers"),
        ("internet:999", "expected 1000 to"),
        ("mesh:7", "expected one of internet"),
        ("missing.graphml", "expected a file that is there"),
    ],
)
def test_a_name_that_is_none_is_refused(name: str, words: str) -> None:
    with pytest.raises(NetworkError, match=words):
        network(name)


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(NetworkError, match="two routers and a link"):
        from_graph(nx.empty_graph(3), "dust")
    with pytest.raises(NetworkError, match="link a to b: expected a delay"):
        from_graph(nx.Graph([("a", "b", {"dist": -1.0})]), "odd")


def test_routers_without_a_way_to_the_others_are_left_out_and_counted() -> None:
    graph = nx.disjoint_union(nx.cycle_graph(5), nx.path_graph(2))
    found = from_graph(graph, "two parts")
    assert (found.count, found.left_out) == (5, 2)


def test_of_parallel_links_the_fastest_counts() -> None:
    graph = nx.MultiGraph([("a", "b", {"delay_ns": 9}), ("a", "b", {"delay_ns": 4})])
    assert from_graph(graph, "twice").delays.tolist() == [4, 4]
