"""Tests of simulator.scale.trees."""

from __future__ import annotations

import itertools

import networkx as nx
import numpy as np
import pytest

from simulator.scale.routers import Routers, from_graph
from simulator.scale.trees import Paths, Tree
from tests.simulator.scale.frame_by_frame import tangle


def routers_of(tree: Tree, routers: Routers, router: int) -> list[int]:
    """Lists the routers on the path to one."""
    return [tree.root, *(int(routers.heads[arc]) for arc in tree.path(router))]


@pytest.fixture(scope="module")
def grid() -> Routers:
    """A grid whose links all take equally long: many paths of one length."""
    return from_graph(nx.convert_node_labels_to_integers(nx.grid_2d_graph(5, 6)), "grid")


def test_delays_and_depths_are_those_of_networkx() -> None:
    graph = tangle(40, seed=3)
    routers = from_graph(graph, "tangle")
    paths = Paths(routers)
    for tree in paths.trees(range(40)):
        expected = nx.single_source_dijkstra_path(graph, tree.root, weight="delay_ns")
        for router, path in expected.items():
            assert routers_of(tree, routers, router) == path
            assert tree.depth[router] == len(path) - 1
        assert np.array_equal(tree.delay_ns, paths.delays([tree.root])[0])


def test_of_equally_short_paths_each_router_has_the_neighbour_with_the_lowest_number(
    grid: Routers,
) -> None:
    graph = nx.Graph(zip(grid.tails.tolist(), grid.heads.tolist(), strict=True))
    for tree in Paths(grid).trees(range(grid.count)):
        lengths = nx.single_source_shortest_path_length(graph, tree.root)
        for router in set(graph) - {tree.root}:
            nearer = [one for one in graph[router] if lengths[one] == lengths[router] - 1]
            assert tree.parent[router] == min(nearer)


def test_of_paths_with_one_delay_the_one_with_fewest_links_is_taken() -> None:
    graph = nx.Graph()
    graph.add_edge(0, 1, delay_ns=1000)
    graph.add_edge(1, 2, delay_ns=1000)
    graph.add_edge(0, 2, delay_ns=2000)
    assert Paths(from_graph(graph, "triangle")).tree(0).parent[2] == 0


def test_sums_are_over_all_that_is_behind_a_router(grid: Routers) -> None:
    weights = np.arange(grid.count) ** 2
    for tree in Paths(grid).trees(range(grid.count)):
        sums = np.zeros(grid.count, dtype=np.int64)
        for router in range(grid.count):
            for above in set(routers_of(tree, grid, router)):
                sums[above] += weights[router]
        assert np.array_equal(tree.subtree_sums(weights), sums)


def test_paths_part_at_the_last_router_that_they_share(grid: Routers) -> None:
    for tree in Paths(grid).trees([0, 13, 29]):
        meeting = tree.meeting()
        pairs = np.array(list(itertools.combinations_with_replacement(range(grid.count), 2)))
        met = meeting.of(pairs[:, 0], pairs[:, 1])
        for (first, second), found in zip(pairs, met, strict=True):
            one = routers_of(tree, grid, int(tree.order[first]))
            other = routers_of(tree, grid, int(tree.order[second]))
            shared = [a for a, b in zip(one, other, strict=False) if a == b]
            assert found == shared[-1]


def test_a_line_of_routers_is_no_special_case() -> None:
    routers = from_graph(nx.path_graph(300), "line")
    tree = Paths(routers).tree(150)
    assert tree.subtree_sums(np.ones(300, dtype=np.int64))[[0, 149, 150, 151, 299]].tolist() == [
        *(1, 150, 300, 149, 1)
    ]
