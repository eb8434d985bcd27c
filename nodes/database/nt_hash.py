"""The NT hash of a password (MD4 of its UTF-16LE octets), which EAP-MSCHAPv2 checks by.

MD4 is broken, and today's OpenSSL leaves it out: this is RFC 1320's, for this one purpose. The hash
is unsalted and serves in place of the password; ``docs/threat-model.md`` says what follows.
"""

from __future__ import annotations

import struct

from protocol.types import Secret

_MASK = 0xFFFFFFFF
_START = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)
_BLOCK = 64
_ROUNDS = (
    (0x00000000, (3, 7, 11, 19), tuple(range(16))),
    (0x5A827999, (3, 5, 9, 13), (0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)),
    (0x6ED9EBA1, (3, 9, 11, 15), (0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15)),
)
"""Of each round: its constant, its shifts, and in which order it takes the words (RFC 1320, 3.4)."""


def nt_hash(password: bytes) -> Secret | None:
    """Returns a password's NT hash, 16 octets; None when it is no UTF-8 and so has none."""
    try:
        return Secret(md4(password.decode("utf-8").encode("utf-16-le")))
    except UnicodeDecodeError:
        return None


def md4(message: bytes) -> bytes:
    """Computes MD4, 16 octets (RFC 1320)."""
    padding = b"\x80" + bytes(-(len(message) + 9) % _BLOCK)
    padded = message + padding + struct.pack("<Q", 8 * len(message))
    state = _START
    for offset in range(0, len(padded), _BLOCK):
        state = _compress(state, struct.unpack_from("<16I", padded, offset))
    return struct.pack("<4I", *state)


def _compress(
    state: tuple[int, int, int, int], words: tuple[int, ...]
) -> tuple[int, int, int, int]:
    a, b, c, d = state
    for number, (constant, shifts, order) in enumerate(_ROUNDS):
        for step, index in enumerate(order):
            total = (a + _mix(number, b, c, d) + words[index] + constant) & _MASK
            shift = shifts[step % 4]
            a, b, c, d = d, (total << shift | total >> (32 - shift)) & _MASK, b, c
    before = zip(state, (a, b, c, d), strict=True)
    first, second, third, fourth = ((old + new) & _MASK for old, new in before)
    return first, second, third, fourth


def _mix(number: int, x: int, y: int, z: int) -> int:
    if number == 0:
        return (x & y) | (~x & z)
    return (x & y) | (x & z) | (y & z) if number == 1 else x ^ y ^ z
