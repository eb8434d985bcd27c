"""Segments and checksums, with scapy as the judge."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether

from nodes.segmentation import (
    GSO_ECN,
    GSO_TCPV4,
    GSO_TCPV6,
    GSO_UDP_L4,
    NEEDS_CHECKSUM,
    NO_OFFLOAD,
    SegmentationError,
    VirtioHeader,
    complete,
    ones_sum,
)

COMPLETE = VirtioHeader.parse(NO_OFFLOAD)
CWR, PSH, FIN, ACK = 0x80, 0x08, 0x01, 0x10


def network_layer(version: int, tagged: bool, identification: int = 0xFFFE) -> Any:
    ethernet = Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02")
    if tagged:
        ethernet /= Dot1Q(vlan=7)
    if version == 4:
        return ethernet / IP(src="10.1.0.1", dst="10.1.0.2", id=identification, flags="DF")
    return ethernet / IPv6(src="fd00::1", dst="fd00::2")


def tcp_layer(flags: int, options: bool, sequence: int) -> Any:
    stamps = [("NOP", None), ("NOP", None), ("Timestamp", (1, 2))] if options else []
    return TCP(sport=5, dport=6, seq=sequence, flags=flags, options=stamps)


def large(layers: Any, gso_type: int, size: int) -> tuple[bytes, VirtioHeader]:
    """Returns a frame as a kernel hands it over, with its checksum left to be done."""
    frame = bytearray(bytes(layers))
    transport = layers.getlayer(TCP) or layers.getlayer(UDP)
    start = len(frame) - len(bytes(transport))
    offset = 16 if transport.name == "TCP" else 6
    frame[start + offset : start + offset + 2] = b"\xab\xcd"
    return bytes(frame), VirtioHeader(NEEDS_CHECKSUM, gso_type, 0, size, start, offset)


def judged(segment: bytes) -> Any:
    """Has scapy read a segment, and compute lengths and checksums anew: they must be the same."""
    read: Any = Ether(segment)
    again: Any = read.copy()
    fields: tuple[tuple[Any, str], ...] = (
        *((layer, "chksum") for layer in (IP, TCP, UDP)),
        (IP, "len"),
        (IPv6, "plen"),
        (UDP, "len"),
    )
    for layer, field in fields:
        if again.haslayer(layer):
            again[layer].delfieldval(field)
    assert bytes(again) == segment
    return read


payloads = st.binary(min_size=1, max_size=300)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([4, 6]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 255),
    st.sampled_from([0, 1000, 2**32 - 5]),
    payloads,
    st.integers(1, 150),
)
def test_segments_of_tcp_are_what_one_would_send_one_by_one(
    version: int,
    tagged: bool,
    options: bool,
    flags: int,
    sequence: int,
    payload: bytes,
    size: int,
) -> None:
    layers = network_layer(version, tagged) / tcp_layer(flags, options, sequence) / payload
    kind = (GSO_TCPV4 if version == 4 else GSO_TCPV6) | (GSO_ECN if flags & CWR else 0)
    segments = [judged(one) for one in complete(*large(layers, kind, size))]
    assert b"".join(bytes(one[TCP].payload) for one in segments) == payload
    assert all(len(one[TCP].payload) == size for one in segments[:-1])
    for number, one in enumerate(segments):
        assert one[TCP].seq == (sequence + number * size) % 2**32
        expected = flags if number == 0 else flags & ~CWR
        expected = expected if number == len(segments) - 1 else expected & ~(FIN | PSH)
        assert int(one[TCP].flags) & 0xFF == expected
        assert one[TCP].options == Ether(bytes(layers))[TCP].options
        assert one[TCP].ack == layers[TCP].ack
        if version == 4:
            assert one[IP].id == (0xFFFE + number) % 2**16
        assert one.haslayer(Dot1Q) == tagged


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([4, 6]), payloads, st.integers(1, 150))
def test_segments_of_udp_are_datagrams_of_their_own(
    version: int, payload: bytes, size: int
) -> None:
    layers = network_layer(version, False) / UDP(sport=5, dport=6) / payload
    segments = [judged(one) for one in complete(*large(layers, GSO_UDP_L4, size))]
    assert b"".join(bytes(one[UDP].payload) for one in segments) == payload
    assert all(len(one[UDP].payload) == size for one in segments[:-1])
    assert all(one[UDP].chksum for one in segments)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([4, 6]), st.sampled_from([TCP, UDP]), st.binary(max_size=300))
def test_a_partial_checksum_is_completed_and_nothing_else_changed(
    version: int, transport: Any, payload: bytes
) -> None:
    layers = network_layer(version, False) / transport(sport=5, dport=6) / payload
    whole = bytes(layers)
    start = len(whole) - len(payload) - (20 if transport is TCP else 8)
    place = start + (16 if transport is TCP else 6)
    network = whole[14:start]
    addresses = network[12:20] if version == 4 else network[8:40]
    pseudo = ones_sum(addresses) + (6 if transport is TCP else 17) + len(whole) - start
    partial = whole[:place] + (pseudo % 0xFFFF).to_bytes(2, "big") + whole[place + 2 :]
    header = VirtioHeader(NEEDS_CHECKSUM, 0, 0, 0, start, place - start)
    (found,) = complete(partial, header)
    assert found == whole
    judged(found)


def test_a_complete_frame_stays_as_it_is() -> None:
    frame = bytes(range(60))
    assert complete(frame, COMPLETE) == [frame]


def test_a_large_frame_that_fits_is_one_segment_with_its_checksum_done() -> None:
    layers = network_layer(4, False) / tcp_layer(ACK | PSH, True, 1) / b"few"
    (one,) = complete(*large(layers, GSO_TCPV4, 1000))
    assert one == bytes(layers)


def test_padding_behind_the_packet_is_no_payload() -> None:
    layers = network_layer(4, False) / tcp_layer(ACK, False, 1) / bytes(200)
    frame, header = large(layers, GSO_TCPV4, 100)
    assert [bytes(judged(one)[TCP].payload) for one in complete(frame + b"\xff" * 9, header)] == [
        bytes(100)
    ] * 2


@pytest.mark.parametrize(
    ("frame", "header"),
    [
        (bytes(60), VirtioHeader(NEEDS_CHECKSUM, 3, 0, 100, 34, 6)),
        (bytes(60), VirtioHeader(NEEDS_CHECKSUM, 77, 0, 100, 34, 6)),
        (bytes(60), VirtioHeader(NEEDS_CHECKSUM, GSO_TCPV4, 0, 0, 34, 16)),
        (bytes(60), VirtioHeader(NEEDS_CHECKSUM, GSO_TCPV4, 0, 100, 34, 16)),
        (b"", VirtioHeader(0, GSO_TCPV4, 0, 100, 0, 0)),
        (bytes(12) + b"\x81\x00" * 3, VirtioHeader(0, GSO_TCPV4, 0, 100, 0, 0)),
        (bytes(12) + b"\x08\x00\x45" + bytes(20), VirtioHeader(0, GSO_TCPV4, 0, 100, 0, 0)),
        (bytes(20), VirtioHeader(NEEDS_CHECKSUM, 0, 0, 0, 10, 16)),
        (bytes(60), VirtioHeader(NEEDS_CHECKSUM, 0, 0, 0, 34, 8)),
    ],
)
def test_what_its_header_does_not_fit_is_refused(frame: bytes, header: VirtioHeader) -> None:
    with pytest.raises(SegmentationError):
        complete(frame, header)


@given(st.binary(max_size=200), st.binary(min_size=10, max_size=10))
def test_no_frame_and_no_header_do_more_than_be_refused(frame: bytes, octets: bytes) -> None:
    header = VirtioHeader.parse(octets)
    assert header.pack() == octets
    try:
        found = complete(frame, header)
    except SegmentationError:
        return
    assert found
