"""What a running server pays for a datagram, on any machine: for measurements on real ones.

    python -m experiments.process_cost STATUS_SOCKET PID [--seconds 10] [--json]

Reads the process's CPU time and its counters, waits, and reads both again. Needs to be the process's
owner. What the kernel does in its interrupts is not in it: see docs/two-machines.md.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from experiments.instrument.accounting import cpu_time
from nodes.command_line import Parser, whole
from nodes.status import StatusError, fetch_status

EXIT_SEEN, EXIT_NOTHING, EXIT_USAGE = range(3)


class Reading(msgspec.Struct, frozen=True):
    """One look: ns of the monotonic clock, ns of CPU time, datagrams in, copies out."""

    moment: int
    cpu: int
    datagrams_in: int
    copies_out: int


@dataclass(frozen=True)
class Cost:
    """What happened between two looks; times in ns."""

    seconds: float
    datagrams_in: int
    copies_out: int
    cpu: int

    @property
    def ns_per_datagram_in(self) -> float:
        """CPU time for each datagram that came in, with all its copies."""
        return self.cpu / self.datagrams_in

    def describe(self) -> str:
        """Says it for a person."""
        return (
            f"{self.seconds:.1f} s: {self.datagrams_in} datagrams in, {self.copies_out} copies out, "
            f"{self.cpu / 1e6:.1f} ms of CPU time ({self.cpu / self.seconds / 1e7:.1f} % of a core): "
            f"{self.ns_per_datagram_in:.0f} ns a datagram in"
        )


def read(status_socket: Path, process: int) -> Reading:
    """Looks at a process; StatusError or OSError when it is not there."""
    counters = fetch_status(status_socket)["counters"]
    # Last: answering costs the process something, which belongs to before.
    return Reading(
        time.monotonic_ns(),
        cpu_time(process),
        counters["datagrams_in"],
        counters["copies_out"],
    )


def between(before: Reading, after: Reading) -> Cost:
    """Returns what happened between two looks."""
    return Cost(
        (after.moment - before.moment) / 1e9,
        after.datagrams_in - before.datagrams_in,
        after.copies_out - before.copies_out,
        after.cpu - before.cpu,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, 1 when no datagram came, 2 when there is no such process."""
    parser = Parser(prog="python -m experiments.process_cost")
    parser.add_argument("status_socket", type=Path, help="the server's status_socket")
    parser.add_argument("pid", type=whole(1), help="the server's process ID")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to watch")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    try:
        before = read(options.status_socket, options.pid)
        time.sleep(options.seconds)
        found = between(before, read(options.status_socket, options.pid))
    except (StatusError, OSError) as error:
        print(f"process_cost: {error}", file=sys.stderr)
        return EXIT_USAGE
    if not found.datagrams_in:
        print(f"process_cost: no datagram came in within {found.seconds:.1f} s", file=sys.stderr)
        return EXIT_NOTHING
    print(msgspec.json.encode(found).decode() if options.json else found.describe())
    return EXIT_SEEN


if __name__ == "__main__":
    sys.exit(main())
