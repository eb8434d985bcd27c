"""The socket data plane: one system call for each datagram in and for each copy out.

Patent: Fig. 7-2 steps 709, 719.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from nodes.clock import now
from nodes.udp import UdpSocket
from protocol.relay import Drop, Forward

BATCH = 64
"""Datagrams taken for one wake-up, so that the control channel and timers get their turn."""


class Forwarding(Protocol):
    """What decides about datagrams: the relay, or what it is compared with."""

    def receive_datagram(
        self, datagram: bytes, source: tuple[str, int], now: int
    ) -> Forward | Drop:
        """Returns where the datagram's payload goes."""


class SocketPlane:
    """Moves datagrams as ``forwarding`` decides. The payload is sent as it came, or its tail."""

    def __init__(
        self, udp: UdpSocket, forwarding: Forwarding, arm_timer: Callable[[], None]
    ) -> None:
        """Takes the socket, what decides, and what to call after each batch of datagrams."""
        self._udp = udp
        self._forwarding = forwarding
        self._arm_timer = arm_timer

    def readable(self) -> None:
        """Takes up to ``BATCH`` waiting datagrams and sends each where it goes."""
        receive, send = self._udp.receive, self._udp.send
        decide = self._forwarding.receive_datagram
        time = now()
        for _ in range(BATCH):
            received = receive()
            if received is None:
                break
            payload, source = received
            for destination, strip in decide(payload, source, time).destinations:
                send(memoryview(payload)[strip:] if strip else payload, destination)
        self._arm_timer()
