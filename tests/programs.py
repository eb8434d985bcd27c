"""Starts programs of the checkout, each with a process group of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]


@contextmanager
def started(
    module: str,
    *arguments: str,
    folder: Path = CHECKOUT,
    path: Path = CHECKOUT,
    stdin: int = subprocess.DEVNULL,
    stderr: int | None = subprocess.PIPE,
) -> Iterator[subprocess.Popen[str]]:
    """Starts a module of the checkout at ``path`` in ``folder``, its output in a pipe.

    It heeds SIGHUP, also where a shell has us ignore it. It is ended by force if it is still there.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(path)},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        start_new_session=True,
        preexec_fn=_heed_hang_up,
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def output_of(module: str, seconds: float = 250) -> str:
    """Runs a module of the checkout, which is to end well within that time, and returns its output."""
    argv = [sys.executable, "-m", module]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _heed_hang_up() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
