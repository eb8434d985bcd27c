"""Every peer that is installed carries frames between the LANs, through its hub, and is gone after."""

from __future__ import annotations

import json

import pytest

from experiments.peers.adapter import missing
from experiments.peers.catalog import PEERS
from tests import programs

DEADLINE = 500.0
"""Twenty times what it takes on a machine of its own."""


@pytest.mark.emulated
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_carries_frames_and_is_ended_with_all_its_children(name: str) -> None:
    gone = missing(PEERS[name].programs)
    if gone:
        pytest.skip(f"missing program: {', '.join(gone)} (only PEERS={name} asks for it)")
    with programs.started("tests.experiments.peers.carrying", name) as process:
        output, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, errors
    said = json.loads(output.splitlines()[-1])
    unicast, broadcast = said["sent"]
    assert unicast == broadcast == 100
    # Others on the machine make losses; duplicates nobody makes.
    assert 0.9 * unicast <= said["arrived"][0] <= unicast
    assert 0.9 * 2 * broadcast <= said["arrived"][1] <= 2 * broadcast
    assert all(cost > 0 for cost in said["cpu_ns"])
    assert said["left"] == []
