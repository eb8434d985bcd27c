"""Has all clients of a network send at once and in turns, and tells when servers have done what came of it.

What a server costs meanwhile is its own then: no program starts beside the frames, and nobody asks it
anything before its processor time is read.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping

import msgspec

from experiments.deployment import Deployment
from experiments.instrument.accounting import cpu_time, waiting
from experiments.instrument.settings import pin
from experiments.traffic.probe import MARKER_LENGTH, SendPlan, Stream
from experiments.traffic.probing import BROADCAST, ProbingError, expect_ready, mac_of

_SEND_SECONDS = 60.0
_LEAD_SECONDS = 0.1
"""From when all senders are told the time until the first frame."""
_PHASES = {"unicast": 0.0, "broadcast": 0.5}
"""When in its turn a client sends: not both at once."""
_REST_SECONDS, _REST_DEADLINE = 0.1, 10.0
_POLL_SECONDS = 0.01


def send(
    deployment: Deployment,
    partners: Mapping[str, str],
    unicast: int,
    broadcasts: int,
    seconds: float,
    octets: int,
    core: int | None = None,
) -> None:
    """Has each client's first terminal send its frames, evenly over ``seconds``; waits for their end.

    Frames have so many ``octets``; with a ``core`` the senders are kept to it. None begins before all
    programs are there: their starts would be beside the frames, the more of them the more clients. Then
    they take turns, so that as long passes from frame to frame however many clients there are.
    """
    running: dict[tuple[str, str], subprocess.Popen[bytes]] = {}
    counts = {"unicast": unicast, "broadcast": broadcasts}
    casts = [cast for cast, count in counts.items() if count]
    try:
        for number, client in enumerate(partners):
            for cast in casts:
                running[client, cast] = _start_sender(
                    deployment, partners, number, cast, counts[cast], seconds, octets
                )
        for (client, _), process in running.items():
            expect_ready(process, client)
            if core is not None:
                pin(process.pid, core)
        begin = time.monotonic() + _LEAD_SECONDS
        for (client, cast), process in running.items():
            turn = (list(partners).index(client) + _PHASES[cast]) / len(partners)
            assert process.stdin is not None
            process.stdin.write(f"{begin + turn * seconds / counts[cast]}\n".encode())
            process.stdin.flush()
        for (client, _), process in running.items():
            _, errors = process.communicate(timeout=seconds + _SEND_SECONDS)
            if process.returncode:
                raise ProbingError(
                    f"the sender at {client}: {errors.decode(errors='replace').strip()}"
                )
    finally:
        for process in running.values():
            process.kill()
            process.communicate()


def _start_sender(
    deployment: Deployment,
    partners: Mapping[str, str],
    number: int,
    cast: str,
    count: int,
    seconds: float,
    octets: int,
) -> subprocess.Popen[bytes]:
    """Starts what sends one client's frames of one kind, once it is told when."""
    plan, client = deployment.plan, list(partners)[number]
    terminal = plan.terminals_of(client)[0]
    there = plan.terminals_of(partners[client])[0]
    destination = mac_of(plan, there) if cast == "unicast" else BROADCAST
    stream = Stream(destination, octets, count, count / seconds)
    sent = SendPlan(bytes(MARKER_LENGTH).hex(), number, mac_of(plan, terminal), (stream,))
    path = deployment.folder / f"{terminal.name}.{cast}"
    path.write_bytes(msgspec.json.encode(sent))
    interface = plan.lan_interface(terminal.name).name
    argv = [
        sys.executable,
        "-m",
        "experiments.traffic.probe",
        "send",
        "--interface",
        interface,
        "--held",
    ]
    return deployment.network.popen(
        terminal.name,
        [*argv, "--plan", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def rest(deployment: Deployment, servers: list[str]) -> None:
    """Waits until nothing waits for the servers and they do nothing, without asking them.

    What it costs them to say how they are would be in the figures.
    """
    processes = [deployment.processes[name].pid for name in servers]

    def idle() -> bool:
        return not any(map(waiting, processes))

    end = time.monotonic() + _REST_DEADLINE
    known, since = [cpu_ns(deployment, name) for name in servers], time.monotonic()
    while time.monotonic() - since < _REST_SECONDS and time.monotonic() < end:
        time.sleep(_POLL_SECONDS)
        found = [cpu_ns(deployment, name) for name in servers]
        if found != known or not idle():
            known, since = found, time.monotonic()


def cpu_ns(deployment: Deployment, name: str) -> int:
    """Reads the processor time that a process has had, in ns."""
    return cpu_time(deployment.processes[name].pid)
