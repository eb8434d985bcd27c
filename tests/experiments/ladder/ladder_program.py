"""A program for tests: isolates itself, puts hubs and a relay on a rig, measures, and says it as JSON."""

from __future__ import annotations

import json
import sys

from experiments.isolation import is_isolated, isolate, orderly_termination

SERVERS = ("gcm-socket", "cbc-batch", "plain-batch", "tags-socket")


def main() -> int:
    """Returns the exit code."""
    if not is_isolated():
        return isolate()
    from experiments.instrument.rig import rig_up
    from experiments.instrument.window import Load
    from experiments.ladder.command import MODULE
    from experiments.ladder.sampling import sample

    load = Load(3, 512, "broadcast", 2000, 0.1)
    found = {}
    with orderly_termination(), rig_up(SERVERS, (3,), module=MODULE) as rig:
        for name in SERVERS:
            (stages,) = sample(rig, "single", name, load, 1)
            window = rig.measure(name, load)
            process = rig.deployment.status(name)["process"]
            found[name] = {
                "passed": [window.sent, window.frames_in, window.copies_out],
                "stages": {stage: ns for stage, ns in stages.stages.items() if ns},
                "cipher": process["cipher_loaded"],
                "calls": [process["frames_opened"], process["frames_sealed"]],
            }
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
