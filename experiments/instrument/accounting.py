"""Reads what a process has cost and what has passed, without asking it.

CPU time is the kernel's for the whole process, in ns. On kernels that do not account interrupts
apart, a process also pays for network work that the kernel does in its name: `checks` finds out.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

SECOND = 1_000_000_000
_SCHEDULER_CLOCK = 2
_TICK_NS = SECOND // os.sysconf("SC_CLK_TCK")
_IDLE = ("idle", "iowait", "steal")
_STAT_FIELDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


def cpu_clock(process: int) -> int:
    """Returns the ID of a process's CPU clock for ``time.clock_gettime_ns`` (see clock_getcpuclockid)."""
    return (~process << 3) | _SCHEDULER_CLOCK


def cpu_time(process: int) -> int:
    """Returns the CPU time of a process with all its threads, in ns; OSError when it is gone."""
    return time.clock_gettime_ns(cpu_clock(process))


def scheduled_time(process: int) -> int:
    """Returns the time that the scheduler gave to all threads that are there, in ns."""
    total = 0
    for thread in Path(f"/proc/{process}/task").iterdir():
        total += int((thread / "schedstat").read_text(encoding="ascii").split()[0])
    return total


@dataclass(frozen=True)
class Datagrams:
    """UDP over IPv6 in one network namespace: read by processes, and lost for want of buffer.

    What the kernel has joined into a batch (UDP_GRO) counts as one, read or lost.
    """

    read: int
    lost: int

    @property
    def handled(self) -> int:
        """How many came to a socket, whatever became of them."""
        return self.read + self.lost


def datagrams(process: int) -> Datagrams:
    """Reads the counters of a process's network namespace."""
    lines = Path(f"/proc/{process}/net/snmp6").read_text(encoding="ascii").splitlines()
    values = dict(line.split() for line in lines)
    return Datagrams(int(values["Udp6InDatagrams"]), int(values["Udp6RcvbufErrors"]))


def waiting(process: int) -> int:
    """Returns how many octets wait at UDP sockets of a process's network namespace."""
    rows = Path(f"/proc/{process}/net/udp6").read_text(encoding="ascii").splitlines()[1:]
    return sum(int(row.split()[4].partition(":")[2], 16) for row in rows)


@dataclass(frozen=True)
class CoreTimes:
    """What /proc/stat says of one core, in ns; sampled by ticks, so coarse."""

    busy: int
    steal: int


def core_times(core: int) -> CoreTimes:
    """Reads one core's line of /proc/stat."""
    for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
        name, *words = line.split()
        if name == f"cpu{core}":
            values = dict(zip(_STAT_FIELDS, map(int, words), strict=False))
            busy = sum(values[field] for field in _STAT_FIELDS if field not in _IDLE)
            return CoreTimes(busy * _TICK_NS, values["steal"] * _TICK_NS)
    raise ValueError(f"core {core}: expected a line of /proc/stat")


@dataclass(frozen=True)
class Reading:
    """Everything at one moment."""

    moment: int
    cpu: int
    scheduled: int
    datagrams: Datagrams
    core: CoreTimes


def read(process: int, core: int) -> Reading:
    """Reads a process, its namespace and its core."""
    return Reading(
        time.monotonic_ns(),
        cpu_time(process),
        scheduled_time(process),
        datagrams(process),
        core_times(core),
    )
