"""A program for tests: servers that know somebody more on a rig; says what passed them as JSON."""

from __future__ import annotations

import json
import sys

from experiments.isolation import is_isolated, isolate, orderly_termination

SERVERS = ("batch-anew", "kernel-anew", "kernel-kept")
WINDOWS = 2
"""Of each flow; the last one is told of."""


def main() -> int:
    """Returns the exit code."""
    if not is_isolated():
        return isolate()
    from experiments.instrument.rig import rig_up
    from experiments.planes.cells import Cell
    from experiments.planes.command import MODULE

    found = {}
    with orderly_termination(), rig_up(SERVERS, (3,), module=MODULE) as rig:
        for name in SERVERS:
            windows = []
            for flow in ("single", "bulk"):
                load = Cell(flow, "broadcast", onward=True).load(name, 2000.0, 0.05)
                for _ in range(WINDOWS):
                    window = rig.measure(name, load)
                windows.append([window.sent, window.frames_in, window.copies_out])
            counters = rig.deployment.status(name)["counters"]
            found[name] = {
                "windows": windows,
                "onward": counters["copies_to_servers"],
                "in": counters["datagrams_in"],
                "up": counters.get("kernel_passed_up", 0),
            }
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
