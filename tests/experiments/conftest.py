"""Runs of `make experiment` on the smallest network, all at the same time."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.experiments.runs import SMALLEST, Ended, end, started

KINDS = {
    "sound": (
        "tests.experiments.small_run",
        (*SMALLEST, "--family", "4", "--strip", "patent", "--capture", "--seed", "7"),
    ),
    "altered": ("tests.experiments.altered_run", SMALLEST),
}


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Ended]]:
    """Gives the folder of two runs that went on side by side, and how each ended."""
    folder = tmp_path_factory.mktemp("runs")
    with ExitStack() as stack:
        going = {
            name: stack.enter_context(started(folder, *arguments, module=module))
            for name, (module, arguments) in KINDS.items()
        }
        return folder, {name: end(process) for name, process in going.items()}
