"""Large TCP frames many segments at a time: cut for the wire, and joined for the LAN.

`nodes.segmentation` says what a segment is; this does the same to a whole matrix of them, a row each,
which numpy sums and compares at once. What `join` makes of frames, `segmentation.complete` would cut
into exactly these frames again, to the octet: it is left out where that does not hold, so a segment
whose checksum is wrong stays as wrong as it came (RFC 9293, 791, 8200; the rules are those of the
kernel's GRO).
"""

from __future__ import annotations

import os
import struct
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # nothing here multiplies matrices

import numpy
from numpy.typing import NDArray

from nodes.segmentation import (
    CHECKSUM_PLACE,
    FEWEST_JOINED,
    GSO_TCPV4,
    GSO_TCPV6,
    NEEDS_CHECKSUM,
    NO_OFFLOAD,
    TCP,
    Octets,
    Shape,
    VirtioHeader,
    checksum,
    fixed_sums,
    ones_sum,
)

LARGEST_PACKET = 65_535
_ACK, _CWR = 0x10, 0x80
_ENDING = 0x09
"""FIN and PSH: of the last segment alone."""
_NOT_ENDING = 0xFF ^ _ENDING
_FLAGS, _SEQUENCE, _CHECK = 13, 4, CHECKSUM_PLACE[TCP]
_ID, _HEADER_CHECK, _FRAGMENT, _PROTOCOL, _NEXT_HEADER = 4, 10, 6, 9, 6
_ONES = 0xFFFF

Rows = NDArray[numpy.uint8]
Numbers = NDArray[numpy.int64]
Truths = NDArray[numpy.bool_]
_WORD = numpy.dtype("<u4")


def cut(frame: Octets, shape: Shape, end: int, size: int) -> list[bytes]:
    """Cuts a TCP frame whose payload ends at ``end`` into segments of ``size`` octets."""
    headers = bytearray(frame[: shape.payload])
    payload = numpy.frombuffer(frame, numpy.uint8, end - shape.payload, shape.payload)
    whole, rest = divmod(len(payload), size)
    alike = payload[: whole * size].reshape(whole, size)
    segments = _cut(headers, shape, alike, 0, not rest)
    if rest:
        segments += _cut(headers, shape, payload[-rest:].reshape(1, rest), whole, True, size)
    return segments


def _cut(
    headers: bytearray, shape: Shape, payload: Rows, first: int, ends: bool, size: int = 0
) -> list[bytes]:
    """Gives each row of payload headers; ``size`` is that of the segments before, if not this."""
    count, octets = payload.shape
    length = shape.payload + octets
    at, network = shape.transport, shape.network
    flags = headers[at + _FLAGS]
    alike = bytearray(headers)
    alike[at + _FLAGS] = flags & ~(_CWR | _ENDING) & 0xFF
    alike[at + _CHECK : at + _CHECK + 2] = bytes(2)
    behind = length - network - (40 if shape.version == 6 else 0)
    place = network + (4 if shape.version == 6 else 2)
    alike[place : place + 2] = behind.to_bytes(2, "big")
    rows = numpy.empty((count, _row_length(shape, length)), numpy.uint8)
    rows[:, length:] = 0
    rows[:, : shape.payload] = numpy.frombuffer(alike, numpy.uint8)
    rows[:, shape.payload : length] = payload
    if not first:
        rows[0, at + _FLAGS] |= flags & _CWR
    if ends:
        rows[-1, at + _FLAGS] |= flags & _ENDING
    fields = _fields(rows, shape)
    sums, numbers = fixed_sums(headers, shape), _numbers(first, count)
    sequence = int.from_bytes(headers[at + _SEQUENCE : at + _SEQUENCE + 4], "big")
    fields["sequence"] = sequence + numbers * (size or octets)
    if shape.version == 4:
        identification = int.from_bytes(headers[network + _ID : network + _ID + 2], "big")
        identifications = identification + numbers & 0xFFFF
        fields["identification"] = identifications
        fields["header_check"] = -(sums.network + behind + identifications) % _ONES
    pseudo = _swapped(sums.pseudo + length - at)
    fields["check"] = -(_sums(rows[:, at:]) + pseudo) % _ONES
    return list(_frames(length, rows.shape[1], count).unpack(rows.data))


@lru_cache(maxsize=64)
def _frames(length: int, row_length: int, count: int) -> struct.Struct:
    """Returns how to read frames out of rows."""
    return struct.Struct(f"{length}s{row_length - length}x" * count)


_FIRST_NUMBERS = numpy.arange(256)


def _numbers(first: int, count: int) -> Numbers:
    """Returns ``count`` numbers from ``first`` on."""
    if first + count <= len(_FIRST_NUMBERS):
        return _FIRST_NUMBERS[first : first + count]
    return numpy.arange(first, first + count)


def _swapped(number: int) -> int:
    """Returns what `_sums` gives for words whose sum is ``number``: modulo 2**16 - 1, octets swapped."""
    return int.from_bytes((number % _ONES).to_bytes(2, "big"), "little")


def _row_length(shape: Shape, length: int) -> int:
    """Returns how long a row is whose frame has ``length`` octets: zeros make its segment whole words."""
    return length + -(length - shape.transport) % _WORD.itemsize


def _field(rows: Rows, place: int, kind: str) -> NDArray[numpy.unsignedinteger[Any]]:
    """Returns a number in each row, to be read or written."""
    field: NDArray[numpy.unsignedinteger[Any]] = rows[
        :, place : place + numpy.dtype(kind).itemsize
    ].view(kind)[:, 0]
    return field


def _fields(rows: Rows, shape: Shape) -> NDArray[numpy.void]:
    """Returns the fields of each row's headers that differ between segments, by name."""
    return rows.view(_layout(shape, rows.shape[1]))[:, 0]


@lru_cache(maxsize=64)
def _layout(shape: Shape, row_length: int) -> numpy.dtype[numpy.void]:
    network, transport = shape.network, shape.transport
    fields = {
        "sequence": (">u4", transport + _SEQUENCE),
        "flags": ("u1", transport + _FLAGS),
        "check": ("<u2", transport + _CHECK),
    }
    if shape.version == 4:
        fields["identification"] = (">u2", network + _ID)
        fields["header_check"] = (">u2", network + _HEADER_CHECK)
    formats, offsets = zip(*fields.values(), strict=True)
    layout = {"names": [*fields], "formats": formats, "offsets": offsets, "itemsize": row_length}
    return numpy.dtype(layout)


def _transport_sums(rows: Rows, shape: Shape, length: int) -> Numbers:
    """Sums pseudo header, TCP header and payload; see `_sums`."""
    first, last = (12, 20) if shape.version == 4 else (8, 40)
    pseudo = _sums(rows[:, shape.network + first : shape.network + last])
    fixed = (shape.protocol + length - shape.transport).to_bytes(2, "big")
    return pseudo + _sums(rows[:, shape.transport :]) + int.from_bytes(fixed, "little")


def _sums(rows: Rows) -> Numbers:
    """Sums each row; what is left of it modulo 2**16 - 1 is RFC 1071's sum of words, octets swapped.

    Neither the order of the octets nor how many words are added at once matters to that sum.
    """
    sums: Numbers = rows.view(_WORD).sum(axis=1, dtype=numpy.int64)
    return sums


class Joined(NamedTuple):
    """What goes to the LAN with one call: the virtio header, the frame, and the frames in it."""

    header: bytes
    frame: Octets
    frames: Sequence[bytes]


def join(frames: Sequence[bytes], longest: int) -> Iterator[Joined]:
    """Joins neighbours that were one large TCP frame, or could have been; the order stays.

    Frames of more than ``longest`` octets stay alone: whoever takes them has to refuse each.
    """
    groups = deque(list(alike) for _, alike in groupby(frames, len))
    while groups:
        alike = groups.popleft()
        length = len(alike[0])
        few = len(alike) < FEWEST_JOINED or length > longest
        shape = None if few else _shape(alike[0])
        if shape is None:
            yield from map(_alone, alike)
            continue
        tail = groups[0][0] if groups and len(groups[0][0]) < length else None
        with_tail = yield from _join_alike(alike, shape, tail)
        if with_tail:
            groups[0] = groups[0][1:]
            if not groups[0]:
                groups.popleft()


def _alone(frame: bytes) -> Joined:
    return Joined(NO_OFFLOAD, frame, (frame,))


def _shape(frame: bytes) -> Shape | None:
    """Finds the headers of a frame that is TCP over IP, whole and nothing behind it."""
    network, kind = 14, frame[12:14]
    rest = len(frame) - network
    if kind == b"\x08\x00" and rest > 40 and frame[network] == 0x45:
        transport, protocol = network + 20, frame[network + _PROTOCOL]
        length, version = int.from_bytes(frame[network + 2 : network + 4], "big"), 4
        if frame[network + _FRAGMENT] & 0x3F or frame[network + _FRAGMENT + 1]:
            return None
    elif kind == b"\x86\xdd" and rest > 60 and frame[network] >> 4 == 6:
        transport, protocol = network + 40, frame[network + _NEXT_HEADER]
        length, version = int.from_bytes(frame[network + 4 : network + 6], "big") + 40, 6
    else:
        return None
    header_length = (frame[transport + 12] >> 4) * 4
    payload = transport + header_length
    if protocol != TCP or length != rest or header_length < 20 or payload >= len(frame):
        return None
    return Shape(network, version, transport, protocol, payload)


def _join_alike(
    frames: Sequence[bytes], shape: Shape, tail: bytes | None
) -> Generator[Joined, None, bool]:
    """Joins frames of one length; returns whether the shorter ``tail`` behind them went along."""
    length = len(frames[0])
    rows = _rows(frames, shape)
    follows = _follows(rows, shape, length)
    most = (LARGEST_PACKET - shape.payload + shape.network) // (length - shape.payload)
    start, taken = 0, False
    breaks = [*(numpy.flatnonzero(~follows) + 1).tolist(), len(frames)]
    for stop in breaks:
        while start < stop:
            part = min(stop, start + most)
            last = list(frames[start:part])
            if part == len(frames) and tail is not None and part - start < most:
                taken = _is_tail(tail, frames[-1], shape)
                last += [tail] if taken else []
            if len(last) < FEWEST_JOINED or (start and _shape(frames[start]) != shape):
                yield from map(_alone, last)
            else:
                yield _joined(rows[start:part], shape, length, last)
            start = part
    return taken


def _rows(frames: Sequence[bytes], shape: Shape) -> Rows:
    """Puts frames of one length into rows, zeros behind each."""
    length = len(frames[0])
    stride = _row_length(shape, length)
    between = bytes(stride - length)
    octets = between.join((*frames, b"")) if between else b"".join(frames)
    return numpy.frombuffer(octets, numpy.uint8).reshape(len(frames), stride)


def _follows(rows: Rows, shape: Shape, length: int) -> Truths:
    """Tells of each row but the first whether it is the segment behind the row before.

    All that tells flows and shapes apart is compared between the two.
    """
    headers = rows[:, : shape.payload]
    found: Truths = ((headers[1:] == headers[:-1]) | _own_octets(shape)).all(axis=1)
    flags = headers[:, shape.transport + _FLAGS]
    found &= (flags[:-1] == _ACK) & (flags[1:] & _NOT_ENDING == _ACK)
    found &= _grows(rows, shape.transport + _SEQUENCE, ">u4", length - shape.payload)
    if shape.version == 4:
        found &= _grows(rows, shape.network + _ID, ">u2", 1)
    sound = _is_sound(rows, shape, length)
    found &= sound[:-1] & sound[1:]
    return found


def _grows(rows: Rows, place: int, kind: str, step: int) -> Truths:
    """Tells of each row but the first whether its number is that of the row before and ``step`` more."""
    numbers = _field(rows, place, kind).astype(kind.replace(">", "="))
    grows: Truths = numbers[1:] - numbers[:-1] == step
    return grows


@lru_cache(maxsize=64)
def _own_octets(shape: Shape, lengths_too: bool = False) -> Truths:
    """Tells which octets of the headers are each segment's own."""
    network, transport = shape.network, shape.transport
    own = numpy.zeros(shape.payload, bool)
    own[[transport + place for place in (*range(4, 8), _FLAGS, _CHECK, _CHECK + 1)]] = True
    if shape.version == 4:
        own[[network + place for place in (_ID, _ID + 1, _HEADER_CHECK, _HEADER_CHECK + 1)]] = True
    if lengths_too:
        place = network + (2 if shape.version == 4 else 4)
        own[place : place + 2] = True
    return own


def _is_sound(rows: Rows, shape: Shape, length: int) -> Truths:
    """Tells which rows have the checksums that `cut` would give them: of 0 and 0xFFFF it is 0."""
    network, transport = shape.network, shape.transport
    sound: Truths = _transport_sums(rows, shape, length) % _ONES == 0
    sound &= _field(rows, transport + _CHECK, ">u2") != _ONES
    if shape.version == 4:
        sound &= _sums(rows[:, network:transport]) % _ONES == 0
        sound &= _field(rows, network + _HEADER_CHECK, ">u2") != _ONES
    return sound


def _is_tail(tail: bytes, before: bytes, shape: Shape) -> bool:
    """Tells whether a shorter frame is the segment behind ``before``."""
    if _shape(tail) != shape or not _is_sound(_rows((tail,), shape), shape, len(tail))[0]:
        return False
    if not _is_sound(_rows((before,), shape), shape, len(before))[0]:
        return False
    octets = before[: shape.payload] + tail[: shape.payload]
    pair = numpy.frombuffer(octets, numpy.uint8).reshape(2, shape.payload)
    if not ((pair[0] == pair[1]) | _own_octets(shape, lengths_too=True)).all():
        return False
    size = len(before) - shape.payload
    in_order = _grows(pair, shape.transport + _SEQUENCE, ">u4", size)[0]
    if shape.version == 4:
        in_order &= _grows(pair, shape.network + _ID, ">u2", 1)[0]
    flags = pair[:, shape.transport + _FLAGS]
    return bool(in_order and flags[0] == _ACK and flags[1] & _NOT_ENDING == _ACK)


def _joined(rows: Rows, shape: Shape, length: int, frames: Sequence[bytes]) -> Joined:
    """Makes one large frame of rows, and of the shorter frame behind them if ``frames`` has one."""
    headers = bytearray(frames[0][: shape.payload])
    tail = frames[-1][shape.payload :] if len(frames) > len(rows) else b""
    size = length - shape.payload
    end = shape.payload + len(rows) * size
    frame = numpy.empty(end + len(tail), numpy.uint8)
    frame[shape.payload : end].reshape(len(rows), size)[:] = rows[:, shape.payload : length]
    frame[end:] = numpy.frombuffer(tail, numpy.uint8)
    at, transport = shape.network, shape.transport
    behind = len(frame) - at
    headers[transport + _FLAGS] = frames[-1][transport + _FLAGS]
    if shape.version == 4:
        headers[at + 2 : at + 4] = behind.to_bytes(2, "big")
        headers[at + 10 : at + 12] = bytes(2)
        value = checksum(ones_sum(headers[at:transport]))
        headers[at + 10 : at + 12] = value.to_bytes(2, "big")
    else:
        headers[at + 4 : at + 6] = (behind - 40).to_bytes(2, "big")
    first, last = (12, 20) if shape.version == 4 else (8, 40)
    pseudo = ones_sum(headers[at + first : at + last]) + shape.protocol + behind + at - transport
    headers[transport + _CHECK : transport + _CHECK + 2] = (pseudo % _ONES).to_bytes(2, "big")
    gso = GSO_TCPV4 if shape.version == 4 else GSO_TCPV6
    header = VirtioHeader(NEEDS_CHECKSUM, gso, shape.payload, size, transport, _CHECK)
    frame[: shape.payload] = numpy.frombuffer(headers, numpy.uint8)
    return Joined(header.pack(), frame.data, frames)
