"""Where clients, groups and servers are: arrays, drawn by seed or given.

Clients of a group stand behind each other, so that groups are slices. One more client shifts nobody
else's draw, but may change where servers are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from simulator.chance import Chance
from simulator.scale.routers import Integers, Routers
from simulator.scale.trees import Paths

Attachment = Literal["zipf", "degree", "uniform"]
ATTACHMENTS: tuple[Attachment, ...] = ("zipf", "degree", "uniform")
"""How many clients a router has: by a rank drawn by seed (like cities' populations), by its links, or
as many as any other."""
_CANDIDATES = 1024
"""Servers stand at one of the routers that have most clients, of so many."""


class PlacementError(ValueError):
    """Says which number does not fit."""


@dataclass(frozen=True, eq=False)
class Placement:
    """Who is where.

    ``routers`` has each client's router, ``starts`` where each group's clients begin, and at its end
    the number of clients. ``servers`` are the routers of the VPN servers, the first that of the only
    server where there is one; ``homes`` the index into ``servers`` of each client's nearest.
    """

    routers: Integers
    starts: Integers
    servers: Integers
    homes: Integers

    def __post_init__(self) -> None:
        sizes = np.diff(self.starts)
        if len(sizes) < 1 or sizes.min() < 2 or self.starts[-1] != len(self.routers):
            raise PlacementError("groups: expected at least one, each of two clients or more")
        if len(self.servers) < 1 or len(self.homes) != len(self.routers):
            raise PlacementError("servers: expected at least one, and one of them for each client")

    @property
    def clients(self) -> int:
        """How many clients there are."""
        return len(self.routers)

    @property
    def sizes(self) -> Integers:
        """How many clients each group has."""
        return np.diff(self.starts)

    @property
    def groups(self) -> Integers:
        """Each client's group, from 0."""
        return np.repeat(np.arange(len(self.starts) - 1), self.sizes)

    def next_in_group(self) -> Integers:
        """Returns the client that each one's unicast frames go to: the next, from the last the first."""
        following = np.arange(1, self.clients + 1)
        following[self.starts[1:] - 1] = self.starts[:-1]
        return following

    def held(self) -> Integers:
        """Returns how many clients of each group each server has: groups × servers."""
        count = len(self.servers)
        pairs = self.groups * count + self.homes
        counts = np.bincount(pairs, minlength=(len(self.starts) - 1) * count)
        return counts.reshape(-1, count)


def place(
    paths: Paths,
    clients: int,
    group_size: int,
    servers: int,
    attachment: Attachment = "zipf",
    exponent: float = 1.0,
    seed: int = 0,
) -> Placement:
    """Draws where everybody is; of groups the last takes what is left over.

    Servers stand where the sum of all clients' delays to their nearest is least, found one after the
    other (greedily): the first is the best place for one. PlacementError for numbers that do not fit.
    """
    routers = paths.routers
    if clients < 2 or group_size < 2:
        raise PlacementError(f"{clients} clients in groups of {group_size}: expected 2 or more")
    if not 1 <= servers <= int(routers.access.sum()):
        raise PlacementError(
            f"servers: expected 1 to {int(routers.access.sum())}, as many as routers with clients, "
            f"got {servers}"
        )
    weights = _weights(routers, attachment, exponent, seed)
    draws = Chance(seed).stream("scale", "clients").random(clients)
    chosen = np.searchsorted(np.cumsum(weights), draws * weights.sum(), side="right")
    where = np.minimum(chosen, routers.count - 1)
    groups = max(1, clients // group_size)
    starts = np.r_[np.arange(groups) * group_size, clients]
    sites = _sites(paths, where, servers)
    homes = np.argmin(paths.delays(sites), axis=0)[where]
    return Placement(where, starts, sites, homes)


def _weights(
    routers: Routers, attachment: Attachment, exponent: float, seed: int
) -> NDArray[np.float64]:
    """Returns each router's share of clients, not normed; 0 where none may be."""
    open_to = np.flatnonzero(routers.access)
    weights = np.zeros(routers.count)
    if attachment == "zipf":
        ranks = Chance(seed).stream("scale", "ranks").permutation(len(open_to)) + 1
        weights[open_to] = 1.0 / ranks**exponent
    elif attachment == "degree":
        weights[open_to] = np.bincount(routers.heads, minlength=routers.count)[open_to]
    elif attachment == "uniform":
        weights[open_to] = 1.0
    else:
        raise PlacementError(f"attachment {attachment}: expected one of {', '.join(ATTACHMENTS)}")
    return weights


def _sites(paths: Paths, where: Integers, servers: int) -> Integers:
    """Chooses the servers' routers, each the one that then shortens most; of equals the lowest."""
    counts = np.bincount(where, minlength=paths.routers.count)
    access = np.flatnonzero(paths.routers.access)
    candidates = np.sort(access[np.argsort(-counts[access], kind="stable")[:_CANDIDATES]])
    occupied = np.flatnonzero(counts)
    delays = paths.delays(candidates)[:, occupied]
    weights = counts[occupied]
    nearest = np.full(len(occupied), np.iinfo(np.int64).max)
    chosen: list[int] = []
    for _ in range(servers):
        totals = np.minimum(delays, nearest) @ weights
        if chosen:
            totals[chosen] = np.iinfo(np.int64).max
        best = int(np.argmin(totals))
        chosen.append(best)
        nearest = np.minimum(nearest, delays[best])
    return candidates[chosen]
