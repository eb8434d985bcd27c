"""TCP frames as kernels hand them over: large ones, and the segments that they are cut into."""

from __future__ import annotations

import random
from typing import Any

from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether

from nodes.segmentation import Shape, cut_singly

ACK, PSH, FIN = 0x10, 0x08, 0x01


def shape_of(version: int, options: bool, tagged: bool) -> Shape:
    network = 18 if tagged else 14
    transport = network + (20 if version == 4 else 40)
    return Shape(network, version, transport, 6, transport + (32 if options else 20))


def large(
    version: int,
    payload: bytes,
    *,
    options: bool = True,
    flags: int = ACK,
    sequence: int = 0xFFFFFF00,
    identification: int = 0xFFFD,
    tagged: bool = False,
) -> bytes:
    """Returns a large frame whose checksum is left to be done."""
    ethernet: Any = Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02")
    if tagged:
        ethernet /= Dot1Q(vlan=7)
    stamps = [("NOP", None), ("NOP", None), ("Timestamp", (1, 2))] if options else []
    transport = TCP(sport=5, dport=6, seq=sequence, flags=flags, options=stamps) / payload
    network = (
        IP(src="10.1.0.1", dst="10.1.0.2", id=identification, flags="DF", chksum=0)
        if version == 4
        else IPv6(src="fd00::1", dst="fd00::2")
    )
    return bytes(ethernet / network / transport)


def segments(version: int, count: int, size: int, rest: int = 0, flags: int = ACK) -> list[bytes]:
    """Returns what a kernel would send: frames whose checksums hold."""
    payload = random.Random(count * size + rest).randbytes(count * size + rest)
    shape = shape_of(version, True, False)
    frame = large(version, payload, flags=flags)
    return cut_singly(frame, shape, len(frame), size)
