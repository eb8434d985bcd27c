"""How long deliveries take, and how much longer than the straight way: from pairs drawn by seed.

Propagation alone is exact for each pair; what the sample says of all deliveries is an estimate. To it comes
the relay's fan-out: copy k of a frame leaves when k copies before it have been made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.chance import Chance
from simulator.scale.loads import SEVERAL_SERVERS, Way
from simulator.scale.placement import Placement
from simulator.scale.routers import Integers
from simulator.scale.trees import Paths

PAIRS = 100_000
QUANTILES = (0.5, 0.95, 0.99, 1.0)
_SENDER_ROUTERS = 256


@dataclass(frozen=True, eq=False)
class Pairs:
    """Broadcast deliveries: who to whom, and the straight way's delay (ns)."""

    senders: Integers
    receivers: Integers
    straight_ns: Integers


@dataclass(frozen=True, eq=False)
class Delays:
    """Delays of the drawn deliveries in ns, and their ratio to the straight way's."""

    propagation_ns: Integers
    stretch: NDArray[np.float64]
    """Only where the straight way takes any time."""

    def quantiles(self) -> dict[float, float]:
        """Returns delays in ns by the share of deliveries that take at most as long."""
        values = np.quantile(self.propagation_ns, QUANTILES, method="inverted_cdf")
        return dict(zip(QUANTILES, map(float, values), strict=True))


def draw_pairs(paths: Paths, placement: Placement, seed: int, count: int = PAIRS) -> Pairs:
    """Draws so many deliveries of broadcast frames; senders sit at up to 256 routers drawn before."""
    chance = Chance(seed).stream("scale", "pairs")
    occupied = np.unique(placement.routers)
    if len(occupied) > _SENDER_ROUTERS:
        occupied = np.sort(_some_routers(placement, occupied, chance))
    eligible = np.flatnonzero(np.isin(placement.routers, occupied))
    senders = eligible[chance.integers(len(eligible), size=count)]
    groups = placement.groups[senders]
    sizes, starts = placement.sizes[groups], placement.starts[groups]
    others = chance.integers(0, sizes - 1)
    receivers = starts + others + (starts + others >= senders)
    delays = paths.delays(occupied)
    rows = np.searchsorted(occupied, placement.routers[senders])
    return Pairs(senders, receivers, delays[rows, placement.routers[receivers]])


def delays(way: Way, paths: Paths, placement: Placement, pairs: Pairs) -> Delays:
    """Returns what the way that frames take adds up to, for each of the pairs."""
    if way == "multicast":
        taken = pairs.straight_ns
    else:
        from_servers = paths.delays(placement.servers)
        there = placement.routers[pairs.senders], placement.routers[pairs.receivers]
        first = second = np.zeros(len(pairs.senders), dtype=np.int64)
        if way in SEVERAL_SERVERS:
            first = placement.homes[pairs.senders]
            second = placement.homes[pairs.receivers] if way == "cascade" else first
        between = from_servers[first, placement.servers[second]]
        taken = from_servers[first, there[0]] + between + from_servers[second, there[1]]
    straight = pairs.straight_ns
    some = straight > 0
    return Delays(taken, taken[some] / straight[some])


def fan_out_ns(frame_ns: float, copy_ns: float, copies: int) -> tuple[float, float]:
    """Returns when the middle and the last copy of a frame leave an idle relay, after the frame came."""
    return frame_ns + copy_ns * (copies + 1) / 2, frame_ns + copy_ns * copies


def _some_routers(
    placement: Placement, occupied: Integers, chance: np.random.Generator
) -> Integers:
    """Draws routers with a chance as large as their number of clients, each at most once."""
    counts = np.bincount(placement.routers)[occupied]
    chosen: Integers = chance.choice(
        occupied, _SENDER_ROUTERS, replace=False, p=counts / counts.sum()
    )
    return chosen
