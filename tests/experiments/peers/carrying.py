"""A program for tests: isolates itself, has one peer carry frames, and says what came of it.

It writes one line of JSON: frames sent and arrived, the hub's CPU time, and the command lines of
the processes that were still there when the peer was ended but its network not yet taken down.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import psutil

from experiments.isolation import is_isolated, isolate, orderly_termination
from experiments.peers.adapter import up
from experiments.peers.catalog import PEERS
from experiments.peers.comparison import network_plan
from experiments.peers.windows import offer
from topologies.emulate import emulate

RATE, SECONDS = 200.0, 0.5


def main(name: str) -> int:
    """Returns 0 when the peer came up and was ended."""
    if not is_isolated():
        return isolate()
    peer = PEERS[name]()
    with (
        orderly_termination(),
        tempfile.TemporaryDirectory(prefix="peer-", dir="/run") as private,
        emulate(network_plan()) as network,
    ):
        before = _processes()
        with up(peer, network, Path(private)) as running:
            unicast = offer(running, "unicast", RATE, SECONDS)
            broadcast = offer(running, "broadcast", RATE, SECONDS)
        left = {pid: words for pid, words in _processes().items() if pid not in before}
    said = {
        "sent": [unicast.sent, broadcast.sent],
        "arrived": [unicast.arrived, broadcast.arrived],
        "cpu_ns": [unicast.cpu_ns, broadcast.cpu_ns],
        "left": list(left.values()),
    }
    print(json.dumps(said), flush=True)
    return 0


def _processes() -> dict[int, str]:
    return {one.pid: " ".join(one.info["cmdline"]) for one in psutil.process_iter(["cmdline"])}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
