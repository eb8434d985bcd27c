"""The server with a fault: it changes one octet of one datagram that carries a probe frame.

Run as ``nodes.server``. The frame is the first of 512 octets, a unicast one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from nodes import server
from nodes.batch_socket import BatchUdpSocket, Piece
from nodes.udp import UdpSocket
from protocol.wire import esp, etherip, vpn_header
from protocol.wire.ip import HEADER_LENGTHS

FRAME_LENGTH = 512


def payload_length() -> int:
    """Computes the length of the payload that carries the frame, IPv6 inside."""
    plaintext = len(esp.pad(etherip.pack(bytes(FRAME_LENGTH)), etherip.NEXT_HEADER))
    sealed = esp.HEADER_LENGTH + esp.IV_LENGTH + plaintext + esp.ICV_LENGTH
    return vpn_header.LENGTH + HEADER_LENGTHS[6] + sealed


def one_by_one(
    self: BatchUdpSocket, pieces: Sequence[Piece], size: int, destination: tuple[str, int]
) -> None:
    """Sends each datagram of a batch by itself, so that the fault can be in any of them."""
    for piece in pieces:
        for start in range(0, len(piece), size):
            self.send(piece[start : start + size], destination)


def alter_one_octet() -> None:
    """Has this process change the last octet of the first such datagram that it sends."""
    length = payload_length()
    altered = 0

    whole = UdpSocket.send

    def send(self: UdpSocket, payload: bytes | memoryview, destination: tuple[str, int]) -> bool:
        nonlocal altered
        if len(payload) == length and not altered:
            altered += 1
            payload = bytes(payload[:-1]) + bytes([payload[-1] ^ 1])
        return whole(self, payload, destination)

    UdpSocket.send = send  # type: ignore[method-assign]
    BatchUdpSocket.send_batch = one_by_one  # type: ignore[method-assign]


if __name__ == "__main__":
    alter_one_octet()
    sys.exit(server.main())
