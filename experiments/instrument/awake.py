"""Keeps a core awake, so that what a datagram costs does not hang on how long nothing came before it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from experiments.instrument.canaries import CANARY_PROGRAM

_END_SECONDS = 5.0


@contextlib.contextmanager
def kept_awake(core: int) -> Iterator[None]:
    """Has the soaker run on a core meanwhile: at the lowest priority, so that whoever wants it has it.

    A core that has nothing to do halts, and its machine may give it to others: a part of why a frame costs
    more after a pause. The other part, caches that others have used, stays. Raises OSError when it cannot
    start.
    """
    with tempfile.NamedTemporaryFile() as count:
        count.write(bytes(8))
        count.flush()
        soaker = subprocess.Popen(
            [sys.executable, CANARY_PROGRAM, "soak", str(core), count.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert soaker.stdin is not None
        assert soaker.stdout is not None
        try:
            soaker.stdout.readline()
            yield
        finally:
            soaker.stdin.close()
            try:
                soaker.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                soaker.kill()
                soaker.wait()
            soaker.stdout.close()
