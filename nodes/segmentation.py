"""Cuts the large frames of segmentation offload into those that a wire carries, checksums done.

A kernel hands over TCP or UDP that it leaves to hardware to cut and to sum, with a header that says
how (struct virtio_net_hdr). What is cut here is what the kernel's own software would have sent:
addresses, ports, options and payload stay; lengths, IPv4 identification, TCP sequence numbers and
flags, and checksums are each segment's own (RFC 791, 768, 8200, 9293; RFC 3168 for CWR).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

# linux/virtio_net.h
NEEDS_CHECKSUM = 0x01
GSO_NONE = 0
GSO_TCPV4 = 1
GSO_TCPV6 = 4
GSO_UDP_L4 = 5
GSO_ECN = 0x80
_HEADER = struct.Struct("=BBHHHH")
HEADER_LENGTH = _HEADER.size
NO_OFFLOAD = bytes(HEADER_LENGTH)
"""The header of a frame that is complete."""
MANY = 6
"""From so many segments on they are cut all at once."""
FEWEST_JOINED = 4
"""Fewer frames than these are not joined: each is as soon sent."""

TCP, _UDP = 6, 17
_VLAN = (0x8100, 0x88A8)
_FIN_PSH = 0x09
_CWR = 0x80
_FLAGS_PLACE = 13
_SEQUENCE_PLACE = 4
CHECKSUM_PLACE = {TCP: 16, _UDP: 6}
_CRC_PLACE = 8
"""Where SCTP has its own."""
_LEAST = {TCP: 20, _UDP: 8}
_PROTOCOL = {GSO_TCPV4: TCP, GSO_TCPV6: TCP, GSO_UDP_L4: _UDP}
_SHORT = struct.Struct("!H")
_LONG = struct.Struct("!I")
_LENGTH_AND_IDENTIFICATION = struct.Struct("!HH")


Octets = bytes | memoryview


class SegmentationError(ValueError):
    """A frame that is not what its header says."""


class VirtioHeader(NamedTuple):
    """What is left to do to a frame; places count from its first octet."""

    flags: int
    gso_type: int
    header_length: int
    gso_size: int
    checksum_start: int
    checksum_offset: int

    @classmethod
    def parse(cls, octets: bytes | memoryview) -> VirtioHeader:
        """Reads the ten octets before a frame, in the machine's own order."""
        return cls(*_HEADER.unpack_from(octets))

    def pack(self) -> bytes:
        """Returns the ten octets."""
        return _HEADER.pack(*self)


class Shape(NamedTuple):
    """Where a frame's headers begin, which transport it has, and where its payload begins."""

    network: int
    version: int
    transport: int
    protocol: int
    payload: int


def complete(frame: Octets, header: VirtioHeader) -> list[bytes]:
    """Returns the frames that a wire would carry; raises SegmentationError."""
    gso_type = header.gso_type & ~GSO_ECN
    if gso_type != GSO_NONE:
        return _segments(frame, _shape(frame, header, gso_type), header.gso_size)
    if header.flags & NEEDS_CHECKSUM:
        return [_summed(bytes(frame), header)]
    return [bytes(frame)]


def ones_sum(octets: bytes | bytearray | memoryview) -> int:
    """Returns the ones' complement sum of 16-bit words, 0 to 0xFFFE for 0xFFFF (RFC 1071).

    Modulo 2**16 - 1 a number is the sum of its words. An odd octet stands before a zero.
    """
    number = int.from_bytes(octets, "big")
    return (number << 8 if len(octets) % 2 else number) % 0xFFFF


def checksum(total: int) -> int:
    """Returns the checksum of a sum of words that are not all zero."""
    return 0xFFFF - (total % 0xFFFF or 0xFFFF)


def _summed(frame: bytes, header: VirtioHeader) -> bytes:
    """Completes a checksum whose field holds the pseudo header's sum already."""
    start, place = header.checksum_start, header.checksum_start + header.checksum_offset
    if place + 2 > len(frame):
        raise SegmentationError(f"checksum at octet {place} of {len(frame)}")
    if header.checksum_offset == _CRC_PLACE:
        raise SegmentationError("a CRC-32c is asked for, expected a sum")
    value = checksum(ones_sum(memoryview(frame)[start:]))
    if value == 0 and header.checksum_offset == CHECKSUM_PLACE[_UDP]:
        value = 0xFFFF  # 0 says that UDP has no checksum; TCP's and ICMPv6's fields lie elsewhere
    return frame[:place] + _SHORT.pack(value) + frame[place + 2 :]


def _shape(frame: Octets, header: VirtioHeader, gso_type: int) -> Shape:
    """Finds the headers of a large frame; raises SegmentationError when they are not there."""
    protocol = _PROTOCOL.get(gso_type)
    if protocol is None:
        raise SegmentationError(f"segmentation of kind {gso_type}, expected TCP or UDP")
    if header.gso_size == 0:
        raise SegmentationError("segments of no octets")
    try:
        network = 14
        (ethertype,) = _SHORT.unpack_from(frame, 12)
        while ethertype in _VLAN:
            (ethertype,) = _SHORT.unpack_from(frame, network + 2)
            network += 4
        version = frame[network] >> 4
        transport = network + ((frame[network] & 0x0F) * 4 if version == 4 else 40)
        if version == 6 and header.flags & NEEDS_CHECKSUM:
            transport = max(transport, header.checksum_start)  # behind extension headers
        length = (frame[transport + 12] >> 4) * 4 if protocol == TCP else _LEAST[_UDP]
    except (struct.error, IndexError):
        raise SegmentationError(f"headers cut off in a frame of {len(frame)} octets") from None
    if version not in (4, 6) or length < _LEAST[protocol] or transport - network < 20:
        raise SegmentationError("headers that are neither TCP's nor UDP's over IP")
    payload = transport + length
    if payload > len(frame):
        raise SegmentationError(f"headers cut off in a frame of {len(frame)} octets")
    return Shape(network, version, transport, protocol, payload)


def _segments(frame: Octets, shape: Shape, size: int) -> list[bytes]:
    """Cuts the payload to ``size`` octets and gives each piece headers of its own."""
    end = _end(frame, shape)
    if shape.protocol == TCP and end - shape.payload >= MANY * size:
        from nodes import large_frames  # numpy, for those alone who get such frames

        return large_frames.cut(frame, shape, end, size)
    return cut_singly(frame, shape, end, size)


def cut_singly(frame: Octets, shape: Shape, end: int, size: int) -> list[bytes]:
    """Cuts the payload, which ends at ``end``, one segment after the other."""
    headers = bytearray(frame[: shape.payload])
    _SHORT.pack_into(headers, shape.transport + CHECKSUM_PLACE[shape.protocol], 0)
    sums = fixed_sums(headers, shape)
    payload = memoryview(frame)[shape.payload : end]
    starts = range(0, len(payload), size) or range(1)
    segments = []
    for number, start in enumerate(starts):
        piece = payload[start : start + size]
        own = bytearray(headers)
        if shape.protocol == TCP:
            _set_tcp(own, shape.transport, start, number == 0, number == len(starts) - 1)
        else:
            _SHORT.pack_into(own, shape.transport + 4, _LEAST[_UDP] + len(piece))
        _set_network(own, shape, number, len(piece), sums.network)
        _set_checksum(own, shape, piece, sums.pseudo)
        segments.append(bytes(own) + piece)
    return segments


def _end(frame: Octets, shape: Shape) -> int:
    """Returns where the payload ends: what is behind the IP packet is padding."""
    field = shape.network + (2 if shape.version == 4 else 4)
    (length,) = _SHORT.unpack_from(frame, field)
    end = int(shape.network + length + (0 if shape.version == 4 else 40))
    return end if length and shape.payload <= end <= len(frame) else len(frame)


def _set_tcp(headers: bytearray, transport: int, start: int, first: bool, last: bool) -> None:
    (sequence,) = _LONG.unpack_from(headers, transport + _SEQUENCE_PLACE)
    _LONG.pack_into(headers, transport + _SEQUENCE_PLACE, (sequence + start) & 0xFFFFFFFF)
    if not first:
        headers[transport + _FLAGS_PLACE] &= ~_CWR & 0xFF
    if not last:
        headers[transport + _FLAGS_PLACE] &= ~_FIN_PSH & 0xFF


class Sums(NamedTuple):
    """What the segments' checksums have in common."""

    network: int
    """Of an IPv4 header without length, identification and checksum."""
    pseudo: int
    """Of the pseudo header without the length."""


def fixed_sums(headers: bytearray, shape: Shape) -> Sums:
    """Sums what is the same in all segments of a frame with these headers."""
    network = shape.network
    first, last = (12, 20) if shape.version == 4 else (8, 40)
    pseudo = ones_sum(headers[network + first : network + last]) + shape.protocol
    blank = bytearray(headers[network : shape.transport])
    blank[10:12] = blank[2:6] = b""  # an even number of octets: words stay words
    return Sums(ones_sum(blank), pseudo)


def _set_network(
    headers: bytearray, shape: Shape, number: int, octets: int, fixed_sum: int
) -> None:
    """Sets the IP header's length, and for IPv4 identification and checksum."""
    network = shape.network
    behind = shape.payload - network + octets
    if shape.version == 6:
        _SHORT.pack_into(headers, network + 4, behind - 40)
        return
    (identification,) = _SHORT.unpack_from(headers, network + 4)
    identification = (identification + number) & 0xFFFF
    _LENGTH_AND_IDENTIFICATION.pack_into(headers, network + 2, behind, identification)
    _SHORT.pack_into(headers, network + 10, checksum(fixed_sum + behind + identification))


def _set_checksum(headers: bytearray, shape: Shape, piece: memoryview, pseudo_sum: int) -> None:
    """Sums pseudo header, transport header and payload."""
    transport = headers[shape.transport :]
    total = pseudo_sum + len(transport) + len(piece) + ones_sum(transport) + ones_sum(piece)
    value = checksum(total)
    if value == 0 and shape.protocol == _UDP:
        value = 0xFFFF
    _SHORT.pack_into(headers, shape.transport + CHECKSUM_PLACE[shape.protocol], value)
