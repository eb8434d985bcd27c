"""Links with delay and rate where the kernel has no netem: ``python -m topologies.delay_line``.

Each end of such a link is a TAP device in its node's network namespace. This process makes them,
holds every frame for its time and writes it to the other end; when it ends, the devices go.

It reads one line of JSON: a list of links, each with ``delay_ns``, ``rate_bits``, ``held_frames``
and two ``ends`` of ``pid`` (a process in the node's namespaces) and ``name``. It says ``ready``.
To every further line it answers one line of JSON: for each link two objects, from the first end and
from the second, that say how many frames were ``forwarded``, ``dropped`` for want of room and
``refused`` by the other end. At the end of its input it ends: it never outlives who started it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import heapq
import json
import os
import select
import struct
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NANOSECONDS = 1_000_000_000
EARLY_NS = 50_000
"""So long before a frame is due the process wakes up, and then waits awake."""
LARGEST_FRAME = 65_550
"""Octets: the largest MTU with an Ethernet header before it."""

_TUNSETIFF = 0x400454CA
_IFF_TAP = 0x0002
_IFF_NO_PI = 0x1000
_CLONE_NEWNET = 0x40000000
_FRAMES_A_TURN = 64
_INPUT_OCTETS = 65536
_HIGHEST_PRIORITY = -20


@dataclass
class Direction:
    """Holds the frames that go one way over a link, in the order in which they are due.

    A frame waits until those before it are sent at ``rate_bits`` (bit/s over its octets, headers
    included; None: at once), and is due ``delay_ns`` after its own last bit. Beyond ``held_frames``
    frames, waiting and under way, the newest is dropped.
    """

    delay_ns: int
    rate_bits: int | None
    held_frames: int
    forwarded: int = 0
    dropped: int = 0
    refused: int = 0
    _held: deque[tuple[int, bytes]] = field(default_factory=deque)
    _free_at: int = 0

    def push(self, frame: bytes, now: int) -> None:
        """Takes a frame that came at ``now`` (ns), or drops it."""
        if len(self._held) >= self.held_frames:
            self.dropped += 1
            return
        sent = max(now, self._free_at)
        if self.rate_bits is not None:
            sent += len(frame) * 8 * NANOSECONDS // self.rate_bits
        self._free_at = sent
        self._held.append((sent + self.delay_ns, frame))

    def next_due(self) -> int | None:
        """Returns when the next frame is due (ns), None when none is held."""
        return self._held[0][0] if self._held else None

    def pop_due(self, now: int) -> Iterator[bytes]:
        """Yields the frames that are due at ``now``, and holds them no longer."""
        while self._held and self._held[0][0] <= now:
            yield self._held.popleft()[1]

    def counters(self) -> dict[str, int]:
        """Returns how many frames were forwarded, dropped here, and refused by the other end."""
        return {
            "forwarded": self.forwarded,
            "dropped": self.dropped,
            "refused": self.refused,
        }


class DelayLine:
    """Joins pairs of descriptors that one frame at a time is read from and written to."""

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._ways: dict[int, tuple[Direction, int]] = {}
        self._agenda: list[tuple[int, int]] = []
        """The due time of each way's first frame, and the descriptor that it came from."""

    def join(self, one: int, other: int, link: Mapping[str, Any]) -> tuple[Direction, Direction]:
        """Joins two descriptors; returns the directions from the first and from the second."""
        settings = link["delay_ns"], link["rate_bits"], link["held_frames"]
        directions = Direction(*settings), Direction(*settings)
        self._ways[one] = directions[0], other
        self._ways[other] = directions[1], one
        return directions

    @property
    def sources(self) -> list[int]:
        """Lists the descriptors that frames come from."""
        return list(self._ways)

    def seconds_left(self) -> float | None:
        """Returns how long to wait for the next frame's time, None when no frame is held.

        It is `EARLY_NS` less: a process that has been woken is not at work at once.
        """
        if not self._agenda:
            return None
        return max(0, self._agenda[0][0] - self._clock() - EARLY_NS) / NANOSECONDS

    def take(self, source: int) -> None:
        """Reads what has come at a descriptor; OSError when its device is gone."""
        direction, _ = self._ways[source]
        idle = direction.next_due() is None
        for _ in range(_FRAMES_A_TURN):
            try:
                frame = os.read(source, LARGEST_FRAME)
            except BlockingIOError:
                break
            direction.push(frame, self._clock())
        due = direction.next_due()
        if idle and due is not None:
            heapq.heappush(self._agenda, (due, source))

    def give(self) -> None:
        """Writes all frames that are due."""
        while self._agenda and self._agenda[0][0] <= self._clock():
            _, source = self._agenda[0]
            direction, target = self._ways[source]
            for frame in direction.pop_due(self._clock()):
                try:
                    os.write(target, frame)
                    direction.forwarded += 1
                except OSError:
                    # The other end is down or full: it has lost the frame, as a cable would.
                    direction.refused += 1
            due = direction.next_due()
            if due is None:
                heapq.heappop(self._agenda)
            else:
                heapq.heapreplace(self._agenda, (due, source))


def main() -> int:
    """Runs until the end of standard input; returns the exit code."""
    line = DelayLine()
    directions: list[tuple[Direction, Direction]] = []
    arrived, _, rest = _first_line()
    for link in json.loads(arrived):
        one, other = (_open_tap(end["pid"], end["name"]) for end in link["ends"])
        directions.append(line.join(one, other, link))
    _be_punctual()
    print("ready", flush=True)
    _serve(line, directions, rest.count(b"\n"))
    return 0


def _serve(line: DelayLine, directions: Sequence[tuple[Direction, Direction]], asked: int) -> None:
    """Passes frames on and answers questions until standard input ends."""
    standard_input = sys.stdin.fileno()
    watched = [standard_input, *line.sources]
    while True:
        for _ in range(asked):
            print(json.dumps([[way.counters() for way in pair] for pair in directions]), flush=True)
        asked = 0
        # select() takes its time-out to the microsecond; those of poll() are milliseconds.
        ready, _, _ = select.select(watched, [], [], line.seconds_left())
        for descriptor in ready:
            if descriptor != standard_input:
                line.take(descriptor)
            elif octets := os.read(standard_input, _INPUT_OCTETS):
                asked = octets.count(b"\n")
            else:
                return
        line.give()


def _first_line() -> tuple[bytes, bytes, bytes]:
    """Reads standard input up to its first line's end; returns it, the end, and what came behind."""
    octets = b""
    while b"\n" not in octets:
        more = os.read(sys.stdin.fileno(), _INPUT_OCTETS)
        if not more:
            raise SystemExit("delay line: standard input: expected a line of JSON")
        octets += more
    return octets.partition(b"\n")


def _open_tap(pid: int, name: str) -> int:
    """Makes a TAP device where the process ``pid`` is, and returns its descriptor."""
    with network_of(pid):
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        request = struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI)
        fcntl.ioctl(descriptor, _TUNSETIFF, request)
    return descriptor


@contextlib.contextmanager
def network_of(pid: int) -> Iterator[None]:
    """Moves this thread into the network namespace of another process for a while; OSError."""
    with open("/proc/thread-self/ns/net", "rb") as own, open(f"/proc/{pid}/ns/net", "rb") as other:
        _enter(other.fileno())
        try:
            yield
        finally:
            _enter(own.fileno())


def _enter(descriptor: int) -> None:
    # os.setns() is there from Python 3.12 on.
    library = ctypes.CDLL(None, use_errno=True)
    if library.setns(descriptor, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


def _be_punctual() -> None:
    """Asks for timers without slack and for the processor first; goes on where that is refused."""
    with contextlib.suppress(OSError):
        Path("/proc/self/timerslack_ns").write_text("1", encoding="ascii")
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _HIGHEST_PRIORITY)


def _run(arguments: Sequence[str]) -> int:
    if arguments:
        print("delay line: expected no arguments", file=sys.stderr)
        return 2
    try:
        return main()
    except OSError as error:
        print(f"delay line: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(_run(sys.argv[1:]))
