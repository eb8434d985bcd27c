"""A core that is kept awake: by whom, and until when."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from experiments.instrument.awake import kept_awake


def children() -> set[int]:
    """Returns the processes that this one has started and not yet ended."""
    return {
        int(word)
        for word in Path("/proc/self/task")
        .joinpath(str(os.getpid()), "children")
        .read_text()
        .split()
    }


def test_a_process_of_the_lowest_priority_keeps_it_awake_until_the_end() -> None:
    before, core = children(), min(os.sched_getaffinity(0))
    with kept_awake(core):
        (soaker,) = children() - before
        assert os.sched_getscheduler(soaker) == os.SCHED_IDLE
        assert os.sched_getaffinity(soaker) == {core}
    assert children() == before


def test_it_ends_with_an_error_too() -> None:
    before = children()
    with pytest.raises(KeyError), kept_awake(min(os.sched_getaffinity(0))):
        raise KeyError
    assert children() == before
