"""The measured server: ``python -m experiments.ladder.server --config server.toml``.

It is `nodes.server`, with a stopwatch beside it that two signals start and stop: SIGUSR1, SIGUSR2. Each
time it writes how it stands, as JSON, into the file beside the configuration whose name ends in
``.stages``. While the watch is off nothing of the server differs. A hub without cipher is to be had
here alone.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.ladder.stopwatch import Place, Stopwatch
from experiments.records.record import write_atomically
from nodes import server
from nodes.batch_plane import BatchDecidingPlane, BatchPlane, BatchResealingPlane
from nodes.configuration import ServerConfiguration, load_server
from nodes.data_plane import DecidingPlane, ResealingPlane, SocketPlane
from nodes.forwarding import Forwarding, forwarding_of
from nodes.planes import Plane, Planes
from nodes.udp import UdpSocket
from protocol.relay import tagged

SUFFIX = ".stages"
START, STOP = signal.SIGUSR1, signal.SIGUSR2


def places(plane: Plane) -> list[Place]:
    """Lists what is timed of a data plane and of all that it calls."""
    found = []
    if isinstance(plane, BatchPlane):
        found = [
            Place(plane._udp, "receive_into", "receive"),
            Place(plane._udp, "waits", "receive"),
            Place(plane._outbox, "_send", "send"),
            Place(plane, "_send", "send"),
        ]
    elif isinstance(plane, SocketPlane):
        found = [
            Place(plane._udp, "receive", "receive"),
            Place(plane._udp, "waits", "receive"),
            Place(plane, "_send", "send"),
        ]
    if isinstance(plane, BatchDecidingPlane):
        found.append(Place(plane, "_decide_batch", "decide"))
    if isinstance(plane, DecidingPlane | BatchDecidingPlane):
        found.append(Place(plane, "_decide", "decide"))
        found += [Place(tagged, name, "tag") for name in ("split", "key_of", "count_alike")]
    if isinstance(plane, ResealingPlane | BatchResealingPlane):
        found += [Place(plane, "_reseal", "reseal"), *_sealing()]
    return found


def _sealing() -> list[Place]:
    """Lists the SA's and the ciphers' calls; what it imports a relay's process must not have."""
    from protocol.cipher import SEALINGS
    from protocol.security_association import SecurityAssociation

    ciphers: list[Any] = list(dict.fromkeys(SEALINGS.values()))
    return [
        *(Place(SecurityAssociation, name, name) for name in ("open", "seal")),
        *(Place(one, name, f"{name}_cipher") for one in ciphers for name in ("open", "seal")),
    ]


def _watch(file: Path) -> None:
    """Has signals start and stop a watch on the plane that the server is about to make."""
    watches: list[Stopwatch] = []

    def say(found: dict[str, float] | None) -> None:
        text = json.dumps({"on": found is None, "stages": found or {}})
        write_atomically(file, text.encode())

    def start(*_: object) -> None:
        watches[0].start()
        say(None)

    def stop(*_: object) -> None:
        say(watches[0].stop())

    make = forwarding_of

    def noting(configuration: ServerConfiguration) -> Forwarding:
        forwarding = make(configuration)
        make_plane = forwarding.plane

        def plane(planes: Planes, udp: UdpSocket, arm_timer: Callable[[], None]) -> Plane:
            made = make_plane(planes, udp, arm_timer)
            watches.append(Stopwatch(places(made)))
            return made

        forwarding.plane = plane  # type: ignore[method-assign]
        return forwarding

    server.forwarding_of = noting  # type: ignore[attr-defined]
    signal.signal(START, start)
    signal.signal(STOP, stop)


def main(arguments: list[str]) -> int:
    """Runs the server; returns its exit code."""
    configuration = Path(arguments[arguments.index("--config") + 1])
    if load_server(configuration).server.forwarding == "hub":
        from experiments.instrument import no_cipher  # loads the ciphers that are there

        no_cipher.stand_in()
    _watch(configuration.with_suffix(SUFFIX))
    return server.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
