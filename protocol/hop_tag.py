"""The hop tag: shows a relay that the clear headers of a datagram are as whoever sent it wrote them.

SipHash-2-4 (Aumasson and Bernstein, 2012) under a key of that hop, over the VPN header, the inner IP
header and the ESP header. It stands behind the VPN header, whose flag says so. A hop key opens nothing:
a relay may hold it.

Patent: Fig. 9 part 901; Fig. 10 part 1001.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from siphashc import siphash

from protocol.errors import WireError
from protocol.types import Secret
from protocol.wire import esp, ip, vpn_header

LENGTH = vpn_header.HOP_TAG_LENGTH
KEY_LENGTH = 16

_SEQUENCE_LENGTH = 4
"""The ESP sequence number: the last of what a tag covers, and all of it that differs within a flow."""

_HEADER_LENGTHS = {
    vpn_header.MAC_BLOCK_FOLLOWS: vpn_header.LENGTH,
    vpn_header.IP_HEADER_FOLLOWS: vpn_header.SHORT_LENGTH,
}


class Tagged(NamedTuple):
    """A tagged datagram's payload, the tag taken out of it."""

    payload: bytes
    """The rest; the VPN header's flag is as it was."""
    tag: bytes
    covered: int
    """How many octets of ``payload`` the tag is over."""

    @classmethod
    def parse(cls, datagram: bytes | memoryview) -> Tagged | None:
        """Takes the tag out; None where the flag says that there is none, or octets are missing."""
        octets = bytes(datagram)
        header_length = _HEADER_LENGTHS.get(octets[0] if octets else 0)
        if header_length is None or len(octets) <= header_length + LENGTH:
            return None
        if octets[1] != vpn_header.HOP_TAG_FOLLOWS:
            return None
        behind = header_length + LENGTH
        payload = octets[:header_length] + octets[behind:]
        covered = _covered(header_length, octets[behind])
        if len(payload) < covered:
            return None
        return cls(payload, octets[header_length:behind], covered)

    def holds(self, key: Secret) -> bool:
        """Tells whether the tag is that of the hop with this key, in constant time."""
        return hmac.compare_digest(self.tag, _tag(key, self.payload[: self.covered]))


def add(payload: bytes, key: Secret) -> bytes:
    """Puts a tag into the payload of a datagram that has none."""
    header_length = _HEADER_LENGTHS[payload[0]]
    flagged = payload[:1] + bytes((vpn_header.HOP_TAG_FOLLOWS,)) + payload[2:]
    tag = _tag(key, flagged[: _covered(header_length, payload[header_length])])
    return flagged[:header_length] + tag + flagged[header_length:]


def tags(clear: bytes, sequence_numbers: Sequence[bytes], key: Secret) -> list[bytes]:
    """Returns the tags of datagrams that have all that a tag covers in common but ESP's sequence number.

    ``clear`` is what is before that: VPN header with the flag, inner IP header, SPI.
    """
    secret = key.reveal()
    return [siphash(secret, clear + one).to_bytes(LENGTH, "little") for one in sequence_numbers]


def count_alike(first: bytes | memoryview, following: memoryview, key: Secret) -> int:
    """Counts the datagrams at the front of ``following`` that are as ``first`` and have the hop's tag.

    ``first`` is a datagram that `Tagged.parse` takes; those that follow have its length and stand behind
    each other. As it means: what a tag covers is equal but for the sequence number. All tags are compared
    at once, in constant time.
    """
    header_length = _HEADER_LENGTHS[first[0]]
    covered = _covered(header_length, first[header_length + LENGTH])
    layout = _layout(header_length, covered, len(first))
    header, _, constant, _ = layout.unpack(first)
    before, secret = header + constant, key.reveal()
    found, expected = [], []
    whole = len(following) // len(first) * len(first)
    for its_header, tag, its_constant, sequence in layout.iter_unpack(following[:whole]):
        if its_constant != constant or its_header != header:
            break
        found.append(tag)
        expected.append(siphash(secret, before + sequence).to_bytes(LENGTH, "little"))
    if hmac.compare_digest(b"".join(found), b"".join(expected)):
        return len(found)
    pairs = zip(found, expected, strict=True)
    return [hmac.compare_digest(*pair) for pair in pairs].index(False)


@lru_cache(maxsize=1024)
def _layout(header_length: int, covered: int, length: int) -> struct.Struct:
    """Returns how to cut a tagged datagram: VPN header, tag, constant octets, sequence number."""
    constant = covered - header_length - _SEQUENCE_LENGTH
    behind = length - covered - LENGTH
    return struct.Struct(f"{header_length}s{LENGTH}s{constant}s{_SEQUENCE_LENGTH}s{behind}x")


def renewed(payload: bytes | memoryview, key: Secret) -> bytes:
    """Returns VPN header and tag of a tagged payload as they go to the next hop, under its key.

    They stand in place of as many octets of ``payload``, which `Tagged.parse` has taken before.
    """
    header_length = _HEADER_LENGTHS[payload[0]]
    behind = header_length + LENGTH
    covered = _covered(header_length, payload[behind])
    header = bytes(payload[:header_length])
    return header + _tag(key, header + bytes(payload[behind : covered + LENGTH]))


def remove(payload: bytes) -> bytes:
    """Takes the tag off a received payload, and the flag; raises WireError where there is none.

    It says nothing to a receiver, who does not have the sender's key. A payload whose VPN header the
    relay has stripped is returned as it is: the tag went with the header.
    """
    if payload[:1] and payload[0] >> 4 in ip.HEADER_LENGTHS:
        return payload
    tagged = Tagged.parse(payload)
    if tagged is None:
        raise WireError("datagram without a hop tag, expected one")
    return tagged.payload[:1] + bytes(1) + tagged.payload[2:]


def _covered(header_length: int, first_of_inner: int) -> int:
    """Returns how many octets are VPN header, inner IP header and ESP header."""
    return header_length + ip.HEADER_LENGTHS.get(first_of_inner >> 4, 0) + esp.HEADER_LENGTH


def _tag(key: Secret, clear: bytes) -> bytes:
    return siphash(key.reveal(), clear).to_bytes(LENGTH, "little")
