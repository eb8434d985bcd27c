"""The client's attachment to its LAN, be it a packet socket on an interface or a TAP device.

Both give whole Ethernet frames without frame check sequence, never block, and turn what the kernel
refuses into counters: only opening can fail, with :class:`LanError`.

Patent: Fig. 2 parts 105-107; Fig. 8-1 step 801; Fig. 8-2 step 820.
"""

from __future__ import annotations

import contextlib
import errno
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TypeVar

from nodes import interface as device
from nodes.interface import LanError
from nodes.segmentation import (
    FEWEST_JOINED,
    HEADER_LENGTH,
    NO_OFFLOAD,
    Octets,
    SegmentationError,
    VirtioHeader,
    complete,
)
from protocol.types import FrameRun

__all__ = ["Lan", "LanError"]

FRAME_BUFFER_LENGTH = 65536 + 18
"""Octets: more than the largest segmentation-offload frame with its tagged header."""
ETHERNET_HEADER_LENGTH = 14
MTU_SECONDS = 1.0
"""For so long an interface's MTU is taken to be what it was."""
AnyLan = TypeVar("AnyLan", bound="Lan")


class Lan(ABC):
    """What a client needs of its LAN; counters are frames since opening."""

    def __init__(self, interface: str) -> None:
        device.check_name(interface)
        self.interface = interface
        self.received = 0
        self.sent = 0
        self.truncated = 0
        self.send_refused = 0
        self.receive_errors = 0
        self.cut = 0
        self.not_cut = 0
        self._kernel_drops = 0
        self.joined = 0
        self._buffer = bytearray(FRAME_BUFFER_LENGTH)
        self._view = memoryview(self._buffer)
        self._takes_large = True
        self._longest = 0
        self._longest_since = -math.inf

    @abstractmethod
    def fileno(self) -> int:
        """Returns the descriptor to wait for until a frame may be there; -1 when closed."""

    @abstractmethod
    def receive(self) -> list[bytes] | None:
        """Returns the frames of one read, or None when there is nothing more now.

        What a terminal has left to offloads is done: a large frame is cut, which makes several of one
        station to the same destination, and a checksum completed. None are left of a frame for which
        that cannot be done.
        """

    def _complete(self, octets: memoryview) -> list[bytes]:
        """Does what is left to do to a frame behind its header; none when that cannot be done."""
        self.received += 1
        frame = octets[HEADER_LENGTH:]
        if octets[:HEADER_LENGTH] == NO_OFFLOAD:
            return [bytes(frame)]
        try:
            frames = complete(frame, VirtioHeader.parse(octets))
        except SegmentationError:
            self.not_cut += 1
            return []
        self.cut += len(frames) > 1
        return frames

    def send(self, frame: bytes) -> bool:
        """Puts one frame on the LAN; returns False, and counts, when the kernel refuses it."""
        if not self._write(NO_OFFLOAD, frame):
            self.send_refused += 1
            return False
        self.sent += 1
        return True

    def send_all(self, runs: Sequence[FrameRun]) -> None:
        """Puts frames on the LAN in this order, neighbours of one TCP stream as one large frame.

        The kernel cuts it into the same frames, or gives it whole to a station that can take it.
        """
        if not self._takes_large or sum([run.rows for run in runs]) < FEWEST_JOINED:
            self._send_singly(runs)
            return
        from nodes import large_frames  # numpy, for those alone who get so many frames at once

        for header, octets, parts in large_frames.join(runs, self._longest_now()):
            if header == NO_OFFLOAD or not self._send_large(header, octets, parts):
                self._send_singly(parts)

    def _send_singly(self, runs: Iterable[FrameRun]) -> None:
        for run in runs:
            for frame in run.frames():
                self.send(frame)

    def _send_large(self, header: bytes, octets: Octets, parts: Sequence[FrameRun]) -> bool:
        """Returns False when the kernel takes no such frame: what is in it may well go one by one."""
        if not self._takes_large or not self._write(header, octets):
            self._takes_large = False
            return False
        self.joined += 1
        self.sent += sum(run.rows for run in parts)
        return True

    @abstractmethod
    def _write(self, header: bytes, octets: Octets) -> bool:
        """Gives a frame with its virtio header to the kernel; False when that refuses it."""

    def _longest_now(self) -> int:
        """Returns the octets of the longest frame that the interface takes, as it was a moment ago."""
        moment = time.monotonic()
        if moment - self._longest_since > MTU_SECONDS:
            with contextlib.suppress(LanError):
                self._longest = self.mtu + ETHERNET_HEADER_LENGTH
            self._longest_since = moment
        return self._longest

    @abstractmethod
    def close(self) -> None:
        """Gives the descriptor back; a TAP device vanishes with it. May be called twice."""

    @property
    @abstractmethod
    def kernel_drops(self) -> int:
        """Frames that the kernel dropped because they were not fetched in time."""

    @property
    def mtu(self) -> int:
        """The interface's MTU as it is now, in octets without the Ethernet header."""
        return device.mtu(self.interface)

    @property
    def gone(self) -> bool:
        """Whether the interface no longer exists: ask when ``receive_errors`` has grown.

        The descriptor of a TAP device that somebody deleted stays readable for ever.
        """
        return not device.exists(self.interface)

    def counters(self) -> dict[str, int]:
        """Returns every counter by its name."""
        return {
            "received": self.received,
            "sent": self.sent,
            "truncated": self.truncated,
            "send_refused": self.send_refused,
            "receive_errors": self.receive_errors,
            "cut": self.cut,
            "not_cut": self.not_cut,
            "joined": self.joined,
            "kernel_drops": self.kernel_drops,
        }

    def _count_failure(self, error: OSError) -> None:
        """Counts a failed receive, unless it only means that no frame is waiting."""
        if error.errno not in (errno.EAGAIN, errno.EWOULDBLOCK):
            self.receive_errors += 1

    def __enter__(self: AnyLan) -> AnyLan:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
