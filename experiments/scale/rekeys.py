"""Measures what rekeys cost the key server, for fitting and for checking."""

from __future__ import annotations

import contextlib
import gc
import random
import statistics
from collections.abc import Iterator, Mapping, Sequence

from experiments.embodiments.subgroups.costs import RekeyCost, rekey_costs
from simulator.scale.costs import Measured, Work

REKEYED = (2, 3, 4, 6, 8, 16, 32)
"""Members that stay when one leaves."""
REKEY_ROUNDS = 20


def measure_rekeys(chance: random.Random) -> Mapping[int, Measured]:
    """Measures the key server's rekeys by their number of messages; needs neither network nor root.

    A round's figure is the middle of its rekeys, as on the rig. What this process holds besides is out of
    the garbage collector's sight meanwhile: a collection would go through all that was measured before.
    """
    found: dict[int, list[RekeyCost]] = {}
    with _frozen():
        for turn in range(REKEY_ROUNDS + 1):
            for cost in rekey_costs(chance.sample(REKEYED, len(REKEYED))):
                if turn:  # the first ones cost more
                    found.setdefault(cost.members, []).append(cost)
    return {members: _rekey(found[members]) for members in REKEYED}


@contextlib.contextmanager
def _frozen() -> Iterator[None]:
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _rekey(costs: Sequence[RekeyCost]) -> Measured:
    work = Work(rekeys=1.0, rekey_messages=float(costs[0].messages))
    name = f"a fresh SA for {costs[0].members} members"
    return Measured(name, work, tuple(float(statistics.median(one.cpu_ns)) for one in costs))
