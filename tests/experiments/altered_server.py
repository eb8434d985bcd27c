"""The server with a fault: it changes one octet of one datagram that carries a probe frame.

Run as ``nodes.server``. The frame is the first of 512 octets, a unicast one.
"""

from __future__ import annotations

import sys

from nodes import server
from nodes.udp import UdpSocket
from protocol.wire import esp, etherip, vpn_header
from protocol.wire.ip import HEADER_LENGTHS

FRAME_LENGTH = 512


def payload_length() -> int:
    """Computes the length of the payload that carries the frame, IPv6 inside."""
    plaintext = len(esp.pad(etherip.pack(bytes(FRAME_LENGTH)), etherip.NEXT_HEADER))
    sealed = esp.HEADER_LENGTH + esp.IV_LENGTH + plaintext + esp.ICV_LENGTH
    return vpn_header.LENGTH + HEADER_LENGTHS[6] + sealed


def main() -> int:
    """Runs the server; returns its exit code."""
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
    return server.main()


if __name__ == "__main__":
    sys.exit(main())
