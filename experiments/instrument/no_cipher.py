"""ESP without a cipher, for measuring what the cipher costs: no configuration can ask for it.

The measuring processes alone give one algorithm's name another meaning.
"""

from __future__ import annotations

from typing import Final

from protocol import cipher
from protocol.types import Secret
from protocol.wire.esp import ICV_LENGTH

STAND_IN: Final = "aes-256-gcm"
"""The algorithm whose SAs seal with nothing in a process that has called `stand_in`."""
_NO_ICV = bytes(ICV_LENGTH)


class NoCipher(cipher.Sealing):
    """Sends plaintexts as they are, with room for an ICV: packets are as long as with AES-GCM."""

    def __init__(self, key: Secret) -> None:
        """Has no use for a key."""

    def seal(self, nonce: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
        """Returns the plaintext and sixteen zeros."""
        return plaintext + _NO_ICV

    def open(self, nonce: bytes, sealed: bytes, associated_data: bytes) -> bytes | None:
        """Returns the plaintext, whoever wrote it."""
        return sealed[:-ICV_LENGTH]


def stand_in() -> None:
    """Has this process's SAs of that algorithm seal with nothing."""
    cipher.SEALINGS[STAND_IN] = NoCipher
