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
from collections.abc import Generator, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby, pairwise
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
    cut_singly,
    fixed_sums,
    ones_sum,
)
from protocol.types import FrameRun

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
    places = {
        "sequence": (">u4", shape.transport + _SEQUENCE),
        "flags": ("u1", shape.transport + _FLAGS),
        "check": ("<u2", shape.transport + _CHECK),
    }
    if shape.version == 4:
        places["identification"] = (">u2", shape.network + _ID)
        places["header_check"] = (">u2", shape.network + _HEADER_CHECK)
    return numpy.dtype(
        {
            "names": [*places],
            "formats": [kind for kind, _ in places.values()],
            "offsets": [offset for _, offset in places.values()],
            "itemsize": row_length,
        }
    )


def _sums(rows: Rows) -> Numbers:
    """Sums each row; what is left of it modulo 2**16 - 1 is RFC 1071's sum of words, octets swapped.

    Neither the order of the octets nor how many words are added at once matters to that sum.
    """
    sums: Numbers = rows.view(_WORD).sum(axis=1, dtype=numpy.int64)
    return sums


class Joined(NamedTuple):
    """What goes to the LAN with one call: the virtio header, the frame, and the frames in it.

    A frame that stays alone has no offload to do.
    """

    header: bytes
    frame: Octets
    runs: tuple[FrameRun, ...]


def join(runs: Sequence[FrameRun], longest: int) -> Iterator[Joined]:
    """Joins neighbours that were one large TCP frame, or could have been; the order stays.

    Frames of more than ``longest`` octets stay alone: whoever takes them has to refuse each.
    """
    groups = deque(_merged(some) for _, some in groupby(runs, _rows_of))
    while groups:
        run = groups.popleft()
        shape = _shape_in(run) if run.rows >= FEWEST_JOINED and _length(run) <= longest else None
        if shape is None:
            yield from _alone(run)
            continue
        tail = groups[0] if groups and _length(groups[0]) < _length(run) else None
        with_tail = yield from _join_alike(run, shape, None if tail is None else _part(tail, 0, 1))
        if with_tail:
            groups[0] = _part(groups[0], 1, groups[0].rows)
            if not groups[0].octets:
                groups.popleft()


def _rows_of(run: FrameRun) -> tuple[int, int, int]:
    return run.size, run.before, run.behind


def _merged(alike: Iterable[FrameRun]) -> FrameRun:
    """Makes one run of those whose rows are alike but for what is around the frames."""
    first, *others = alike
    return (
        first._replace(octets=b"".join((first.octets, *(one.octets for one in others))))
        if others
        else first
    )


def _length(run: FrameRun) -> int:
    return run.size - run.before - run.behind


def _part(run: FrameRun, start: int, stop: int) -> FrameRun:
    return run._replace(octets=memoryview(run.octets)[start * run.size : stop * run.size])


def _alone(run: FrameRun) -> Iterator[Joined]:
    for frame in run.frames():
        yield Joined(NO_OFFLOAD, frame, (FrameRun.of(frame),))


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


def _shape_in(run: FrameRun) -> Shape | None:
    """Finds the headers of a run's first frame, counted from where its row begins."""
    shape = _shape(bytes(run.octets[run.before : run.size - run.behind]))
    if shape is None:
        return None
    network, version, transport, protocol, payload = shape
    before = run.before
    return Shape(network + before, version, transport + before, protocol, payload + before)


def _join_alike(
    run: FrameRun, shape: Shape, tail: FrameRun | None
) -> Generator[Joined, None, bool]:
    """Joins a run's frames; returns whether the shorter ``tail`` behind them went along."""
    rows, end = _rows(run, shape), run.size - run.behind
    size = end - shape.payload
    most = (LARGEST_PACKET - shape.payload + shape.network) // size
    taken = False
    breaks = numpy.flatnonzero(~_follows(rows, shape, end)) + 1
    for start, stop in pairwise((0, *breaks.tolist(), run.rows)):
        for first in range(start, stop, most):
            last = min(stop, first + most)
            part = _part(run, first, last)
            ends_here = last == run.rows and last - first < most
            if tail is not None and ends_here and last - first >= FEWEST_JOINED - 1:
                taken = _is_tail(
                    tail.frames()[0], _part(run, last - 1, last).frames()[0], shape, run.before
                )
            if last - first + taken < FEWEST_JOINED:
                yield from _alone(part)
            else:
                yield _joined(rows[first:last], shape, end, part, tail if taken else None)
    return taken


def _rows(run: FrameRun, shape: Shape) -> Rows:
    """Puts a run into rows whose segments are whole words.

    Where the frames' surroundings do not do that already, zeros do.
    """
    octets = numpy.frombuffer(run.octets, numpy.uint8).reshape(run.rows, run.size)
    between = -(run.size - shape.transport) % _WORD.itemsize
    return numpy.pad(octets, ((0, 0), (0, between))) if between else octets


def _follows(rows: Rows, shape: Shape, end: int) -> Truths:
    """Tells of each row but the first whether it is the segment behind the row before.

    Frames end at the octet ``end`` of their rows. All that tells flows and shapes apart is compared.
    """
    headers = rows[:, : shape.payload]
    found: Truths = ~((headers[1:] != headers[:-1]) & _told_apart(shape)).any(axis=1)
    fields = _fields(rows, shape)
    flags, sequences = fields["flags"], fields["sequence"].astype("=u4")
    found &= (flags[:-1] == _ACK) & (flags[1:] & _NOT_ENDING == _ACK)
    found &= sequences[1:] - sequences[:-1] == end - shape.payload
    if shape.version == 4:
        identifications = fields["identification"].astype("=u2")
        found &= identifications[1:] - identifications[:-1] == 1
    sound = _is_sound(rows, shape, end)
    found &= sound[:-1] & sound[1:]
    return found


def _is_sound(rows: Rows, shape: Shape, end: int) -> Truths:
    """Tells which rows have the checksums that `cut` would give them: of 0 and 0xFFFF it is 0."""
    network, transport, fields = shape.network, shape.transport, _fields(rows, shape)
    around = ones_sum(bytes((end - transport) % 2) + rows[0, end:].tobytes())
    alike = _swapped(shape.protocol + end - transport - around)
    first, last = (12, 20) if shape.version == 4 else (8, 40)
    addresses = _sums(rows[:, network + first : network + last])
    sound: Truths = (_sums(rows[:, transport:]) + addresses + alike) % _ONES == 0
    sound &= fields["check"] != _ONES
    if shape.version == 4:
        sound &= _sums(rows[:, network:transport]) % _ONES == 0
        sound &= fields["header_check"] != _ONES
    return sound


@lru_cache(maxsize=64)
def _told_apart(shape: Shape) -> Truths:
    """Tells which octets of the headers segments of one stream have in common."""
    network, transport = shape.network, shape.transport
    common = numpy.ones(shape.payload, bool)
    common[[transport + place for place in (*range(4, 8), _FLAGS, _CHECK, _CHECK + 1)]] = False
    if shape.version == 4:
        own = (_ID, _ID + 1, _HEADER_CHECK, _HEADER_CHECK + 1)
        common[[network + place for place in own]] = False
    return common


def _is_tail(tail: bytes, last: bytes, shape: Shape, before: int) -> bool:
    """Tells whether a shorter frame is the segment that is cut off behind ``last``."""
    found = _shape(last)
    if found is None or _shape(tail) != found or last[found.transport + _FLAGS] != _ACK:
        return False
    flags = found.transport + _FLAGS
    both = last[:flags] + tail[flags : flags + 1] + last[flags + 1 :] + tail[found.payload :]
    return cut_singly(both, found, len(both), len(last) - found.payload) == [last, tail]


def _joined(rows: Rows, shape: Shape, end: int, run: FrameRun, tail: FrameRun | None) -> Joined:
    """Makes one large frame of rows, and of the shorter frame behind them if there is one."""
    before, size = run.before, end - shape.payload
    network, transport, start = (place - before for place in (shape[0], shape[2], shape[4]))
    headers = bytearray(rows[0, before : shape.payload])
    last, rest = bytes(rows[-1, before : shape.payload]), b""
    if tail is not None:
        (last,) = tail.frames()
        rest = last[start:]
    stop = start + len(rows) * size
    frame = numpy.empty(stop + len(rest), numpy.uint8)
    frame[start:stop].reshape(len(rows), size)[:] = rows[:, shape.payload : end]
    frame[stop:] = numpy.frombuffer(rest, numpy.uint8)
    headers[transport + _FLAGS] = last[transport + _FLAGS]
    _set_lengths(headers, Shape(network, shape.version, transport, TCP, start), len(frame))
    frame[:start] = numpy.frombuffer(headers, numpy.uint8)
    gso = GSO_TCPV4 if shape.version == 4 else GSO_TCPV6
    header = VirtioHeader(NEEDS_CHECKSUM, gso, start, size, transport, _CHECK)
    return Joined(header.pack(), frame.data, (run,) if tail is None else (run, tail))


def _set_lengths(headers: bytearray, shape: Shape, length: int) -> None:
    """Has headers be those of a frame of ``length`` octets whose TCP checksum is left to be done."""
    at, transport = shape.network, shape.transport
    if shape.version == 4:
        headers[at + 2 : at + 4] = (length - at).to_bytes(2, "big")
        headers[at + 10 : at + 12] = bytes(2)
        value = checksum(ones_sum(headers[at:transport]))
        headers[at + 10 : at + 12] = value.to_bytes(2, "big")
    else:
        headers[at + 4 : at + 6] = (length - at - 40).to_bytes(2, "big")
    pseudo = fixed_sums(headers, shape).pseudo + length - transport
    headers[transport + _CHECK : transport + _CHECK + 2] = (pseudo % _ONES).to_bytes(2, "big")
