"""Frames cross two clients, in batches and alone, to the octet and in order."""

from __future__ import annotations

import asyncio

import pytest

from nodes.segmentation import NO_OFFLOAD
from tests.nodes.costs import Pair, costs, large_frames, segments


async def _crossed(waiting: list[bytes], apart: bool) -> tuple[list[bytes], int]:
    pair = Pair()
    pair.lans[0].waiting.extend(waiting)
    pair.sockets[0].lone = apart
    pair.send()
    pair.receive()
    pair.stop()
    return pair.lans[1].frames(), pair.lans[1].joined


@pytest.mark.parametrize("apart", [False, True], ids=["batches", "datagrams alone"])
def test_large_and_lone_frames_come_out_as_the_segments_that_they_are(apart: bool) -> None:
    for waiting in (large_frames(), [NO_OFFLOAD + frame for frame in segments()]):
        frames, joined = asyncio.run(_crossed(waiting, apart))
        assert frames == segments()
        assert 1 <= joined <= 4


def test_what_a_frame_costs_is_told() -> None:
    found = asyncio.run(costs(2))
    assert len(found) == 6
    assert all(cost > 0 for cost in found.values())
