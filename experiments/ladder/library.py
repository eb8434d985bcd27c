"""What the library's calls take by themselves, on an empty message and on a frame's: much is set-up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.hmac import HMAC

from experiments.ladder.rungs import BASE_SIZE
from experiments.records import figures as figures_of
from experiments.records.record import Figure, Table

MESSAGES = {"empty": 0, "frame": BASE_SIZE + 4}
"""Octets: none, and a frame with EtherIP header and ESP trailer, whole blocks of AES."""
REPETITIONS, CALLS = 9, 400
_KEY, _BLOCK, _MAC_KEY = bytes(range(16)), bytes(16), bytes(range(20))


def calls() -> dict[str, Callable[[bytes], object]]:
    """Returns the calls, by what they are: objects made for each message, and objects that stay."""
    gcm = AESGCM(_KEY)
    kept = Cipher(algorithms.AES(_KEY), modes.CBC(_BLOCK)).encryptor()
    begun = HMAC(_MAC_KEY, SHA1())

    def cbc_anew(message: bytes) -> bytes:
        context = Cipher(algorithms.AES(_KEY), modes.CBC(_BLOCK)).encryptor()
        return context.update(message) + context.finalize()

    def hmac_anew(message: bytes) -> bytes:
        mac = HMAC(_MAC_KEY, SHA1())
        mac.update(message)
        return mac.finalize()

    def hmac_copied(message: bytes) -> bytes:
        mac = begun.copy()
        mac.update(message)
        return mac.finalize()

    return {
        "AES-GCM": lambda message: gcm.encrypt(_BLOCK[:12], message, _BLOCK[:8]),
        "AES-CBC, object kept": lambda message: kept.update(_BLOCK + message),
        "AES-CBC, object for each message": cbc_anew,
        "HMAC-SHA1, object copied": hmac_copied,
        "HMAC-SHA1, object for each message": hmac_anew,
    }


def measure() -> dict[tuple[str, str], Figure]:
    """Returns ns of CPU time a call in a warm loop, by call and message."""
    return {
        (name, kind): figures_of.mean(list(_times(call, bytes(octets))), "ns")
        for name, call in calls().items()
        for kind, octets in MESSAGES.items()
    }


def _times(call: Callable[[bytes], object], message: bytes) -> Iterator[float]:
    for _ in range(REPETITIONS):
        begin = time.process_time_ns()
        for _ in range(CALLS):
            call(message)
        yield (time.process_time_ns() - begin) / CALLS


def table(costs: dict[tuple[str, str], Figure]) -> Table:
    """Returns the calls side by side."""
    rows = tuple(
        (
            name,
            round(costs[name, "empty"].value),
            round(costs[name, "frame"].value),
            f"{costs[name, 'empty'].value / costs[name, 'frame'].value:.0%}",
        )
        for name in dict.fromkeys(name for name, _ in costs)
    )
    columns = ("call", "ns, empty message", f"ns, {MESSAGES['frame']} octets", "set-up's share")
    note = (
        "One call of the library by itself, in a warm loop. What an empty message costs is objects "
        "and calls, not ciphering. The hub keeps its objects where it can."
    )
    return Table("The library's own cost", columns, rows, note)
