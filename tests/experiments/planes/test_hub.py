"""OpenVPN's hub beside the planes: every frame counted in, and one copy out."""

from __future__ import annotations

import pytest

from experiments.planes.hub import is_there
from tests.programs import output_of

MOST_OTHERS = 60


@pytest.mark.emulated
@pytest.mark.skipif(not is_there(), reason="OpenVPN is not installed")
def test_a_window_counts_what_comes_to_the_hub_and_that_one_copy_leaves_it() -> None:
    output = output_of("tests.experiments.planes.hub_program")
    windows = [line.split() for line in output.splitlines()]
    assert len(windows) == 2
    for sent, came, left, spent in windows:
        assert (sent, spent) == ("80", "True")
        # Stations say a little of their own, some of it to all.
        assert 80 <= int(came) <= int(left) <= 80 + MOST_OTHERS
