"""A program for tests: isolates itself, puts up a small rig, measures, and says it as JSON."""

from __future__ import annotations

import json
import os
import sys

from experiments.isolation import is_isolated, isolate, orderly_termination


def main() -> int:
    """Returns the exit code."""
    if not is_isolated():
        return isolate()
    from experiments.instrument.rig import rig_up
    from experiments.instrument.settings import cores_of, steering
    from topologies.rig import SERVER_INTERFACE

    before = os.sched_getaffinity(0)
    with orderly_termination(), rig_up(("relay",), (3,)) as rig:
        seen = {
            cast: rig.window("relay", 512, cast, 2000, 0.1, 3) for cast in ("unicast", "broadcast")
        }
        batches = rig.window("relay", 512, "broadcast", 10_000, 0.1, 3, burst=40)
        rig.drops["relay"].set_ingress(True)
        floor = rig.window("relay", 512, "unicast", 2000, 0.1, 3)
        rig.drops["relay"].set_ingress(False)
        rig.set_steering(rig.cores.measured)
        found = {
            "unicast": [seen["unicast"].frames_in, seen["unicast"].copies_out],
            "broadcast": [seen["broadcast"].frames_in, seen["broadcast"].copies_out],
            "batches": [batches.sent, batches.lost, batches.frames_in, batches.copies_out],
            "cpu": [seen["unicast"].cpu_ns, seen["broadcast"].cpu_ns, floor.cpu_ns],
            "floor": [floor.sent, floor.frames_in],
            "alone": cores_of(rig.process("relay")) == {rig.cores.measured},
            "steered": sorted(steering(rig.network, "relay", SERVER_INTERFACE)),
            "measured": rig.cores.measured,
        }
    found["restored"] = os.sched_getaffinity(0) == before
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
