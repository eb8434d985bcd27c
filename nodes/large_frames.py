"""Large TCP frames many segments at a time: cut for the wire, and joined for the LAN.

`nodes.segmentation` says what a segment is; this does the same to a whole matrix of them, a row each,
which numpy sums and compares at once. What `join` makes of frames, `segmentation.complete` would cut
into exactly these frames again, to the octet: it is left out where that does not hold, so a segment
whose checksum is wrong stays as wrong as it came (RFC 9293, 791, 8200; the rules are those of the
kernel's GRO).
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from typing import NamedTuple

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

Octets = NDArray[numpy.uint8]
Numbers = NDArray[numpy.int64]


def cut(frame: bytes, shape: Shape, end: int, size: int) -> list[bytes]:
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
    headers: bytearray, shape: Shape, payload: Octets, first: int, ends: bool, size: int = 0
) -> list[bytes]:
    """Gives each row of payload headers; ``size`` is that of the segments before, if not this."""
    count, octets = payload.shape
    length = shape.payload + octets
    rows = _blank(count, length)
    rows[:, : shape.payload] = numpy.frombuffer(headers, numpy.uint8)
    rows[:, shape.payload : length] = payload
    numbers = numpy.arange(first, first + count)
    _put_network(rows, headers, shape, numbers, octets)
    at = shape.transport
    sequence = int.from_bytes(headers[at + _SEQUENCE : at + _SEQUENCE + 4], "big")
    _put(rows, at + _SEQUENCE, ">u4", sequence + numbers * (size or octets) & 0xFFFFFFFF)
    flags = headers[at + _FLAGS]
    rows[:, at + _FLAGS] = flags & ~(_CWR | _ENDING) & 0xFF
    rows[0, at + _FLAGS] |= 0 if first else flags & _CWR
    rows[-1, at + _FLAGS] |= flags & _ENDING if ends else 0
    _put(rows, at + _CHECK, ">u2", numpy.zeros(count, numpy.int64))
    _put(rows, at + _CHECK, ">u2", _transport_checksums(rows, shape, length))
    octets_of_all, stride = rows.tobytes(), rows.shape[1]
    return [octets_of_all[start : start + length] for start in range(0, count * stride, stride)]


def _put_network(
    rows: Octets, headers: bytearray, shape: Shape, numbers: Numbers, octets: int
) -> None:
    """Sets the IP headers' lengths, and for IPv4 identification and checksum."""
    at = shape.network
    length = shape.payload - at + octets
    if shape.version == 6:
        _put(rows, at + 4, ">u2", numpy.full(len(rows), length - 40))
        return
    identification = int.from_bytes(headers[at + _ID : at + _ID + 2], "big") + numbers & 0xFFFF
    _put(rows, at + 2, ">u2", numpy.full(len(rows), length))
    _put(rows, at + _ID, ">u2", identification)
    fixed = fixed_sums(headers, shape).network
    _put(rows, at + _HEADER_CHECK, ">u2", _checksums(fixed + length + identification))


def _blank(count: int, length: int) -> Octets:
    """Returns rows of ``length`` octets with a zero behind an odd length: words stay words."""
    rows = numpy.empty((count, length + length % 2), numpy.uint8)
    rows[:, length:] = 0
    return rows


def _put(rows: Octets, place: int, kind: str, values: Numbers) -> None:
    """Writes a number into each row."""
    octets = values.astype(kind).view(numpy.uint8).reshape(len(rows), -1)
    rows[:, place : place + octets.shape[1]] = octets


def _get(rows: Octets, place: int, kind: str) -> Numbers:
    """Reads a number out of each row."""
    octets = numpy.ascontiguousarray(rows[:, place : place + numpy.dtype(kind).itemsize])
    return octets.view(kind)[:, 0].astype(numpy.int64)


def _transport_checksums(rows: Octets, shape: Shape, length: int) -> Numbers:
    """Sums pseudo header, TCP header and payload; the fields hold what is to be summed."""
    first, last = (12, 20) if shape.version == 4 else (8, 40)
    pseudo = rows[:, shape.network + first : shape.network + last]
    fixed = shape.protocol + length - shape.transport
    return _checksums(fixed + _word_sums(pseudo) + _word_sums(rows[:, shape.transport :]))


def _word_sums(rows: Octets) -> Numbers:
    sums: Numbers = rows.view(">u2").sum(axis=1, dtype=numpy.int64)
    return sums


def _checksums(sums: Numbers) -> Numbers:
    """Returns the checksums of sums that are not zero."""
    rest = sums % _ONES
    return _ONES - numpy.where(rest == 0, _ONES, rest)


class Joined(NamedTuple):
    """What goes to the LAN with one call: the virtio header, the frame, and the frames in it."""

    header: bytes
    frame: bytes
    frames: Sequence[bytes]


def join(frames: Sequence[bytes], longest: int) -> Iterator[Joined]:
    """Joins neighbours that were one large TCP frame, or could have been; the order stays.

    Frames of more than ``longest`` octets stay alone: whoever takes them has to refuse each.
    """
    start = 0
    while start < len(frames):
        length, stop = len(frames[start]), start + 1
        while stop < len(frames) and len(frames[stop]) == length:
            stop += 1
        few = stop - start < FEWEST_JOINED or length > longest
        shape = None if few else _shape(frames[start])
        if shape is None:
            yield from map(_alone, frames[start:stop])
        else:
            tail = frames[stop] if stop < len(frames) and len(frames[stop]) < length else None
            with_tail = yield from _join_alike(frames[start:stop], shape, tail)
            stop += with_tail
        start = stop


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
    rows = _rows(frames, length)
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
            if len(last) < FEWEST_JOINED:
                yield from map(_alone, last)
            else:
                yield _joined(rows[start:part], shape, length, last)
            start = part
    return taken


def _rows(frames: Sequence[bytes], length: int) -> Octets:
    between = b"\0" * (length % 2)
    octets = between.join(frames) + between
    return numpy.frombuffer(octets, numpy.uint8).reshape(len(frames), length + length % 2)


def _follows(rows: Octets, shape: Shape, length: int) -> NDArray[numpy.bool_]:
    """Tells of each row but the first whether it is the segment behind the row before."""
    network, transport, size = shape.network, shape.transport, length - shape.payload
    whole = _is_whole(rows, shape, length)
    flags = rows[:, transport + _FLAGS]
    may_go_on = whole & (flags == _ACK)
    may_be_next = whole & (flags & _NOT_ENDING == _ACK)
    sequence = _get(rows, transport + _SEQUENCE, ">u4")
    in_order = (sequence[:-1] + size & 0xFFFFFFFF) == sequence[1:]
    if shape.version == 4:
        identification = _get(rows, network + _ID, ">u2")
        in_order &= (identification[:-1] + 1 & 0xFFFF) == identification[1:]
    headers = rows[:, : shape.payload]
    same = headers[:-1] == headers[1:]
    same[:, _differing(shape)] = True
    found: NDArray[numpy.bool_] = may_go_on[:-1] & may_be_next[1:] & in_order & same.all(axis=1)
    return found


def _differing(shape: Shape) -> list[int]:
    """Lists the octets of the headers that are each segment's own."""
    places = [shape.transport + place for place in (*range(4, 8), _FLAGS, _CHECK, _CHECK + 1)]
    if shape.version == 4:
        places += [shape.network + place for place in (_ID, _ID + 1, 10, 11)]
    return places


def _is_whole(rows: Octets, shape: Shape, length: int) -> NDArray[numpy.bool_]:
    """Tells which rows have the headers of the first and checksums that hold."""
    network, transport = shape.network, shape.transport
    ours = rows[0]
    places = [*range(12, network + 1), transport + 12]
    if shape.version == 4:
        places += [network + place for place in (2, 3, _FRAGMENT, _FRAGMENT + 1, _PROTOCOL)]
    else:
        places += [network + place for place in (4, 5, _NEXT_HEADER)]
    whole: NDArray[numpy.bool_] = (rows[:, places] == ours[places]).all(axis=1)
    # What is summed has the field in it: without, the sum is less by what the field holds.
    field = _get(rows, transport + _CHECK, ">u2")
    first, last = (12, 20) if shape.version == 4 else (8, 40)
    sums = _word_sums(rows[:, network + first : network + last])
    sums += _word_sums(rows[:, transport:]) + (shape.protocol + length - transport)
    whole &= _checksums(sums - field) == field
    if shape.version == 4:
        field = _get(rows, network + _HEADER_CHECK, ">u2")
        whole &= _checksums(_word_sums(rows[:, network:transport]) - field) == field
    return whole


def _is_tail(tail: bytes, before: bytes, shape: Shape) -> bool:
    """Tells whether a shorter frame is the segment behind ``before``."""
    if _shape(tail) != shape:
        return False
    pair = _rows((before, tail.ljust(len(before), b"\0")), len(before)).copy()
    own = _rows((tail,), len(tail))
    if not _is_whole(own, shape, len(tail))[0]:
        return False
    at, transport = shape.network, shape.transport
    lengths = [at + 2, at + 3] if shape.version == 4 else [at + 4, at + 5]
    same = pair[0, : shape.payload] == pair[1, : shape.payload]
    same[[*_differing(shape), *lengths]] = True
    sequence = _get(pair, transport + _SEQUENCE, ">u4")
    size = len(before) - shape.payload
    in_order = (sequence[0] + size & 0xFFFFFFFF) == sequence[1]
    if shape.version == 4:
        identification = _get(pair, at + _ID, ">u2")
        in_order = in_order and (identification[0] + 1 & 0xFFFF) == identification[1]
    flags = pair[:, transport + _FLAGS]
    fit = flags[0] == _ACK and flags[1] & _NOT_ENDING == _ACK
    return bool(same.all() and in_order and fit and _is_whole(pair[:1], shape, len(before))[0])


def _joined(rows: Octets, shape: Shape, length: int, frames: Sequence[bytes]) -> Joined:
    """Makes one large frame of rows, and of the shorter frame behind them if ``frames`` has one."""
    headers = bytearray(frames[0][: shape.payload])
    payload = rows[:, shape.payload : length].tobytes()
    if len(frames) > len(rows):
        payload += frames[-1][shape.payload :]
    at, transport = shape.network, shape.transport
    behind = len(payload) + shape.payload - at
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
    header = VirtioHeader(
        NEEDS_CHECKSUM, gso, shape.payload, length - shape.payload, transport, _CHECK
    )
    return Joined(header.pack(), bytes(headers) + payload, frames)
