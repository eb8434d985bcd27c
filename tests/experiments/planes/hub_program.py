"""One window of OpenVPN's hub, in a network of its own: prints what was sent, came and left."""

from __future__ import annotations

import sys

from experiments.instrument.settings import choose_cores, kept_to
from experiments.instrument.window import Load
from experiments.isolation import is_isolated, isolate
from experiments.planes.hub import hub_up


def main() -> int:
    if not is_isolated():
        return isolate()
    cores = choose_cores()
    with kept_to(cores.others), hub_up(cores) as hub:
        for burst in (1, 20):
            window = hub.measure(Load(3, 1360, "unicast", 400.0, 0.2, burst)).window
            print(window.sent, window.frames_in, window.copies_out, window.cpu_ns > 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
