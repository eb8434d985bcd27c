"""The batch data plane: a system call carries up to 64 datagrams in, and as many copies out.

Payloads lie in one buffer from the receive to the send. Copies to one destination wait there until
the wake-up ends, and equal sizes leave together; their order at each destination stays.

Patent: Fig. 7-2 steps 709, 719.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Protocol

from nodes.batch_socket import BatchUdpSocket, Piece, ReceivedBatch
from nodes.clock import now
from nodes.data_plane import BATCH, Deciding, Resealing
from nodes.outbox import Outbox, most_octets
from nodes.outside_socket import LARGEST_DATAGRAM
from protocol.relay import Destination, Run
from protocol.types import Secret

BUFFER_OCTETS = 4 * (LARGEST_DATAGRAM + 1)
"""Room for what one wake-up receives; when it is used up, what waits is sent first."""


_AS_IT_CAME = (0, None)


class DecidingBatches(Deciding, Protocol):
    """What decides where the datagrams of a batch go: relay and null forwarder."""

    def receive_batch(
        self, buffer: bytearray, place: slice, size: int, source: tuple[str, int], now: int
    ) -> Iterable[Run]:
        """Returns where each datagram in ``buffer[place]`` goes, neighbours that go alike as one."""


class BatchPlane(ABC):
    """The loop that all ways of forwarding share: they differ in what is done with one batch."""

    def __init__(self, udp: BatchUdpSocket, arm_timer: Callable[[], None]) -> None:
        """Takes the socket, and what to call after each wake-up."""
        self._udp = udp
        self._arm_timer = arm_timer
        self._outbox = Outbox(udp)
        self._buffer = bytearray(BUFFER_OCTETS)
        self._view = memoryview(self._buffer)

    def readable(self) -> None:
        """Takes what waits, up to ``BATCH`` times, and sends it on."""
        receive, view = self._udp.receive_into, self._view
        time, start = now(), 0
        for _ in range(BATCH):
            received = receive(view[start:])
            if received is None:
                break
            self._move(start, received, time)
            start += received.octets
            if BUFFER_OCTETS - start < LARGEST_DATAGRAM:
                self._outbox.flush()
                start = 0
        self._outbox.flush()
        self._arm_timer()

    @abstractmethod
    def _move(self, start: int, received: ReceivedBatch, time: int) -> None:
        """Puts into the outbox what is to be sent for the batch that begins at ``start``."""


class BatchDecidingPlane(BatchPlane):
    """Sends payloads as they came, or their tails, which are cut out without a copy."""

    def __init__(
        self, udp: BatchUdpSocket, forwarding: DecidingBatches, arm_timer: Callable[[], None]
    ) -> None:
        super().__init__(udp, arm_timer)
        self._decide = forwarding.receive_datagram
        self._decide_batch = forwarding.receive_batch

    def _move(self, start: int, received: ReceivedBatch, time: int) -> None:
        octets, size, source = received
        stop = start + octets
        if octets <= size:
            verdict = self._decide(self._view[start:stop], source, time)
            if verdict.destinations:
                self._put(start, stop, octets, verdict.destinations)
            return
        for run in self._decide_batch(self._buffer, slice(start, stop), size, source, time):
            if run.verdict.destinations:
                most = most_octets(size)
                for at in range(run.start, run.stop, most):
                    self._put(at, min(at + most, run.stop), size, run.verdict.destinations)

    def _put(self, start: int, stop: int, size: int, destinations: tuple[Destination, ...]) -> None:
        """Puts into the outbox what all of these destinations are sent of one batch."""
        add, view = self._outbox.add, self._view
        cut: dict[tuple[int, Secret | None], list[Piece]] = {_AS_IT_CAME: [view[start:stop]]}
        for destination in destinations:
            to, strip, hop_key = destination
            pieces = cut.get((strip, hop_key))
            if pieces is None:
                pieces = cut[strip, hop_key] = [
                    destination.copy_of(view[at : min(at + size, stop)])
                    for at in range(start, stop, size)
                ]
            octets = stop - start - strip * len(pieces) if strip else stop - start
            add(to, pieces, size - strip, octets)


class BatchResealingPlane(BatchPlane):
    """Sends what was sealed anew."""

    def __init__(
        self, udp: BatchUdpSocket, forwarding: Resealing, arm_timer: Callable[[], None]
    ) -> None:
        super().__init__(udp, arm_timer)
        self._reseal = forwarding.receive_datagram

    def _move(self, start: int, received: ReceivedBatch, time: int) -> None:
        octets, size, source = received
        add, stop = self._outbox.add, start + octets
        for at in range(start, stop, size) if octets else (start,):
            datagram = bytes(self._view[at : min(at + size, stop)])
            for sealed, destination in self._reseal(datagram, source, time):
                add(destination, [sealed], len(sealed), len(sealed))
