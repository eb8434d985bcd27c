"""One measured window: what was asked, what happened, what it cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Cast = Literal["unicast", "broadcast"]

LATENESS_LIMIT = 0.02
"""A generator that ends its schedule later than by this share has not offered the load."""
STEAL_LIMIT = 0.02
STEAL_TICK_NS = 10_000_000
"""Steal is told in ticks of 10 ms: one may be the sum of long before, so more than one counts."""


@dataclass(frozen=True)
class Load:
    """What is offered: frames of ``frame_size`` octets, ``rate`` a second, for ``seconds``.

    ``members`` is the size of the group. ``burst`` datagrams go with one system call. Of each frame for
    all ``further`` copies go to others than the group's members.
    """

    members: int
    frame_size: int
    cast: Cast
    rate: float
    seconds: float
    burst: int = 1
    further: int = 0

    @property
    def frames(self) -> int:
        """How many frames that makes: whole bursts, at least one."""
        return max(1, round(self.rate * self.seconds / self.burst)) * self.burst

    @property
    def copies(self) -> int:
        """How many copies of each frame leave a server that loses none."""
        return self.members - 1 + self.further if self.cast == "broadcast" else 1


@dataclass(frozen=True)
class Window:
    """What one server's process did and cost while a load was offered. Times in ns.

    ``cpu_ns`` is by the process's CPU clock, ``schedstat_ns`` the scheduler's own figure.
    ``lost`` counts datagrams that the process never read; ``steal_ns`` is the measured core's, as is
    ``core_busy_ns`` by /proc/stat (coarse). ``elapsed_ns`` is until the process had done it all.
    ``sender_ns`` is the CPU time of the generator's calls, with what the kernel did within them, ``floor_ns``
    that of as many calls whose frames were dropped on arrival, and ``run_ns`` that of the eBPF program by the
    kernel's statistics; 0 where they were not asked for.
    """

    server: str
    load: Load
    seconds: float
    sent: int
    frames_in: int
    copies_out: int
    lost: int
    cpu_ns: int
    schedstat_ns: int
    steal_ns: int
    saturated: bool
    latest_ns: int
    elapsed_ns: int = 0
    core_busy_ns: int = 0
    sender_ns: int = 0
    floor_ns: int = 0
    run_ns: int = 0

    @property
    def ns_per_frame(self) -> float:
        """CPU time per frame in, in ns; not a number when none came in."""
        return self.cpu_ns / self.frames_in if self.frames_in else float("nan")

    @property
    def ns_per_copy(self) -> float:
        """CPU time per copy out, in ns; not a number when none went out."""
        return self.cpu_ns / self.copies_out if self.copies_out else float("nan")

    @property
    def missing_copies(self) -> int:
        """How many copies of the frames that came in did not go out (or, negative, too many)."""
        return self.frames_in * self.load.copies - self.copies_out

    @property
    def flags(self) -> tuple[str, ...]:
        """Names what makes the window doubtful."""
        found = {
            "steal": self.steal_ns > max(STEAL_TICK_NS, STEAL_LIMIT * self.elapsed_ns),
            "saturated": self.saturated,
            "lost": self.lost > 0,
            "copies": self.missing_copies != 0,
        }
        return tuple(name for name, holds in found.items() if holds)
