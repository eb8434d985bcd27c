"""What a relay answers about a datagram: where it goes, or why nowhere. Never the octets themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from protocol.errors import DropReason
from protocol.types import Address


@dataclass(frozen=True)
class Forward:
    """Send the datagram's payload, from octet ``strip`` on, to each (destination, strip)."""

    destinations: tuple[tuple[Address, int], ...]


@dataclass(frozen=True)
class Drop:
    """Send it nowhere."""

    reason: DropReason
    destinations: tuple[tuple[Address, int], ...] = ()


Verdict = Forward | Drop


class Run(NamedTuple):
    """Datagrams that stand behind each other in a buffer, octets ``start`` to ``stop``, and go alike.

    All are as long as the first, save the last, which may be shorter.
    """

    start: int
    stop: int
    verdict: Verdict


def add_run(runs: list[Run], run: Run) -> None:
    """Adds what follows the last of ``runs`` in the buffer, as its continuation if it goes alike."""
    if runs and runs[-1].verdict == run.verdict:
        run = Run(runs[-1].start, run.stop, run.verdict)
        runs.pop()
    runs.append(run)
