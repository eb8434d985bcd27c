"""Security associations for tests: one group key, as many senders as wanted."""

from __future__ import annotations

from protocol.errors import DropReason, OpenError
from protocol.security_association import LAST_COUNTER, SecurityAssociation
from protocol.types import KEY_LENGTHS, Algorithm, Secret
from protocol.wire.messages import GroupSecurityAssociation

SPI = 4097
SALT = bytes.fromhex("a0a1a2a3")


def key_octets(algorithm: Algorithm) -> bytes:
    """Returns the key 00 01 02 ... of the algorithm's length."""
    return bytes(range(KEY_LENGTHS[algorithm]))


def parameters(
    sender_id: int, algorithm: Algorithm = "aes-128-gcm", spi: int = SPI, key: bytes | None = None
) -> GroupSecurityAssociation:
    """Returns what the server would hand to the sender with that ID."""
    secret = Secret(key_octets(algorithm) if key is None else key)
    return GroupSecurityAssociation(spi, algorithm, secret, Secret(SALT), sender_id)


def association(
    sender_id: int,
    algorithm: Algorithm = "aes-128-gcm",
    first_counter: int = 1,
    last_counter: int = LAST_COUNTER,
) -> SecurityAssociation:
    """Returns the group's SA as the sender with that ID holds it."""
    return SecurityAssociation(parameters(sender_id, algorithm), first_counter, last_counter)


def outcome(receiver: SecurityAssociation, packet: bytes) -> bytes | DropReason:
    """Opens ``packet`` and returns the frame, or the reason why not."""
    try:
        return receiver.open(packet)
    except OpenError as error:
        return error.reason
