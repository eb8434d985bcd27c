"""What is told of processes that were started."""

from __future__ import annotations

import sys

from tests.nodes.running import eventually
from topologies.processes import ProcessRecord

BUSY = "while True: pass"
WAITS = "import sys; sys.stdin.read()"
THREAD_IS_BUSY = f"""
import sys, threading
def busy():
    {BUSY}
threading.Thread(target=busy, daemon=True).start()
sys.stdin.read()
"""


def test_only_what_neither_runs_nor_would_run_is_asleep() -> None:
    record = ProcessRecord()
    try:
        assert record.asleep()
        record.start([sys.executable, "-c", WAITS], stdin=-1)
        assert eventually(record.asleep)
        for program in (BUSY, THREAD_IS_BUSY):
            process = record.start([sys.executable, "-c", program], stdin=-1)
            assert eventually(lambda: not record.asleep())
            # It never waits for anything, whether it has a processor or not.
            assert not any(record.asleep() for _ in range(100))
            process.kill()
            process.wait()
        assert eventually(record.asleep)
    finally:
        record.stop(0.0)
