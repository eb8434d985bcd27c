"""What a relay answers about a datagram: where it goes, or why nowhere."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from protocol import hop_tag
from protocol.errors import DropReason
from protocol.types import Address, Secret


class Strip(str, Enum):
    """What a client is sent: the whole payload, or what lies below the VPN header (step 719)."""

    KEEP = "keep"
    PATENT = "patent"


class Destination(NamedTuple):
    """Where a copy goes, and what of the payload: all from octet ``strip`` on."""

    address: Address
    strip: int = 0
    hop_key: Secret | None = None
    """That of the hop to another VPN server, whose tag takes the place of the sender's."""

    def copy_of(self, payload: bytes | memoryview) -> bytes | memoryview:
        """Returns a payload as it goes there."""
        if self.hop_key is not None:
            head = hop_tag.renewed(payload, self.hop_key)
            return head + payload[len(head) :]
        return memoryview(payload)[self.strip :] if self.strip else payload


@dataclass(frozen=True)
class Forward:
    """Send the datagram's payload to each destination."""

    destinations: tuple[Destination, ...]


@dataclass(frozen=True)
class Drop:
    """Send it nowhere."""

    reason: DropReason
    destinations: tuple[Destination, ...] = ()


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
