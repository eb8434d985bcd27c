"""The hop tag: shows a relay that the clear headers of a datagram are as whoever sent it wrote them.

SipHash-2-4 (Aumasson and Bernstein, 2012) under a key of that hop, over the VPN header, the inner IP
header and the ESP header. It stands behind the VPN header, whose flag says so. A hop key opens nothing:
a relay may hold it.

Patent: Fig. 9 part 901; Fig. 10 part 1001.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache

from siphashc import siphash

from protocol.errors import WireError
from protocol.types import Secret
from protocol.wire import esp, ip, vpn_header

LENGTH = vpn_header.HOP_TAG_LENGTH
KEY_LENGTH = 16

_pack_tag = struct.Struct("<Q").pack

_SEQUENCE_LENGTH = 4
"""The ESP sequence number: the last of what a tag covers, and all of it that differs within a flow."""

_HEADER_LENGTHS = {
    vpn_header.MAC_BLOCK_FOLLOWS: vpn_header.LENGTH,
    vpn_header.IP_HEADER_FOLLOWS: vpn_header.SHORT_LENGTH,
}


Tagged = tuple[bytes, bytes]
"""What a tagged datagram shows of itself: (the octets in the clear, the tag over them).

The octets are VPN header, inner IP header and ESP header, the tag taken out; the flag is as it was.
"""


def split(datagram: bytes | memoryview) -> Tagged | None:
    """Cuts both out; None where the flag says that there is no tag, or octets are missing."""
    try:
        header, tag, inner = _split_usual(datagram)
    except struct.error:
        return _split_unusual(datagram)
    if header[0] != vpn_header.MAC_BLOCK_FOLLOWS or inner[0] >> 4 != 6:
        return _split_unusual(datagram)
    return (header + inner, tag) if header[1] == vpn_header.HOP_TAG_FOLLOWS else None


def _split_unusual(datagram: bytes | memoryview) -> Tagged | None:
    """Does the same for a datagram without MACs, or with anything but IPv6 inside."""
    try:
        first_of_inner = datagram[_HEADER_LENGTHS[datagram[0]] + LENGTH]
        layout = _LAYOUTS[datagram[0], first_of_inner >> 4]
        header, tag, inner = layout.unpack_from(datagram)
    except (IndexError, KeyError, struct.error):
        return None
    return (header + inner, tag) if header[1] == vpn_header.HOP_TAG_FOLLOWS else None


def key_of(tagged: Tagged, keys: Iterable[Secret]) -> Secret | None:
    """Returns which of the keys of its hop the tag is under, None for none; each in constant time."""
    clear, tag = tagged
    for key in keys:
        if hmac.compare_digest(tag, _pack_tag(siphash(key.reveal(), clear))):
            return key
    return None


def add(payload: bytes, key: Secret) -> bytes:
    """Puts a tag into the payload of a datagram that has none."""
    header_length = _HEADER_LENGTHS[payload[0]]
    flagged = payload[:1] + bytes((vpn_header.HOP_TAG_FOLLOWS,)) + payload[2:]
    tag = siphash_tag(key, flagged[: _covered(header_length, payload[header_length])])
    return flagged[:header_length] + tag + flagged[header_length:]


def siphash_tag(key: Secret, octets: bytes) -> bytes:
    """Returns the 8 octets of SipHash-2-4 over ``octets``."""
    return _pack_tag(siphash(key.reveal(), octets))


def tags(clear: bytes, sequence_numbers: Sequence[bytes], key: Secret) -> list[bytes]:
    """Returns the tags of datagrams that have all that a tag covers in common but ESP's sequence number.

    ``clear`` is what is before that: VPN header with the flag, inner IP header, SPI.
    """
    secret = key.reveal()
    return [_pack_tag(siphash(secret, clear + one)) for one in sequence_numbers]


def count_alike(datagrams: memoryview, size: int, key: Secret) -> int:
    """Counts the datagrams at the front that are as the first and have the hop's tag.

    All have ``size`` octets and stand behind each other; the first is one that `split` takes. As
    it means: what a tag covers is equal but for the sequence number. All tags are compared at once, in
    constant time.
    """
    header_length = _HEADER_LENGTHS[datagrams[0]]
    layout = _layout(header_length, datagrams[header_length + LENGTH] >> 4, size)
    whole = datagrams[: len(datagrams) // size * size]
    headers, found, constants, sequences = zip(*layout.iter_unpack(whole), strict=True)
    alike = min(_equal_in_front(headers), _equal_in_front(constants))
    before, secret = headers[0] + constants[0], key.reveal()
    expected = [siphash(secret, before + sequence) for sequence in sequences[:alike]]
    if hmac.compare_digest(b"".join(found[:alike]), struct.pack(f"<{alike}Q", *expected)):
        return alike
    pairs = zip(found, expected, strict=False)
    return [hmac.compare_digest(tag, _pack_tag(one)) for tag, one in pairs].index(False)


def _equal_in_front(parts: tuple[bytes, ...]) -> int:
    """Counts the parts at the front that are equal to the first."""
    first, count = parts[0], len(parts)
    if parts.count(first) == count:
        return count
    return next(index for index, part in enumerate(parts) if part != first)


def renewed(payload: bytes | memoryview, key: Secret) -> bytes:
    """Returns VPN header and tag of a tagged payload as they go to the next hop, under its key.

    They stand in place of as many octets of ``payload``, which `split` has taken before.
    """
    tagged = split(payload)
    assert tagged is not None
    clear, _ = tagged
    return clear[: _HEADER_LENGTHS[clear[0]]] + siphash_tag(key, clear)


def remove(payload: bytes) -> bytes:
    """Takes the tag off a received payload, and the flag; raises WireError where there is none.

    It says nothing to a receiver, who does not have the sender's key. A payload whose VPN header the
    relay has stripped is returned as it is: the tag went with the header.
    """
    if payload[:1] and payload[0] >> 4 in ip.HEADER_LENGTHS:
        return payload
    if split(payload) is None:
        raise WireError("datagram without a hop tag, expected one")
    header_length = _HEADER_LENGTHS[payload[0]]
    return payload[:1] + bytes(1) + payload[2:header_length] + payload[header_length + LENGTH :]


def _covered(header_length: int, first_of_inner: int) -> int:
    """Returns how many octets are VPN header, inner IP header and ESP header."""
    return header_length + ip.HEADER_LENGTHS.get(first_of_inner >> 4, 0) + esp.HEADER_LENGTH


@lru_cache(maxsize=1024)
def _layout(header_length: int, version: int, length: int) -> struct.Struct:
    """Returns how to cut a tagged datagram: VPN header, tag, constant octets, sequence number."""
    covered = _covered(header_length, version << 4)
    constant = covered - header_length - _SEQUENCE_LENGTH
    behind = length - covered - LENGTH
    return struct.Struct(f"{header_length}s{LENGTH}s{constant}s{_SEQUENCE_LENGTH}s{behind}x")


_LAYOUTS = {
    (next_data, version): struct.Struct(
        f"{length}s{LENGTH}s{_covered(length, version << 4) - length}s"
    )
    for next_data, length in _HEADER_LENGTHS.items()
    for version in range(16)
}
"""How to cut the front of a tagged datagram: VPN header, tag, inner IP and ESP header."""
USUAL_CLEAR = _covered(vpn_header.LENGTH, 6 << 4)
"""Octets in the clear of a datagram with MACs and IPv6 inside, and of no other."""
_split_usual = _LAYOUTS[vpn_header.MAC_BLOCK_FOLLOWS, 6].unpack_from
