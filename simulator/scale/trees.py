"""Shortest paths, ties broken always alike, and sums over the trees that they make.

A path is the one of least delay, of those the one of fewest links, and then at each router the one from
the neighbour with the lowest number. Costs are integers below 2^53, so that whichever way they are
found, they are the same. Sums over subtrees come from one pass in preorder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import depth_first_order, dijkstra

from simulator.scale.routers import LINK_COST_BITS, Integers, Reals, Routers, path_costs

_CHUNK = 128
"""So many roots at a time: a chunk's matrices of routers × roots stay in the cache's reach."""
_NO_ARC = np.iinfo(np.int64).max


class Paths:
    """The shortest paths of a network from any router."""

    def __init__(self, routers: Routers) -> None:
        """NetworkError when delays are too long to be added exactly."""
        self.routers = routers
        self._costs = path_costs(routers)
        shape = (routers.count, routers.count)
        self._matrix = csr_matrix((self._costs, (routers.tails, routers.heads)), shape=shape)
        self._first_arc = np.searchsorted(routers.heads, np.arange(routers.count))

    def delays(self, roots: Sequence[int] | Integers) -> Integers:
        """Returns the delay in ns from each root to each router: roots × routers."""
        return self._distances(np.asarray(roots)).astype(np.int64) >> LINK_COST_BITS

    def tree(self, root: int) -> Tree:
        """Returns the tree of the shortest paths from one router."""
        return next(self.trees([root]))

    def trees(self, roots: Sequence[int] | Integers) -> Iterator[Tree]:
        """Yields each root's tree in turn."""
        roots = np.asarray(roots, dtype=np.int64)
        for start in range(0, len(roots), _CHUNK):
            chunk = roots[start : start + _CHUNK]
            costs = self._distances(chunk)
            for root, own, arcs in zip(chunk, costs, self._last_arcs(costs), strict=True):
                yield Tree.of(self.routers, int(root), own.astype(np.int64), arcs)

    def _distances(self, roots: Integers) -> Reals:
        found: Reals = dijkstra(self._matrix, indices=roots)
        return found

    def _last_arcs(self, costs: Reals) -> Integers:
        """Returns the arc by which each router is reached: the first of those that lose nothing."""
        routers = self.routers
        tight = costs[:, routers.tails] + self._costs == costs[:, routers.heads]
        candidates = np.where(tight, np.arange(routers.arcs), _NO_ARC)
        found: Integers = np.minimum.reduceat(candidates, self._first_arc, axis=1)
        return found


@dataclass(frozen=True, eq=False)
class Tree:
    """The paths from ``root``, with one entry a router in all arrays.

    ``order`` lists the routers in preorder; ``place`` is each one's place there and ``end`` the place
    behind its last descendant. ``last_arc`` is the arc that it is reached by (the root's means nothing).
    """

    root: int
    delay_ns: Integers
    depth: Integers
    last_arc: Integers
    parent: Integers
    order: Integers
    place: Integers
    end: Integers

    @classmethod
    def of(cls, routers: Routers, root: int, costs: Integers, last_arc: Integers) -> Tree:
        """Makes the tree of the arcs by which each router is reached."""
        count = routers.count
        last_arc[root] = 0
        parent = routers.tails[last_arc]
        parent[root] = root
        order = _preorder(parent, root)
        mirrored = count - 1 - _preorder((count - 1 - parent)[::-1], count - 1 - root)
        place, back = np.empty(count, np.int64), np.empty(count, np.int64)
        place[order] = back[mirrored] = np.arange(count)
        depth = costs & ((1 << LINK_COST_BITS) - 1)
        # Behind a router in one preorder or the other, in both, or in neither: above, below it.
        end = count - back + depth
        return cls(root, costs >> LINK_COST_BITS, depth, last_arc, parent, order, place, end)

    def subtree_sums(self, weights: Integers) -> Integers:
        """Returns for each router the sum of the weights there and behind it."""
        sums = np.zeros(len(weights) + 1, dtype=np.int64)
        np.cumsum(weights[self.order], out=sums[1:])
        below: Integers = sums[self.end] - sums[self.place]
        return below

    def add_to_arcs(self, loads: Integers, below: Integers) -> None:
        """Adds to each arc away from the root what goes to the routers behind it."""
        reached = np.flatnonzero(below)
        reached = reached[reached != self.root]
        loads[self.last_arc[reached]] += below[reached]

    def add_to_reverse_arcs(self, routers: Routers, loads: Integers, below: Integers) -> None:
        """Adds to each arc towards the root what comes from the routers behind it."""
        reached = np.flatnonzero(below)
        reached = reached[reached != self.root]
        loads[routers.reverse[self.last_arc[reached]]] += below[reached]

    def path(self, router: int) -> list[int]:
        """Returns the arcs from the root to a router."""
        arcs: list[int] = []
        while router != self.root:
            arcs.append(int(self.last_arc[router]))
            router = int(self.parent[router])
        return arcs[::-1]

    def meeting(self) -> Meeting:
        """Returns what finds where paths part."""
        return Meeting(self)


class Meeting:
    """Finds the last router that two paths from the root have in common.

    In preorder the one for places a < b is the parent of the router with the least depth among
    those at a+1 … b. A table of minima over powers of two answers that with two look-ups.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        count = len(tree.order)
        # Depth and place in one number: the least depth, and of those the first.
        self._levels = [tree.depth[tree.order] * count + np.arange(count)]
        step = 1
        while 2 * step <= count:
            last = self._levels[-1]
            self._levels.append(np.minimum(last[:-step], last[step:]))
            step *= 2
        self._count = count
        self._table = np.full((len(self._levels), count), _NO_ARC)
        for number, level in enumerate(self._levels):
            self._table[number, : len(level)] = level
        self._logarithms = np.zeros(count + 1, dtype=np.int64)
        self._logarithms[1:] = np.frexp(np.arange(1, count + 1))[1] - 1

    def of(self, first: Integers, second: Integers) -> Integers:
        """Returns the routers where the paths to places ``first`` <= ``second`` part."""
        length = second - first
        level = self._logarithms[length]
        begin = first + 1
        begin[length == 0] = 0
        least = np.minimum(self._table[level, begin], self._table[level, second + 1 - (1 << level)])
        order, parent = self._tree.order, self._tree.parent
        met: Integers = np.where(length == 0, order[first], parent[order[least % self._count]])
        return met


def _preorder(parent: Integers, root: int) -> Integers:
    """Lists the routers of a tree, each before those behind it, siblings by their numbers."""
    count = len(parent)
    children = np.argsort(parent, kind="stable")
    children = children[children != root]
    starts = np.zeros(count + 1, dtype=np.int32)
    above = parent[children]
    np.cumsum(np.bincount(above, minlength=count), out=starts[1:])
    matrix = csr_matrix(
        (np.ones(count - 1, np.int8), children.astype(np.int32), starts), shape=(count, count)
    )
    order: Integers = depth_first_order(matrix, root, return_predecessors=False).astype(np.int64)
    return order
