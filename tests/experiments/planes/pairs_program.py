"""A program for tests: a relay in the kernel and a router, offered pairs of calls; tells what passed."""

from __future__ import annotations

import json
import sys

from experiments.isolation import is_isolated, isolate, orderly_termination

RELAY, ROUTER = "kernel", "null-router"


def main() -> int:
    """Returns the exit code."""
    if not is_isolated():
        return isolate()
    from experiments.instrument.rig import rig_up
    from experiments.planes.cells import Cell
    from experiments.planes.measure import ways_of
    from experiments.planes.ways import FORWARDING, ForwardingWay

    found = {}
    with orderly_termination(), rig_up((RELAY, ROUTER), (3,)) as rig:
        ways = ways_of(rig)
        ways[FORWARDING] = ForwardingWay(rig, ROUTER).measure
        for flow in ("single", "bulk"):
            for name in (RELAY, FORWARDING):
                load = Cell(flow, "unicast").load(name, 4000.0, 0.1)
                ways[name](load)  # the flow is decided
                one = ways[name](load)
                window = one.window
                found[f"{flow}.{name}"] = {
                    "counts": [window.sent, window.lost, window.frames_in, window.copies_out],
                    "floor": window.floor_ns / window.sent,
                    "kernel": one.kernel_ns,
                    "program": one.run_ns_per_frame,
                }
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
