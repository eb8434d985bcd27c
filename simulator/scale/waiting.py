"""How long frames are at a server: they wait for each other, and their copies leave one after the other.

One process serves frames in the order of their arrival, so for given arrivals it is exact when each copy
leaves (``queueing``). Arrivals are drawn at random times (Poisson), from the very mixture of frames that
the server gets.

Patent: effects E1, E4, E5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.chance import Chance
from simulator.scale.loads import Round, Way
from simulator.scale.placement import Placement
from simulator.scale.queueing import fan_out_times
from simulator.scale.routers import Integers

COPIES = 1_000_000
"""So many copies are drawn, or a few more."""
_SECOND = 1_000_000_000


@dataclass(frozen=True, eq=False)
class Mixture:
    """Kinds of frames that come to a server in a round: the copies of each, and how many there are."""

    copies: Integers
    frames: Integers


def mixture(way: Way, placement: Placement, server: int, round_: Round) -> Mixture:
    """Returns what comes to one of the servers in a round, by group; ValueError for multicast."""
    sizes, held = placement.sizes, placement.held()
    own = held[:, server]
    if way in ("hub", "single"):
        kinds = [(sizes - 1, sizes * round_.broadcast)]
        unicast = placement.clients * round_.unicast
    elif way == "multiserver":
        kinds = [(sizes - 1, own * round_.broadcast)]
        unicast = int(own.sum()) * round_.unicast
    elif way == "cascade":
        others = (held > 0).sum(axis=1) - (own > 0)
        kinds = [
            (own - 1 + others, own * round_.broadcast),
            (own, np.where(own > 0, sizes - own, 0) * round_.broadcast),
        ]
        unicast = _unicast_by_cascade(placement, server) * round_.unicast
    else:
        raise ValueError("multicast: expected a way by which servers get frames")
    kinds.append((np.ones(1, np.int64), np.array([unicast])))
    copies, frames = (np.concatenate(parts) for parts in zip(*kinds, strict=True))
    some = frames > 0
    return Mixture(copies[some], frames[some])


def times_at_server(
    frames: Mixture, frames_a_second: float, frame_ns: float, copy_ns: float, seed: int
) -> Integers:
    """Returns for each copy drawn how long after its frame's arrival it leaves (ns)."""
    chance = Chance(seed).stream("scale", "arrivals")
    shares = frames.frames / frames.frames.sum()
    count = max(1, round(COPIES / float(shares @ frames.copies)))
    copies = frames.copies[chance.choice(len(shares), count, p=shares)]
    pauses = chance.exponential(_SECOND / frames_a_second, count)
    arrivals = np.cumsum(pauses).astype(np.int64)
    left = fan_out_times(arrivals, copies, round(frame_ns), round(copy_ns))
    times: Integers = left - np.repeat(arrivals, copies)
    return times


def _unicast_by_cascade(placement: Placement, server: int) -> int:
    """Counts frames from own clients, and those from elsewhere to own clients."""
    senders, receivers = placement.homes, placement.homes[placement.next_in_group()]
    return int(((senders == server) | (receivers == server)).sum())
