"""Frames that carry their time, and what is said of a window."""

from __future__ import annotations

import math

import pytest

from experiments.peers.stream import QUANTILES, Arrived, condense, frame_of, latency, stamp
from experiments.peers.windows import Passage
from experiments.traffic.probe import ProbeError

MACS = ("02:00:00:00:bb:01", "02:00:00:00:aa:01")


def test_a_frame_tells_how_long_it_was_under_way() -> None:
    frame = frame_of(*MACS, window=7, size=64)
    stamp(frame, 7, 1_000)
    assert len(frame) == 64
    assert latency(bytes(frame), 7, 1_250) == 250


def test_a_frame_of_another_window_counts_for_nothing() -> None:
    frame = frame_of(*MACS, window=7, size=64)
    assert latency(bytes(frame), 8, 1_250) is None
    assert latency(bytes(frame[:20]), 7, 1_250) is None


def test_a_frame_without_room_for_its_time_is_refused() -> None:
    with pytest.raises(ProbeError, match="frame of 25 octets: expected at least 26"):
        frame_of(*MACS, window=1, size=25)


def test_the_late_ones_are_the_last_hundredth() -> None:
    arrived = condense(range(1, 201))
    assert (arrived.frames, arrived.median_ns, arrived.late_ns) == (200, 100, 199)
    assert condense([]) == Arrived(0, 0, 0)


def test_the_whole_distribution_is_told() -> None:
    told = dict(zip(QUANTILES, condense(range(1, 1001)).quantiles_ns, strict=True))
    assert (told[0.0], told[0.25], told[0.95], told[0.999], told[1.0]) == (1, 251, 951, 1000, 1000)
    assert list(told.values()) == sorted(told.values())


def test_loss_is_of_the_copies_that_were_due() -> None:
    passage = Passage(100, 200, 150, 30_000, 1, 2, False)
    assert passage.loss == 0.25
    assert passage.ns_per_frame == 300
    assert passage.ns_per_copy == 200
    assert math.isnan(Passage(100, 200, 0, 30_000, 0, 0, False).ns_per_copy)
