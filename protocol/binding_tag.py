"""The tag of a binding, and the token by which a client shows that it can be reached at an address.

Both are SipHash-2-4 (Aumasson and Bernstein, 2012) under the client's binding key, which opens nothing:
a relay may hold it. What they are over begins differently, so that none stands for another.
"""

from __future__ import annotations

import hmac
import struct
from ipaddress import ip_address

from protocol.hop_tag import siphash_tag
from protocol.types import Secret
from protocol.wire.binding import BINDING, COVERED, Binding, Kind

KEY_LENGTH = 16

_TOKEN_FOLLOWS = max(Kind) + 1
"""What stands where a binding has its kind, when a token is worked out."""
_TOKEN = struct.Struct("!BBHIQ")


def tagged(binding: Binding, key: Secret) -> bytes:
    """Returns the 32 octets of a binding with its tag."""
    covered = binding.pack()
    return covered + siphash_tag(key, covered)


def holds(octets: bytes | memoryview, key: Secret) -> bool:
    """Tells whether a binding's tag is that of this key, in constant time."""
    return hmac.compare_digest(bytes(octets[COVERED:]), siphash_tag(key, bytes(octets[:COVERED])))


def token(key: Secret, client_id: int, membership: int, source: tuple[str, int]) -> bytes:
    """Returns the token for a client at an address.

    ``membership`` is a number that no other time has that the client was put into a relay's tables.
    """
    host, port = source
    begins = _TOKEN.pack(BINDING, _TOKEN_FOLLOWS, port, client_id, membership)
    return siphash_tag(key, begins + ip_address(host).packed)
