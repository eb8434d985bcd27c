"""A steady stream of probe frames, for measuring how long none arrives while something breaks."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from experiments.traffic.probe import MARKER_LENGTH, ReceivedFrame, SendPlan, Stream
from experiments.traffic.probe_program import read_received
from experiments.traffic.probing import (
    BROADCAST,
    ProbingError,
    expect_ready,
    mac_of,
    record_path,
    start_receiver,
    start_sender,
)
from topologies.emulate import Network

RATE = 100.0
"""Frames a second: gaps are told to 10 ms."""
FRAME_OCTETS = 64
RESUME_SECONDS = 30.0
"""The longest wait for frames to flow."""
STREAM_SECONDS = 4 * RESUME_SECONDS
POLL_SECONDS = 0.02


@dataclass
class Steady:
    """A stream that runs, from one terminal to others, and its record up to now."""

    folder: Path
    receivers: Sequence[str]

    def more_frames(self, count: int, deadline: float | None = None) -> bool:
        """Waits until every receiver has ``count`` frames more than now; False at the deadline."""
        end = time.monotonic() + RESUME_SECONDS if deadline is None else deadline
        first = self._recorded()
        return poll_until(
            lambda: all(now >= first[name] + count for name, now in self._recorded().items()), end
        )

    def wait_for_frames(self, count: int) -> None:
        """Waits until frames flow; ProbingError when they do not."""
        if not self.more_frames(count):
            raise ProbingError(f"no steady stream to {', '.join(self.receivers)}")

    def longest_gap(self, begin: int, end: int) -> float:
        """Returns the longest interval, in s, without a frame at some receiver that ends in [begin, end]."""
        return max(longest_gap(times, begin, end) for times in self._arrivals())

    def frames(self, receiver: str) -> list[ReceivedFrame]:
        """Returns what one receiver has recorded, each frame with the time of its arrival."""
        lines = read_received(record_path(self.folder, receiver))
        return [line for line in lines if isinstance(line, ReceivedFrame)]

    def missing(self) -> int:
        """Counts the frames that lie between the first and the last one received, and never came."""
        return sum(map(count_missing, self._frames()))

    def repeated(self) -> int:
        """Counts the frames that came more than once to a receiver."""
        return sum(
            len(frames) - len({frame.sequence for frame in frames}) for frames in self._frames()
        )

    def _frames(self) -> Iterator[list[ReceivedFrame]]:
        for name in self.receivers:
            yield self.frames(name)

    def _arrivals(self) -> Iterator[list[int]]:
        for frames in self._frames():
            yield [frame.at for frame in frames]

    def _recorded(self) -> dict[str, int]:
        return {
            name: record_path(self.folder, name).read_bytes().count(b"\n")
            for name in self.receivers
        }


@contextmanager
def streaming(
    network: Network, folder: Path, sender: str, receivers: Sequence[str]
) -> Iterator[Steady]:
    """Has a terminal send to one receiver, or to all when there are several, until the block ends.

    ``folder`` is made for the records, which can be read in the block and after it.
    """
    plan = network.plan
    folder.mkdir(parents=True)
    terminal = plan.node(sender)
    to = mac_of(plan, plan.node(receivers[0])) if len(receivers) == 1 else BROADCAST
    stream = Stream(to, FRAME_OCTETS, int(RATE * STREAM_SECONDS), RATE)
    sent = SendPlan(bytes(MARKER_LENGTH).hex(), 0, mac_of(plan, terminal), (stream,))
    running = []
    try:
        for name in receivers:
            running.append(start_receiver(network, folder, name))
            expect_ready(running[-1], name)
        running.append(start_sender(network, folder, sender, sent))
        yield Steady(folder, receivers)
    finally:
        # The sender first: what it has sent is still to be recorded.
        for process in reversed(running):
            process.terminate()
            process.communicate()


def count_missing(frames: Sequence[ReceivedFrame]) -> int:
    """Counts the numbers between the first and the last frame received that never came."""
    numbers = {frame.sequence for frame in frames}
    return max(numbers) - min(numbers) + 1 - len(numbers) if numbers else 0


def longest_gap(arrivals: Sequence[int], begin: int, end: int) -> float:
    """Returns the longest interval between arrivals that ends in [begin, end].

    Times are in ns, the interval is in s: 0 when there is none.
    """
    return max(
        (
            (later - earlier) / 1e9
            for earlier, later in itertools.pairwise(arrivals)
            if begin <= later <= end
        ),
        default=0.0,
    )


def poll_until(condition: Callable[[], bool], deadline: float) -> bool:
    """Waits until ``condition`` holds or the monotonic clock is at ``deadline``; tells which."""
    while not (held := condition()) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return held
