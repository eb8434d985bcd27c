"""Chance by name: each purpose has a stream of its own, so that one more client shifts no other's draws."""

from __future__ import annotations

from hashlib import blake2b

from numpy.random import Generator, Philox, SeedSequence

from protocol.types import RandomOctets

_KEY_OCTETS = 16
_WORD = 4


class Chance:
    """Makes streams out of one seed. Never for real keys: whoever knows the seed knows them all."""

    def __init__(self, seed: int) -> None:
        """Raises ValueError for a negative seed."""
        if seed < 0:
            raise ValueError(f"seed {seed}: expected 0 or more")
        self.seed = seed

    def stream(self, *names: str) -> Generator:
        """Returns the stream of these names from its beginning, the same on every machine."""
        digest = blake2b("\0".join(names).encode(), digest_size=_KEY_OCTETS).digest()
        key = [int.from_bytes(digest[i : i + _WORD], "big") for i in range(0, _KEY_OCTETS, _WORD)]
        return Generator(Philox(SeedSequence(self.seed, spawn_key=key)))

    def octets(self, *names: str) -> RandomOctets:
        """Returns a source of random octets with a stream of its own."""
        return self.stream(*names).bytes
