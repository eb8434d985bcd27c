"""Starts runs of the experiments' command line, in a folder of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
SMALLEST = ("run", "--quick", "--clients", "2", "--terminals", "1")
DEADLINE = 55.0


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


@contextmanager
def started(
    folder: Path, *arguments: str, module: str = "experiments"
) -> Iterator[subprocess.Popen[str]]:
    """Starts a run whose results go below ``folder``; ends it by force if it is still there."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def end(process: subprocess.Popen[str]) -> Ended:
    """Waits for a run's end."""
    output, errors = process.communicate(timeout=DEADLINE)
    return Ended(process.returncode, output, errors)
