"""AES-GCM with a 16-octet ICV: the only module that reaches a cipher.

Every call is counted here, so that "this process sealed and opened nothing" is a reading and not a belief.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocol.types import Secret


class CallCounter:
    """Calls of the cipher in this process."""

    sealed = 0
    opened = 0
    refused = 0


class Aead:
    """One key, ready to seal and open; the nonce is the caller's duty."""

    def __init__(self, key: Secret) -> None:
        self._aead = AESGCM(key.reveal())

    def seal(self, nonce: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
        """Returns ciphertext and ICV."""
        CallCounter.sealed += 1
        return self._aead.encrypt(nonce, plaintext, associated_data)

    def open(self, nonce: bytes, sealed: bytes, associated_data: bytes) -> bytes | None:
        """Returns the plaintext, or None when the ICV does not hold (compared in constant time)."""
        try:
            plaintext = self._aead.decrypt(nonce, sealed, associated_data)
        except InvalidTag:
            CallCounter.refused += 1
            return None
        CallCounter.opened += 1
        return plaintext
