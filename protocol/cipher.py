"""AES-GCM, and AES-CBC with HMAC-SHA1 for hubs as they were: the only module that reaches a cipher.

Every call is counted here, so that "this process sealed and opened nothing" is a reading and not a belief.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.constant_time import bytes_eq
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.hmac import HMAC

from protocol.types import Algorithm, Secret

NONCE_LENGTH = 12
_BLOCK, _SHORT_ICV = 16, 12
_FILLING = bytes(_BLOCK - NONCE_LENGTH)


class CallCounter:
    """Calls of the cipher in this process."""

    sealed = 0
    opened = 0
    refused = 0


class Sealing(ABC):
    """One key, ready to seal and open; that no nonce repeats is the caller's duty."""

    @abstractmethod
    def seal(self, nonce: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
        """Returns what the plaintext is sent as."""

    @abstractmethod
    def open(self, nonce: bytes, sealed: bytes, associated_data: bytes) -> bytes | None:
        """Returns the plaintext, or None when the ICV does not hold."""

    def seal_all(
        self, nonces: Sequence[bytes], plaintexts: Sequence[bytes], associated: Sequence[bytes]
    ) -> list[bytes]:
        """Returns what `seal` makes of each."""
        return [self.seal(*one) for one in zip(nonces, plaintexts, associated, strict=True)]

    def open_all(
        self, nonces: Sequence[bytes], sealed: Sequence[bytes], associated: Sequence[bytes]
    ) -> list[bytes | None]:
        """Returns what `open` makes of each."""
        return [
            self.open(nonce, octets, data)
            for nonce, octets, data in zip(nonces, sealed, associated, strict=True)
        ]


class Aead(Sealing):
    """AES-GCM with a 16-octet ICV (RFC 4106)."""

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

    def seal_all(
        self, nonces: Sequence[bytes], plaintexts: Sequence[bytes], associated: Sequence[bytes]
    ) -> list[bytes]:
        """Returns what `seal` makes of each."""
        sealed = list(map(self._aead.encrypt, nonces, plaintexts, associated))
        CallCounter.sealed += len(sealed)
        return sealed

    def open_all(
        self, nonces: Sequence[bytes], sealed: Sequence[bytes], associated: Sequence[bytes]
    ) -> list[bytes | None]:
        """Returns what `open` makes of each."""
        try:
            opened: list[bytes | None] = list(map(self._aead.decrypt, nonces, sealed, associated))
        except InvalidTag:
            return super().open_all(nonces, sealed, associated)
        CallCounter.opened += len(opened)
        return opened


class CbcHmac(Sealing):
    """AES-128-CBC, then HMAC-SHA1-96 over it: what ESP was in 2004 (RFC 3602, RFC 2404).

    Sealed is IV (16 octets), ciphertext, ICV (12); the plaintext is whole blocks. The ICV is over the
    associated data, the nonce and all before it, and is compared before anything is decrypted.

    Setting up the library's cipher for each packet would cost more than ciphering it. So one context
    serves for all: the nonce goes through it as a block before the plaintext, and what that block
    becomes is the packet's IV. It is the cipher of (nonce XOR the block before), so nobody without the
    key can tell it beforehand, and behind it stands what RFC 3602 says.
    """

    def __init__(self, key: Secret) -> None:
        octets = key.reveal()
        cipher = Cipher(algorithms.AES(octets[:16]), modes.CBC(bytes(_BLOCK)))
        self._encrypt = cipher.encryptor().update
        self._decrypt = cipher.decryptor().update
        self._mac = HMAC(octets[16:], SHA1())

    def seal(self, nonce: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
        """Returns IV, ciphertext and ICV; ValueError unless the plaintext is whole blocks."""
        if len(plaintext) % _BLOCK:
            raise ValueError(f"plaintext of {len(plaintext)} octets, expected blocks of {_BLOCK}")
        CallCounter.sealed += 1
        body = self._encrypt(nonce + _FILLING + plaintext)
        return body + self._icv(nonce, body, associated_data)

    def open(self, nonce: bytes, sealed: bytes, associated_data: bytes) -> bytes | None:
        """Returns the plaintext, or None when the ICV does not hold (compared in constant time)."""
        body, icv = sealed[:-_SHORT_ICV], sealed[-_SHORT_ICV:]
        whole = len(body) > _BLOCK and not len(body) % _BLOCK
        if not whole or not bytes_eq(icv, self._icv(nonce, body, associated_data)):
            CallCounter.refused += 1
            return None
        CallCounter.opened += 1
        # The first block that comes out is the IV, deciphered in vain.
        return self._decrypt(body)[_BLOCK:]

    def _icv(self, nonce: bytes, body: bytes, associated_data: bytes) -> bytes:
        mac = self._mac.copy()
        mac.update(associated_data + nonce + body)
        return mac.finalize()[:_SHORT_ICV]


SEALINGS: dict[Algorithm, Callable[[Secret], Sealing]] = {
    "aes-128-gcm": Aead,
    "aes-256-gcm": Aead,
    "aes-128-cbc-hmac-sha1": CbcHmac,
}
"""How an SA of each algorithm seals."""
