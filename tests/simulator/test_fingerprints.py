"""The same seed and script give the same trace, in every process and under any hash seed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.programs import CHECKOUT
from tests.simulator.fingerprints import KEPT


@pytest.mark.parametrize("hash_seed", ["0", "4711"])
def test_traces_are_those_that_are_kept(hash_seed: str) -> None:
    outcome = subprocess.run(
        [sys.executable, "-m", "tests.simulator.fingerprints"],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=250,
        check=True,
    )
    assert json.loads(outcome.stdout) == json.loads(KEPT.read_text(encoding="utf-8"))
