"""A program for tests: isolates itself, builds a network, says what it is, and waits.

It says on standard output one line of JSON: the IDs of its processes, as seen inside. Then it
waits for a line on standard input, or fails when its argument is `fail`. At the end, also of an
interrupted one, it says `down`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from experiments.isolation import is_isolated, isolate, orderly_termination
from topologies.catalog import single
from topologies.emulate import emulate


def main(arguments: list[str]) -> int:
    """Returns 7 when all went well, so that the exit code is seen to pass through."""
    if not is_isolated():
        return isolate()
    try:
        with orderly_termination(), emulate(single()) as network:
            sleeper = network.popen("server", ["sleep", "600"], stdout=subprocess.DEVNULL)
            if arguments == ["fail"]:
                raise SystemExit(9)
            names = [entry.name for entry in Path("/sys/class/net").iterdir()]
            known = {"own": os.getpid(), "sleeper": sleeper.pid, "names": names}
            print(json.dumps(known), flush=True)
            sys.stdin.readline()
    finally:
        print("down", flush=True)
    return 7


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
