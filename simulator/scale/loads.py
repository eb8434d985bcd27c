"""What servers and links carry in one round, for each way of forwarding: whole numbers, all exact.

In a round every client sends ``unicast`` frames to the next client of its group and ``broadcast`` frames
to all of it, and every station's place is known. Nothing is lost. A packet takes the shortest path, and
the path back is the same one.

A *spread* is what one server (or one sender's router) does with frames of a group: to each of its rows
(receivers, or servers) one copy. On an arc away from it go as many copies of a frame as there are rows
behind the arc; the frame itself counts once where there is any.

Patent: Figs. 2, 13, 15, 17; effects E1, E3, E4, E5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from simulator.scale.placement import Placement
from simulator.scale.routers import Integers, Routers
from simulator.scale.sizes import Sizes
from simulator.scale.trees import Paths, Tree

Way = Literal["hub", "single", "multicast", "multiserver", "cascade"]
WAYS: tuple[Way, ...] = ("hub", "single", "multicast", "multiserver", "cascade")
SEVERAL_SERVERS = frozenset[Way]({"multiserver", "cascade"})


@dataclass(frozen=True)
class Round:
    """Frames that every client sends in one round."""

    unicast: int = 1
    broadcast: int = 1

    def __post_init__(self) -> None:
        if self.unicast < 0 or self.broadcast < 0 or not self.frames:
            raise ValueError("round: expected no negative number of frames, and at least one frame")

    @property
    def frames(self) -> int:
        """All frames of a client."""
        return self.unicast + self.broadcast


@dataclass(frozen=True, eq=False)
class ServerLoads:
    """What each server has carried in a round; an entry for each server."""

    datagrams_in: Integers
    copies_out: Integers
    copies_to_servers: Integers
    """Of the copies out."""

    @property
    def handled(self) -> Integers:
        """Datagrams taken and sent."""
        return self.datagrams_in + self.copies_out


@dataclass(frozen=True, eq=False)
class LinkLoads:
    """What each arc has carried in a round; an entry for each arc."""

    copies: Integers
    octets: Integers
    frames: Integers
    """Copies, where those of one frame that one server sends count once on an arc."""


@dataclass(frozen=True, eq=False)
class Loads:
    """One way's loads."""

    way: Way
    servers: ServerLoads
    links: LinkLoads


class _Arcs:
    """Loads of arcs as they add up."""

    def __init__(self, paths: Paths) -> None:
        self.routers: Routers = paths.routers
        self._sums = np.zeros((3, paths.routers.arcs), dtype=np.int64)

    def outwards(self, tree: Tree, copies: Integers, frames: Integers, octets: int) -> None:
        """Adds what goes to the routers behind each arc: sums below each router."""
        own = np.zeros((2, self.routers.arcs), dtype=np.int64)
        tree.add_to_arcs(own[0], copies)
        tree.add_to_arcs(own[1], frames)
        self._sums += (own[0], own[0] * octets, own[1])

    def inwards(self, tree: Tree, weights: Integers, octets: int) -> None:
        """Adds what comes from each router; every packet is a frame of its own."""
        own = np.zeros(self.routers.arcs, dtype=np.int64)
        tree.add_to_reverse_arcs(self.routers, own, tree.subtree_sums(weights))
        self._sums += (own, own * octets, own)

    def loads(self) -> LinkLoads:
        """Returns what has been added."""
        return LinkLoads(*self._sums)


@dataclass(frozen=True, eq=False)
class Spread:
    """Rows that one point sends to, by group: none need be sorted.

    ``frames`` has for each row how many frames of its group are sent from this point, and ``own`` how
    many of them are the row's own, which it does not get back.
    """

    groups: Integers
    routers: Integers
    frames: Integers
    own: Integers

    def below(self, tree: Tree, router_count: int) -> tuple[Integers, Integers]:
        """Returns copies and frames for the routers behind each router."""
        copies = _by_router(self.routers, self.frames - self.own, router_count)
        return tree.subtree_sums(copies), tree.subtree_sums(self.once(tree, router_count))

    def once(self, tree: Tree, router_count: int) -> Integers:
        """Returns weights whose sum behind a router counts each frame once that goes there.

        Of a group's rows in preorder those behind a router stand together, so that they are as many
        as the pairs of neighbours that part behind it, and one more. A frame does not go where its
        sender is the only row, which is up to where its path parts from its neighbours'.
        """
        place = tree.place[self.routers]
        order = np.argsort(self.groups * router_count + place)
        groups, place, at = self.groups[order], place[order], self.routers[order]
        frames, own = self.frames[order], self.own[order]
        weights = _by_router(at, frames - own, router_count)
        if len(order) < 2:
            return weights
        neighbours = groups[1:] == groups[:-1]
        met = tree.meeting().of(place[:-1][neighbours], place[1:][neighbours])
        weights -= _by_router(met, frames[1:][neighbours], router_count)
        if own.any():
            alone_to = np.full(len(order), -1)
            depth = tree.depth
            alone_to[:-1][neighbours] = met
            behind = np.full(len(order), -1)
            behind[1:][neighbours] = met
            deeper = np.where(_depth(depth, behind) > _depth(depth, alone_to), behind, alone_to)
            ends = deeper >= 0
            weights += _by_router(deeper[ends], own[ends], router_count)
        return weights


def loads(way: Way, paths: Paths, placement: Placement, sizes: Sizes, round_: Round) -> Loads:
    """Returns the loads of a way of forwarding in one round."""
    return _WAYS[way](way, paths, placement, sizes, round_)


def _one_server(way: Way, paths: Paths, placement: Placement, sizes: Sizes, round_: Round) -> Loads:
    count = paths.routers.count
    tree = paths.tree(int(placement.servers[0]))
    arcs = _Arcs(paths)
    arcs.inwards(tree, _by_router(placement.routers, round_.frames, count), sizes.to_server)
    members = np.repeat(placement.sizes, placement.sizes)
    spread = Spread(
        placement.groups,
        placement.routers,
        members * round_.broadcast,
        np.full(placement.clients, round_.broadcast),
    )
    _to_clients(arcs, tree, spread, placement.routers, sizes, round_)
    copies = _broadcast_copies(placement, round_) + placement.clients * round_.unicast
    servers = ServerLoads(
        np.array([placement.clients * round_.frames]), np.array([copies]), np.zeros(1, np.int64)
    )
    return Loads(way, servers, arcs.loads())


def _multicast(way: Way, paths: Paths, placement: Placement, sizes: Sizes, round_: Round) -> Loads:
    """Every frame goes to all of the group, along the tree of its sender's router; no server sees any."""
    arcs = _Arcs(paths)
    count = paths.routers.count
    # Rows are the routers of each group; senders at one router share its tree.
    pairs, members = np.unique(placement.groups * count + placement.routers, return_counts=True)
    groups, routers = pairs // count, pairs % count
    first = np.searchsorted(groups, np.arange(len(placement.starts)))
    by_root = np.argsort(routers, kind="stable")
    roots, begins = np.unique(routers[by_root], return_index=True)
    ends = np.r_[begins[1:], len(by_root)]
    for tree, begin, end in zip(paths.trees(roots), begins, ends, strict=True):
        own = by_root[begin:end]
        rows, senders = _slices(first, groups[own], members[own])
        frames = senders * round_.frames
        spread = Spread(groups[rows], routers[rows], frames, np.zeros_like(frames))
        once = tree.subtree_sums(spread.once(tree, count))
        arcs.outwards(tree, once, once, sizes.multicast)
    nothing = np.zeros(len(placement.servers), dtype=np.int64)
    return Loads(way, ServerLoads(nothing, nothing, nothing), arcs.loads())


def _multiserver(
    way: Way, paths: Paths, placement: Placement, sizes: Sizes, round_: Round
) -> Loads:
    arcs = _Arcs(paths)
    count = paths.routers.count
    held, following = placement.held(), placement.next_in_group()
    totals = np.zeros((2, len(placement.servers)), dtype=np.int64)
    for number, tree in enumerate(paths.trees(placement.servers)):
        here = placement.homes == number
        own = placement.routers[here]
        arcs.inwards(tree, _by_router(own, round_.frames, count), sizes.to_server)
        sent = held[:, number][placement.groups]
        served = np.flatnonzero(sent)
        spread = Spread(
            placement.groups[served],
            placement.routers[served],
            sent[served] * round_.broadcast,
            here[served] * round_.broadcast,
        )
        sought = placement.routers[following[here]]
        _to_clients(arcs, tree, spread, sought, sizes, round_)
        copies = int((spread.frames - spread.own).sum()) + len(sought) * round_.unicast
        totals[:, number] = len(own) * round_.frames, copies
    between = np.zeros(len(placement.servers), dtype=np.int64)
    return Loads(way, ServerLoads(totals[0], totals[1], between), arcs.loads())


def _cascade(way: Way, paths: Paths, placement: Placement, sizes: Sizes, round_: Round) -> Loads:
    arcs = _Arcs(paths)
    count, servers = paths.routers.count, placement.servers
    held, following = placement.held(), placement.next_in_group()
    passed = _between(placement, held, following, round_)
    received = passed.sum(axis=0)
    totals = np.zeros((2, len(servers)), dtype=np.int64)
    for number, tree in enumerate(paths.trees(servers)):
        here = np.flatnonzero(placement.homes == number)
        own = placement.routers[here]
        arcs.inwards(tree, _by_router(own, round_.frames, count), sizes.to_server)
        _to_servers(arcs, tree, number, placement, held, passed, sizes, round_)
        groups = placement.groups[here]
        spread = Spread(
            groups,
            own,
            placement.sizes[groups] * round_.broadcast,
            np.full(len(here), round_.broadcast),
        )
        # Each of its clients is the one that the client before it sends to.
        _to_clients(arcs, tree, spread, own, sizes, round_)
        copies = int((spread.frames - spread.own).sum()) + len(own) * round_.unicast
        totals[:, number] = len(own) * round_.frames, copies
    out = passed.sum(axis=1)
    return Loads(way, ServerLoads(totals[0] + received, totals[1] + out, out), arcs.loads())


def _between(placement: Placement, held: Integers, following: Integers, round_: Round) -> Integers:
    """Returns how many datagrams each server sends to each other one: from × to."""
    count = len(placement.servers)
    passed: Integers = held.T @ (held > 0) * round_.broadcast
    pairs = placement.homes * count + placement.homes[following]
    passed += np.bincount(pairs, minlength=count**2).reshape(count, count) * round_.unicast
    np.fill_diagonal(passed, 0)
    return passed


def _to_servers(
    arcs: _Arcs,
    tree: Tree,
    number: int,
    placement: Placement,
    held: Integers,
    passed: Integers,
    sizes: Sizes,
    round_: Round,
) -> None:
    """Adds what a server sends to the others: of a broadcast frame one to each that has clients of it."""
    others = held > 0
    others[:, number] = False
    others[held[:, number] == 0] = False
    groups, reached = np.nonzero(others)
    frames = held[groups, number] * round_.broadcast
    spread = Spread(groups, placement.servers[reached], frames, np.zeros_like(frames))
    copies, once = spread.below(tree, arcs.routers.count)
    unicast = passed[number] - np.bincount(reached, frames, len(placement.servers)).astype(np.int64)
    sought = tree.subtree_sums(_by_router(placement.servers, unicast, arcs.routers.count))
    arcs.outwards(tree, copies + sought, once + sought, sizes.to_server)


def _to_clients(
    arcs: _Arcs, tree: Tree, spread: Spread, sought: Integers, sizes: Sizes, round_: Round
) -> None:
    """Adds broadcast frames to all rows, and unicast frames to the routers ``sought``."""
    count = arcs.routers.count
    copies, once = spread.below(tree, count)
    unicast = tree.subtree_sums(_by_router(sought, round_.unicast, count))
    arcs.outwards(tree, copies + unicast, once + unicast, sizes.to_client)


def _broadcast_copies(placement: Placement, round_: Round) -> int:
    return int((placement.sizes * (placement.sizes - 1)).sum()) * round_.broadcast


def _by_router(routers: Integers, values: Integers | int, count: int) -> Integers:
    """Adds values up by router."""
    sums = np.zeros(count, dtype=np.int64)
    np.add.at(sums, routers, values)
    return sums


def _slices(first: Integers, chosen: Integers, values: Integers) -> tuple[Integers, Integers]:
    """Returns the rows of the chosen groups one after the other, and each one's group's value."""
    lengths = first[chosen + 1] - first[chosen]
    ends = np.cumsum(lengths)
    rows = np.arange(ends[-1]) + np.repeat(first[chosen] - (ends - lengths), lengths)
    return rows, np.repeat(values, lengths)


def _depth(depth: Integers, routers: Integers) -> Integers:
    """Returns the depth of each router; -1 for none."""
    return np.where(routers >= 0, depth[routers], -1)


_WAYS: dict[Way, Callable[[Way, Paths, Placement, Sizes, Round], Loads]] = {
    "hub": _one_server,
    "single": _one_server,
    "multicast": _multicast,
    "multiserver": _multiserver,
    "cascade": _cascade,
}
