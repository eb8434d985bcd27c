"""Passwords as argon2id hashes, checked few at a time so that a crowd costs time and not memory."""

from __future__ import annotations

import ctypes
import os
import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from nodes.database.errors import UserInputError

MEMORY_KIB = 19_456
PASSES = 2
LANES = 1
"""argon2id's parameters: OWASP's smaller set, so that a check costs 19 MiB and not 64."""
CHECKS_AT_ONCE = min(2, len(os.sched_getaffinity(0)))
"""More would take memory for what the cores cannot do at once anyway, and leave no core to the rest."""
PASSWORD_LENGTH = 1024
"""Octets of the longest password."""

LARGE_BLOCK = 4 * 1024 * 1024
"""Octets from which memory is mapped for itself alone."""
_M_MMAP_THRESHOLD = -3  # malloc.h

# Well-formed, of our parameters, and no password's: an unknown name costs what a known one does.
NOBODY = f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}$" + "A" * 22 + "$" + "A" * 43


def describe() -> str:
    """Names the parameters, for a record of how long registrations take."""
    return f"argon2id, {MEMORY_KIB} KiB, {PASSES} passes, {LANES} lane, {CHECKS_AT_ONCE} at a time"


class Passwords:
    """Makes and checks hashes; every call takes tens of milliseconds."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)
        self._hashing = threading.BoundedSemaphore(CHECKS_AT_ONCE)
        _give_back_large_blocks()

    def hash(self, password: bytes, least: int = 1) -> str:
        """Returns a password's hash; raises UserInputError for one that is too short or too long."""
        if len(password) < least:
            octets = "one octet" if least == 1 else f"{least} octets"
            raise UserInputError(f"password: expected at least {octets}")
        if len(password) > PASSWORD_LENGTH:
            raise UserInputError(f"password: expected at most {PASSWORD_LENGTH} octets")
        with self._hashing:
            return self._hasher.hash(password)

    def matches(self, stored: str | None, password: bytes) -> bool:
        """Tells whether the password is the hash's; None (nobody's hash) takes as long as a wrong one."""
        try:
            with self._hashing:
                self._hasher.verify(NOBODY if stored is None else stored, password)
        except (VerificationError, InvalidHashError):
            return False
        return stored is not None

    def is_outdated(self, stored: str) -> bool:
        """Tells whether a hash has other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)


def _give_back_large_blocks() -> None:
    """Makes the C library return a hash's 19 MiB to the system at once.

    glibc would learn from the first such block to keep them, one in every thread's arena.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:  # only glibc has it, and the problem
        set_option(_M_MMAP_THRESHOLD, LARGE_BLOCK)
