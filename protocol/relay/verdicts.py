"""What a relay answers about a datagram: where it goes, or why nowhere. Never the octets themselves."""

from __future__ import annotations

from dataclasses import dataclass

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
