"""Starts runs of the experiments' command line, in a folder of their own."""

from __future__ import annotations

import subprocess
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tests import programs

CHECKOUT = programs.CHECKOUT
REFERENCE = CHECKOUT / "results" / "reference"
SMALLEST = ("run", "--quick", "--clients", "2", "--terminals", "1")
DEADLINE = 250.0


@dataclass(frozen=True)
class Ended:
    """A run that has ended."""

    code: int
    output: str
    errors: str

    @property
    def folder(self) -> Path:
        """The folder that it names in its last line."""
        last = self.output.splitlines()[-1]
        assert last.startswith("results: "), self
        return Path(last.removeprefix("results: "))


def started(
    folder: Path, *arguments: str, module: str = "experiments"
) -> AbstractContextManager[subprocess.Popen[str]]:
    """Starts a run whose results go below ``folder``; ends it by force if it is still there."""
    return programs.started(module, *arguments, folder=folder)


def end(process: subprocess.Popen[str], deadline: float = DEADLINE) -> Ended:
    """Waits for a run's end, so many seconds at most."""
    output, errors = process.communicate(timeout=deadline)
    return Ended(process.returncode, output, errors)
