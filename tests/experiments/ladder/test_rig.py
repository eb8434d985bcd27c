"""Hubs that seal as today, as in 2004 and not at all carry the same frames, and each stage is seen."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from tests.programs import output_of

FRAMES, MEMBERS = 200, 3
LOOP = {"receive", "look up, headers", "send"}
HUB = {"open: ESP, window", "open: cipher", "seal: ESP", "seal: cipher"}


@pytest.mark.emulated
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
@pytest.mark.skipif(shutil.which("nft") is None, reason="needs nftables")
def test_every_hub_carries_its_frames_and_shows_its_stages() -> None:
    found = json.loads(output_of("tests.experiments.ladder.ladder_program"))
    for name, seen in found.items():
        assert seen["passed"] == [FRAMES, FRAMES, FRAMES * (MEMBERS - 1)], name
        assert set(seen["stages"]) == LOOP | ({"hop tag"} if "tags" in name else HUB), name
    # Two windows, and one broadcast of each member at the start.
    opened = 2 * FRAMES + MEMBERS
    for name in ("gcm-socket", "cbc-batch"):
        assert found[name]["calls"] == [opened, opened * (MEMBERS - 1)]
    assert found["plain-batch"]["calls"] == [0, 0]
    assert not found["tags-socket"]["cipher"]
