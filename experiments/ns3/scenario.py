"""A scenario for two simulators: a tree of links, a relay at its root, clients that send to all others.

Chance decides delays, sizes and times once; both simulators then read the same numbers. Links have rates at
which an octet takes whole nanoseconds, so that no rounding tells the two apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simulator.chance import Chance
from simulator.scale.levels import Integers
from simulator.scale.queueing import SECOND

RATES = (8_000_000_000, 1_000_000_000, 100_000_000)
"""Bit/s of links at each depth, the relay's first; deeper ones are as the last."""
LONGEST_DELAY_NS = 2_000_000
SIZES = (98, 634, 1_572)
"""Octets of a frame in the system on the wire: small, middle and long ones,"""
SHARES = (7, 4, 1)
"""and how many of each there are, as in simple mixes of traffic."""


@dataclass(frozen=True)
class Scenario:
    """Nodes are numbered from the relay, 0, downwards, level by level; clients are the last.

    Link ``i`` leads from node ``i + 1`` up to ``parents[i]``; ``rates`` (bit/s) and ``delays`` (ns) are of
    both of its directions. Frame ``n`` leaves client ``senders[n]`` at ``times[n]`` (ns, in order) with
    ``octets[n]`` octets on every link.
    """

    parents: Integers
    rates: Integers
    delays: Integers
    clients: Integers
    senders: Integers
    times: Integers
    octets: Integers

    @property
    def nodes(self) -> int:
        """How many nodes there are, with the relay."""
        return len(self.parents) + 1

    def way_up(self, client: int) -> list[int]:
        """Returns the links from a client's node to the relay."""
        links, node = [], int(self.clients[client])
        while node:
            links.append(node - 1)
            node = int(self.parents[node - 1])
        return links

    def write(self, path: Path) -> None:
        """Writes the numbers as text, in the order in which fanout.cc reads them."""
        counts = [self.nodes, len(self.parents), len(self.clients), len(self.times), 0]
        links = zip(range(1, self.nodes), self.parents, self.rates, self.delays, strict=True)
        frames = zip(self.times, self.senders, self.octets, strict=True)
        rows: list[Sequence[int]] = [counts, *links, self.clients.tolist(), *frames]
        path.write_text("".join(" ".join(map(str, row)) + "\n" for row in rows), encoding="ascii")


def read(path: Path) -> Scenario:
    """Reads what :meth:`Scenario.write` wrote; ValueError for anything else."""
    numbers = np.array(path.read_text(encoding="ascii").split(), np.int64)
    nodes, links, clients, frames, _relay = numbers[:5].tolist()
    if nodes != links + 1 or len(numbers) != 5 + 4 * links + clients + 3 * frames:
        raise ValueError(f"{path.name}: expected a scenario")
    rows = numbers[5:]
    _child, parents, rates, delays = rows[: 4 * links].reshape(links, 4).T
    rows = rows[4 * links :]
    times, senders, octets = rows[clients:].reshape(frames, 3).T
    return Scenario(parents, rates, delays, rows[:clients], senders, times, octets)


def fan_out(fan: Sequence[int], frames: int, seed: int, load: float = 0.6) -> Scenario:
    """Makes a tree whose nodes have ``fan[depth]`` children, and frames at times drawn by chance.

    The busiest link, one of the relay's, is in use for ``load`` of the time. ValueError for what cannot be.
    """
    if not fan or min(fan) < 1 or np.prod(fan) < 2 or frames < 1 or not 0 < load < 1:
        raise ValueError("fan-out: expected branches, two clients, frames and a load below 1")
    chance = Chance(seed).stream("fan-out")
    counts = np.cumprod([1, *fan])
    ends = np.cumsum(counts)
    parents = np.concatenate(
        [
            np.repeat(np.arange(ends[depth] - counts[depth], ends[depth]), fan[depth])
            for depth in range(len(fan))
        ]
    )
    rates = np.repeat([RATES[min(depth, len(RATES) - 1)] for depth in range(len(fan))], counts[1:])
    clients = np.arange(ends[-2], ends[-1])
    octets = chance.choice(SIZES, frames, p=np.array(SHARES) / sum(SHARES)).astype(np.int64)
    copies = len(clients) // fan[0]
    pause = octets.mean() * 8 * SECOND * copies / RATES[0] / load
    return Scenario(
        parents,
        rates,
        chance.integers(1_000, LONGEST_DELAY_NS, len(parents)),
        clients,
        chance.integers(0, len(clients), frames),
        np.cumsum(chance.exponential(pause, frames)).astype(np.int64),
        octets,
    )
