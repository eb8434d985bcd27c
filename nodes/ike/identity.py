"""A user's identity in IKE: ``u`` and the name's octets in hexadecimal.

charon reads meaning into identities ("a@b", "10.0.0.1", "CN=x", "*") and compares most of them without
regard to case, so that the user A's password would open the user a's account. These are plain and
all different.
"""

from __future__ import annotations

_PREFIX = "u"


def identity_of(user: str) -> str:
    """Returns the identity of a user."""
    return _PREFIX + user.encode("utf-8").hex()


def user_of(identity: str) -> str | None:
    """Returns the user of an identity; None for what ``identity_of`` never makes."""
    try:
        user = bytes.fromhex(identity.removeprefix(_PREFIX)).decode("utf-8")
    except ValueError:
        return None
    return user if identity == identity_of(user) else None
