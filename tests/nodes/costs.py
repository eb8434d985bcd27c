"""Two clients in memory, from one's LAN to the other's: what crosses, and what it costs in Python.

``python -m tests.nodes.costs`` prints the least of many times, in µs a frame: no kernel, network or other
process is in it. It compares two versions of the code on one machine, and says nothing of throughput.
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections import deque
from collections.abc import Callable, Sequence

from nodes.batch_socket import Piece, ReceivedBatch
from nodes.datagram_queue import ROOM, DatagramQueue
from nodes.driver import Driver
from nodes.lan import Lan
from nodes.outbox import Outbox
from nodes.segmentation import (
    GSO_TCPV4,
    NEEDS_CHECKSUM,
    NO_OFFLOAD,
    Octets,
    VirtioHeader,
    complete,
)
from tests.nodes.tcp import large
from tests.protocol.client.test_runs import MTU, RELAY, a_client

SEGMENTS, LARGE_FRAMES, LONE = 48, 3, 128
SIZE = MTU - 52
"""Octets of a segment: IPv4 and TCP with timestamps are before it."""
_STAMP = 14 + 20 + 20 + 4
"""Where a frame has its time, which is another in each large frame."""
TIMES = 300


class MemoryLan(Lan):
    """A LAN on which frames wait with their virtio headers, and which keeps what it is given."""

    def __init__(self) -> None:
        super().__init__("lan")
        self.waiting: deque[bytes] = deque()
        self.written: list[tuple[bytes, bytes]] = []

    @property
    def mtu(self) -> int:
        return MTU

    def fileno(self) -> int:
        return -1

    def receive(self) -> list[bytes] | None:
        if not self.waiting:
            return None
        octets = self.waiting.popleft()
        self._view[: len(octets)] = octets
        return self._complete(self._view[: len(octets)])

    def _write(self, header: bytes, octets: Octets) -> bool:
        self.written.append((header, bytes(octets)))
        return True

    def close(self) -> None:
        pass

    @property
    def kernel_drops(self) -> int:
        return 0

    def frames(self) -> list[bytes]:
        """Returns what has been written, cut as a kernel does it."""
        cut = (complete(octets, VirtioHeader.parse(header)) for header, octets in self.written)
        return [frame for frames in cut for frame in frames]


class MemorySocket:
    """A socket whose batches go to the other one's queue: whole, or (``lone``) each datagram by itself."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[bytes, int]] = deque()
        self.other: MemorySocket = self
        self.lone = False

    def receive_into(self, room: memoryview) -> ReceivedBatch | None:
        if not self.waiting:
            return None
        octets, size = self.waiting.popleft()
        room[: len(octets)] = octets
        return len(octets), size, RELAY

    def send_batch(self, pieces: Sequence[Piece], size: int, destination: tuple[str, int]) -> None:
        octets = b"".join(pieces)
        step = size if self.lone else len(octets)
        parts = (octets[start : start + step] for start in range(0, len(octets), step))
        self.other.waiting.extend((part, min(size, len(part))) for part in parts)


class MemoryQueue(DatagramQueue):
    """A client's queue of datagrams over such a socket."""

    def __init__(self, udp: MemorySocket) -> None:
        self._udp = udp  # type: ignore[assignment]
        self._outbox = Outbox(self._udp)
        self._view = memoryview(bytearray(ROOM))
        self._ahead = None
        self.host = a_client(1).information.client_address  # type: ignore[union-attr]


class Pair:
    """A client that sends, and one that receives; made in a running loop."""

    def __init__(self) -> None:
        self.lans = MemoryLan(), MemoryLan()
        self.sockets = MemorySocket(), MemorySocket()
        self.sockets[0].other, self.sockets[1].other = reversed(self.sockets)
        self.drivers = [
            Driver(a_client(number + 1), self.lans[number], MemoryQueue(self.sockets[number]))
            for number in range(2)
        ]
        for driver in self.drivers:
            driver.act()

    def send(self, number: int = 0) -> None:
        """Has a client take all that waits on its LAN."""
        while self.lans[number].waiting:
            self.drivers[number]._lan_readable()

    def receive(self, number: int = 1) -> None:
        """Has a client take all that waits at its socket."""
        while self.sockets[number].waiting:
            self.drivers[number]._udp_readable()

    def stop(self) -> None:
        for driver in self.drivers:
            driver._timer.set(None)


def large_frames() -> list[bytes]:
    """Returns what a terminal's kernel leaves to cut: one stream, virtio headers before the frames."""
    frames = []
    for first in range(0, SEGMENTS * LARGE_FRAMES, SEGMENTS):
        payload = random.Random(first).randbytes(SEGMENTS * SIZE)
        frame = large(4, payload, sequence=first * SIZE, identification=first)
        frame = frame[:_STAMP] + first.to_bytes(4, "big") + frame[_STAMP + 4 :]
        header = VirtioHeader(NEEDS_CHECKSUM, GSO_TCPV4, len(frame) - len(payload), SIZE, 34, 16)
        frames.append(header.pack() + frame)
    return frames


def segments() -> list[bytes]:
    """Returns the frames that they are cut into."""
    return [
        frame
        for octets in large_frames()
        for frame in complete(octets[len(NO_OFFLOAD) :], VirtioHeader.parse(octets))
    ]


async def costs(times: int) -> dict[str, float]:
    """Returns what frames cost in µs each: large ones, lone ones, and one that is alone."""
    found: dict[str, float] = {}
    pair, whole = Pair(), segments()
    lone = [NO_OFFLOAD + frame for frame in whole[:LONE]]
    cases: list[tuple[str, list[bytes], bool]] = [
        ("large", large_frames(), False),
        ("lone", lone, True),
        ("single", lone[:1], True),
    ]
    gc.disable()
    for _ in range(times):
        for name, waiting, apart in cases:
            count = len(whole) if name == "large" else len(waiting)
            pair.lans[0].waiting.extend(waiting)
            pair.sockets[0].lone = apart
            _timed(found, f"{name}: LAN to socket", count, pair.send)
            _timed(found, f"{name}: socket to LAN", count, pair.receive)
            assert len(pair.lans[1].frames()) == count
            pair.lans[1].written.clear()
    gc.enable()
    pair.stop()
    return found


def _timed(found: dict[str, float], name: str, frames: int, do: Callable[[], None]) -> None:
    """Keeps the least time, in µs a frame."""
    begin = time.perf_counter_ns()
    do()
    taken = (time.perf_counter_ns() - begin) / 1000 / frames
    found[name] = min(found.get(name, taken), taken)


if __name__ == "__main__":
    for what, cost in asyncio.run(costs(TIMES)).items():
        print(f"{what:24} {cost:6.2f} us a frame")
