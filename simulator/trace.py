"""A run's fingerprint: what happened where and when, hashed. Equal runs have equal ones."""

from __future__ import annotations

from hashlib import blake2b

VERSION = 1
"""Part of every fingerprint: to be raised when what is noted changes."""


class Trace:
    """Takes notes of events in their order, and keeps nothing of them but a hash and their number."""

    def __init__(self) -> None:
        self._hash = blake2b(f"trace {VERSION}".encode(), digest_size=16)
        self.notes = 0

    def note(self, now: int, node: str, event: str, octets: bytes = b"") -> None:
        """Notes that something happened at a node, with the octets that it happened to."""
        self.notes += 1
        head = f"{now} {node} {event} {len(octets)}\n"
        self._hash.update(head.encode())
        self._hash.update(octets)

    def fingerprint(self) -> str:
        """Returns 32 hexadecimal digits."""
        return self._hash.hexdigest()
