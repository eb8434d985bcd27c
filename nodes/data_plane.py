"""The socket data plane: one system call for each datagram in and for each copy out.

Patent: Fig. 7-2 steps 709, 719.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Protocol

from nodes.clock import now
from nodes.udp import UdpSocket
from protocol.relay import Verdict
from protocol.relay.bindings import Bindings
from protocol.types import Address

BATCH = 64
"""Datagrams taken for one wake-up, so that the control channel and timers get their turn."""


class Deciding(Protocol):
    """What decides where a datagram's payload goes, without changing it: relay and null forwarder."""

    def receive_datagram(
        self, datagram: bytes | memoryview, source: tuple[str, int], now: int
    ) -> Verdict:
        """Returns where the payload goes."""


class Resealing(Protocol):
    """What makes new payloads of a datagram's: a hub."""

    def receive_datagram(
        self, datagram: bytes, source: tuple[str, int], now: int
    ) -> Iterable[tuple[bytes, Address]]:
        """Returns (payload, destination) for each copy."""


class SocketPlane(ABC):
    """The loop that all ways of forwarding share: they differ in what is done with one datagram."""

    def __init__(self, udp: UdpSocket, arm_timer: Callable[[], None]) -> None:
        """Takes the socket, and what to call after each batch of datagrams."""
        self._udp = udp
        self._arm_timer = arm_timer
        self._several = False
        """Whether the last wake-up found several: then it is not worth asking whether more wait."""

    def readable(self) -> None:
        """Takes up to ``BATCH`` waiting datagrams and moves each."""
        receive, move, ask = self._udp.receive, self._move, not self._several
        time, taken = now(), 0
        while taken < BATCH and (not ask or not taken or self._udp.waits()):
            received = receive()
            if received is None:
                break
            move(*received, time)
            taken += 1
        self._several = taken > 1
        self._arm_timer()

    @abstractmethod
    def _move(self, payload: bytes, source: tuple[str, int], time: int) -> None:
        """Sends what is to be sent for one datagram."""


class DecidingPlane(SocketPlane):
    """Sends the payload as it came, or its tail."""

    def __init__(self, udp: UdpSocket, forwarding: Deciding, arm_timer: Callable[[], None]) -> None:
        super().__init__(udp, arm_timer)
        self._decide = forwarding.receive_datagram
        self._send = udp.send

    def _move(self, payload: bytes, source: tuple[str, int], time: int) -> None:
        for destination in self._decide(payload, source, time).destinations:
            self._send(destination.copy_of(payload), destination.address)


class ResealingPlane(SocketPlane):
    """Sends what was sealed anew."""

    def __init__(
        self, udp: UdpSocket, forwarding: Resealing, arm_timer: Callable[[], None]
    ) -> None:
        super().__init__(udp, arm_timer)
        self._reseal = forwarding.receive_datagram
        self._send = udp.send

    def _move(self, payload: bytes, source: tuple[str, int], time: int) -> None:
        for sealed, destination in self._reseal(payload, source, time):
            self._send(sealed, destination)


def answer_bindings(bindings: Bindings, udp: UdpSocket) -> None:
    """Sends the relay's answers to bindings that have come in."""
    for payload, destination in bindings.take_answers():
        udp.send(payload, destination)
