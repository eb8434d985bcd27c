"""Small processes whose cost tells whether a process pays for work that is not its own."""

from __future__ import annotations

import bisect
import contextlib
import json
import mmap
import random
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from experiments.instrument.commands import Sent
from experiments.instrument.programs import Program, program
from experiments.instrument.rig import Rig
from experiments.instrument.settings import run
from experiments.instrument.window import Load
from topologies.rig import bridge_of, unknown_neighbour

PORTS = (1, 8, 32)
SPINNER_PORT = 4799
CANARY_PROGRAM = str(Path(__file__).with_name("canary_program.py"))
_DISCARD = 9
_SECONDS = 20.0
_FEWEST_SAMPLES = 4


def next_hop_costs(
    rig: Rig, server: str, rounds: int, datagrams: int, chance: random.Random
) -> list[dict[int, float]]:
    """Returns CPU ns per datagram of a plain sender beside ``server``, by ports behind its bridge.

    The sender sends to a MAC that the bridge has not learnt, so that it floods. Each round
    measures all numbers of ports once, in an order of chance.
    """
    address, _ = unknown_neighbour(rig.plan, server)
    argv = (CANARY_PROGRAM, "send", str(rig.cores.measured), address, str(_DISCARD))
    costs = []
    with (
        _further_ports(rig, server) as flood,
        program(rig.network, server, argv, rig.folder, "sender") as sender,
    ):
        _cost(sender, datagrams)
        for _ in range(rounds):
            found = {}
            for ports in chance.sample(PORTS, len(PORTS)):
                flood(ports)
                found[ports] = _cost(sender, datagrams)
            costs.append(found)
    return costs


def _cost(sender: Program, datagrams: int) -> float:
    sender.tell(str(datagrams).encode())
    said = json.loads(sender.hear(_SECONDS))
    cost: float = said["cpu_ns"] / max(1, said["sent"])
    return cost


@contextlib.contextmanager
def _further_ports(rig: Rig, server: str) -> Iterator[Callable[[int], None]]:
    """Adds ports to a server's bridge for a while; yields what says how many of them are flooded.

    Behind each is a cable that ends in the bridge's own node.
    """
    bridge, ports = bridge_of(server), range(max(PORTS))

    def batch(program: str, lines: Iterable[str]) -> None:
        text = "".join(f"{line}\n" for line in lines)
        run(rig.network, bridge, [program, "-batch", "-"], text)

    def flood(count: int) -> None:
        batch(
            "bridge",
            (f"link set dev port-{one} flood {'on' if one < count else 'off'}" for one in ports),
        )

    batch("ip", (line for one in ports for line in _new_port(one, bridge)))
    try:
        yield flood
    finally:
        batch("ip", (f"link delete dev port-{one}" for one in ports))


def _new_port(number: int, bridge: str) -> tuple[str, ...]:
    return (
        f"link add name port-{number} type veth peer name end-{number}",
        f"link set dev port-{number} master {bridge}",
        f"link set dev port-{number} up",
        f"link set dev end-{number} up",
    )


def spin(rig: Rig, server: str, load: Load, pairs: int) -> list[float | None]:
    """Returns how much of its work a spinning process on the measured core does under load.

    Each value is the ratio of its loops per second of its own CPU time in a slice with load to
    those in one beside it with none, while the generator works as hard and sends nothing: cores may
    share what they run on; None where it hardly had the core in one of the two. The load goes to the
    spinner's own socket, which nobody reads, so that no server runs.
    """
    address = str(rig.plan.data_address(server))
    argv = (CANARY_PROGRAM, "spin", str(rig.cores.measured), address, str(SPINNER_PORT))
    slices: list[dict[bool, Sent]] = []
    with program(rig.network, server, argv, rig.folder, "spinner") as spinner:
        spinner.hear(_SECONDS)
        for number in range(pairs):
            slices.append({})
            for dry in (True, False) if number % 2 else (False, True):
                rig.prepare(server, load, SPINNER_PORT)
                slices[-1][dry] = rig.send(load, dry)
        spinner.tell(b"end")
        samples = json.loads(spinner.hear(_SECONDS))
    return [share(samples, one[False], one[True]) for one in slices]


def share(samples: Sequence[tuple[int, int, int]], loaded: Sent, free: Sent) -> float | None:
    """Returns the spinner's speed in one slice over that in another; None with too few samples.

    ``samples`` are (monotonic ns, own CPU ns, loops), in the order of time.
    """
    speeds = _speed(samples, loaded), _speed(samples, free)
    return speeds[0] / speeds[1] if speeds[0] is not None and speeds[1] is not None else None


def _speed(samples: Sequence[tuple[int, int, int]], sent: Sent) -> float | None:
    """Returns loops per ns of CPU time within a slice, from the samples that lie in it."""
    first = bisect.bisect_left(samples, sent.begin_ns, key=lambda one: one[0])
    last = bisect.bisect_left(samples, sent.begin_ns + sent.seconds * 1e9, key=lambda one: one[0])
    if last - first < _FEWEST_SAMPLES:
        return None
    (_, cpu_before, before), (_, cpu_after, after) = samples[first], samples[last - 1]
    return float(after - before) / float(cpu_after - cpu_before)


class Soaker:
    """Reads the soaker's count: how much of the measured core nobody else wanted."""

    def __init__(self, shared: mmap.mmap) -> None:
        self._shared = shared

    def read(self) -> tuple[int, int]:
        """Returns the moment in ns and the loops until then."""
        (loops,) = struct.unpack_from("=Q", self._shared, 0)
        return time.monotonic_ns(), loops


@contextlib.contextmanager
def soaking(rig: Rig, server: str) -> Iterator[Soaker]:
    """Soaks up the measured core's idle time for a while."""
    path = rig.folder / "soaker.count"
    path.write_bytes(bytes(8))
    argv = (CANARY_PROGRAM, "soak", str(rig.cores.measured), str(path))
    with (
        path.open("r+b") as file,
        mmap.mmap(file.fileno(), 8) as shared,
        program(rig.network, server, argv, rig.folder, "soaker") as soaker,
    ):
        soaker.hear(_SECONDS)
        yield Soaker(shared)


def median(values: Sequence[float]) -> float:
    """Returns the middle value; of an even number, the upper of the two."""
    return sorted(values)[len(values) // 2]
