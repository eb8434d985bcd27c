"""Runs one of the experiments' own commands as a user would, and finds what it has left."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code, seconds, the folder of its results (None: it left none)."""

    code: int
    seconds: float
    folder: Path | None


def run(arguments: Sequence[str]) -> Ended:
    """Runs ``python -m experiments`` with these arguments; what it prints is passed on."""
    begin = time.monotonic()
    argv = [sys.executable, "-m", "experiments", *arguments]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, end="", flush=True)
    last = done.stdout.splitlines()[-1] if done.stdout else ""
    folder = last.removeprefix("results: ")
    found = None if folder == last else Path(folder)
    return Ended(done.returncode, time.monotonic() - begin, found)
