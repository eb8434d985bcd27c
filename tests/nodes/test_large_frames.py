"""Many segments at a time: the same as one at a time, and nothing that could not be cut again."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Dot1Q, Ether

from nodes.large_frames import Joined, cut, join
from nodes.segmentation import (
    FEWEST_JOINED,
    GSO_TCPV4,
    GSO_TCPV6,
    MANY,
    NEEDS_CHECKSUM,
    NO_OFFLOAD,
    Octets,
    VirtioHeader,
    complete,
    cut_singly,
)
from protocol.types import FrameRun
from tests.nodes.tcp import ACK, FIN, PSH, large, segments, shape_of

CWR, SYN, ECE = 0x80, 0x02, 0x40
VERSIONS = st.sampled_from([4, 6])


def joined_of(frames: Sequence[bytes], longest: int = 1500) -> list[Joined]:
    return list(join([FrameRun.of(frame) for frame in frames], longest))


def frames_in(joined: Joined) -> list[bytes]:
    return [frame for run in joined.runs for frame in run.frames()]


def cut_again(header: bytes, frame: Octets) -> list[bytes]:
    return complete(frame, VirtioHeader.parse(header))


@settings(max_examples=150, deadline=None)
@given(
    VERSIONS,
    st.booleans(),
    st.booleans(),
    st.integers(0, 255),
    st.integers(0, 2**32 - 1),
    st.integers(1, 40),
    st.binary(min_size=1, max_size=400),
)
def test_all_at_once_are_the_same_as_one_at_a_time(
    version: int,
    options: bool,
    tagged: bool,
    flags: int,
    sequence: int,
    size: int,
    payload: bytes,
) -> None:
    frame = large(version, payload, options=options, flags=flags, sequence=sequence, tagged=tagged)
    shape = shape_of(version, options, tagged)
    singly = cut_singly(frame, shape, len(frame), size)
    assert len(payload) < size or cut(frame, shape, len(frame), size) == singly


def test_what_is_behind_the_packet_is_not_cut() -> None:
    frame = large(4, bytes(range(200)))
    header = VirtioHeader(NEEDS_CHECKSUM, GSO_TCPV4, 0, 10, 34, 16)
    assert MANY < 200 // 10
    assert complete(frame + b"padding", header) == complete(frame, header)


@settings(max_examples=100, deadline=None)
@given(
    VERSIONS,
    st.integers(FEWEST_JOINED, 30),
    st.integers(1, 60),
    st.integers(0, 59),
    st.sampled_from([ACK, ACK | PSH, ACK | FIN, ACK | PSH | FIN]),
)
def test_segments_of_one_frame_are_joined_and_cut_into_the_same(
    version: int, count: int, size: int, rest: int, flags: int
) -> None:
    frames = segments(version, count, size, rest % size, flags)
    (joined,) = joined_of(frames)
    assert frames_in(joined) == frames
    assert cut_again(joined.header, joined.frame) == frames
    header = VirtioHeader.parse(joined.header)
    assert header.gso_type == (GSO_TCPV4 if version == 4 else GSO_TCPV6)
    assert header.gso_size == size


def changed(place: int) -> Callable[[bytes], bytes]:
    """Returns what changes one octet, and leaves the checksums as they were."""

    def change(frame: bytes) -> bytes:
        return frame[:place] + bytes((frame[place] ^ 1,)) + frame[place + 1 :]

    return change


@settings(max_examples=200, deadline=None)
@given(VERSIONS, st.data())
def test_whatever_comes_leaves_in_order_and_to_the_octet(version: int, data: st.DataObject) -> None:
    frames: list[bytes] = []
    for _ in range(data.draw(st.integers(1, 4))):
        size, rest = data.draw(st.integers(1, 30)), data.draw(st.integers(0, 29))
        flags = data.draw(st.sampled_from([ACK, ACK | PSH, SYN, ACK | ECE, ACK | CWR, ACK | FIN]))
        frames += segments(version, data.draw(st.integers(1, 12)), size, rest % size, flags)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(frames) - 1))
        what = data.draw(st.sampled_from(["change", "drop", "double", "swap", "cut"]))
        if what == "change" and frames[at]:
            frames[at] = changed(data.draw(st.integers(0, len(frames[at]) - 1)))(frames[at])
        elif what == "drop" and len(frames) > 1:
            del frames[at]
        elif what == "double":
            frames.insert(at, frames[at])
        elif what == "swap":
            frames[at], frames[0] = frames[0], frames[at]
        elif what == "cut":
            frames[at] = frames[at][: data.draw(st.integers(1, len(frames[at])))]
    left: list[bytes] = []
    for joined in joined_of(frames):
        assert len(frames_in(joined)) == 1 or len(frames_in(joined)) >= FEWEST_JOINED
        if joined.header == NO_OFFLOAD:
            assert [joined.frame] == frames_in(joined)
        else:
            assert cut_again(joined.header, joined.frame) == frames_in(joined)
        left += frames_in(joined)
    assert left == frames


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    "place", [0, 7, 13, 15, 22, 60, -1], ids=["dst", "src", "type", "tos", "ttl", "tcp", "payload"]
)
def test_a_segment_that_differs_or_does_not_add_up_stays_alone(version: int, place: int) -> None:
    frames = segments(version, 9, 20)
    frames[4] = changed(place % len(frames[4]))(frames[4])
    counts = [len(frames_in(joined)) for joined in joined_of(frames)]
    assert counts == [4, 1, 4]


def test_other_kinds_of_frames_stay_alone() -> None:
    def is_alone(frame: bytes) -> bool:
        return [one.header for one in joined_of([frame] * 8)] == [NO_OFFLOAD] * 8

    ethernet: Any = Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02")
    packet = IP(src="10.1.0.1", dst="10.1.0.2")
    udp = bytes(ethernet / packet / UDP(sport=1, dport=2) / bytes(100))
    fragment = bytes(ethernet / IP(src="10.1.0.1", dst="10.1.0.2", flags="MF") / TCP() / bytes(9))
    optioned = bytes(ethernet / IP(src="10.1.0.1", dst="10.1.0.2", options=b"\1\1\1\1") / TCP())
    tagged = bytes(ethernet / Dot1Q(vlan=7) / packet / TCP() / bytes(100))
    same = segments(4, 1, 100)[0]
    syn = bytes(ethernet / packet / TCP(flags="S") / bytes(9))
    for frame in (udp, fragment, optioned, tagged, same, syn, bytes(14), bytes(60)):
        assert is_alone(frame)


def test_no_packet_is_longer_than_its_length_can_say() -> None:
    size, count = 1334, 40
    frames = []
    for first in (0, count):
        payload = random.Random(first).randbytes(count * size)
        frame = large(6, payload, sequence=first * size)
        frames += cut_singly(frame, shape_of(6, True, False), len(frame), size)
    joined = joined_of(frames)
    assert [len(frames_in(one)) for one in joined] == [49, 31]
    assert [frame for one in joined for frame in frames_in(one)] == frames


def test_frames_that_the_interface_would_refuse_stay_alone() -> None:
    frames = segments(4, 5, 100)
    assert len(joined_of(frames, len(frames[0]))) == 1
    assert len(joined_of(frames, len(frames[0]) - 1)) == 5
