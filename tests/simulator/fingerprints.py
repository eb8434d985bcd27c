"""Prints the fingerprints of the scripts whose traces are kept: ``python -m tests.simulator.fingerprints``.

A change of the protocol changes them; whoever makes one writes the file anew and says so.
"""

from __future__ import annotations

import json
from pathlib import Path

from simulator.faults import KINDS, Fault, Script
from simulator.search import Play
from topologies.catalog import CATALOG

KEPT = Path(__file__).parent / "fingerprints.json"
FAULTS = tuple(Fault(400 * i, kind, i, 2_000, 30) for i, kind in enumerate(KINDS))


def fingerprint(topo: str, seed: int, faults: tuple[Fault, ...]) -> str:
    """Plays a script in a small network; returns its trace's hash."""
    plan = CATALOG[topo](clients=4 if topo == "subgroups" else 3, terminals=1)
    return Play(plan, Script(topo, seed, faults)).run().fingerprint


def fingerprints() -> dict[str, str]:
    """Plays every script whose fingerprint is kept: each topology without and with all faults."""
    return {
        f"{topo} {seed} {name}": fingerprint(topo, seed, faults)
        for topo in CATALOG
        for seed, name, faults in ((1, "quiet", ()), (2, "faults", FAULTS))
    }


if __name__ == "__main__":
    print(json.dumps(fingerprints(), indent=1))
