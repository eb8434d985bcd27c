"""The batch data plane: a system call carries up to 64 datagrams in, and as many copies out.

Payloads lie in one buffer from the receive to the send. Where a wake-up finds several things, copies to
one destination wait there until it ends, and equal sizes leave together; their order at each destination
stays. What comes alone is sent on at once, as the socket plane does.

Patent: Fig. 7-2 steps 709, 719.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
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


Put = Callable[[tuple[str, int], list[Piece], int, int], None]
"""Takes a batch as :meth:`Outbox.add` and :meth:`Outbox.send` do."""


class DecidingBatches(Deciding, Protocol):
    """What decides where the datagrams of a batch go: relay and null forwarder."""

    def receive_batch(
        self, buffer: bytearray, place: slice, size: int, source: tuple[str, int], now: int
    ) -> Sequence[Run]:
        """Returns where each datagram in ``buffer[place]`` goes, neighbours that go alike as one."""


class BatchPlane(ABC):
    """The loop that all ways of forwarding share: they differ in what is done with one batch."""

    def __init__(self, udp: BatchUdpSocket, arm_timer: Callable[[], None]) -> None:
        """Takes the socket, and what to call after each wake-up."""
        self._udp = udp
        self._arm_timer = arm_timer
        self._send = udp.send
        self._outbox = Outbox(udp)
        self._buffer = bytearray(BUFFER_OCTETS)
        self._view = memoryview(self._buffer)
        self._several = False
        """Whether the last wake-up found several: then it is not worth asking whether more wait."""

    def readable(self) -> None:
        """Takes what waits, up to ``BATCH`` times, and sends it on."""
        received = self._udp.receive_into(self._view)
        if received is not None:
            if self._several or self._udp.waits():
                self._move_all(received)
            else:
                self._move_alone(received, now())
        self._arm_timer()

    def _move_all(self, received: ReceivedBatch | None) -> None:
        """Moves what has been received and what waits behind it; what goes alike leaves together."""
        receive, view, time = self._udp.receive_into, self._view, now()
        start = taken = 0
        while received is not None:
            taken += 1
            self._move(start, received, time)
            start += received.octets
            if taken == BATCH:
                break
            if BUFFER_OCTETS - start < LARGEST_DATAGRAM:
                self._outbox.flush()
                start = 0
            received = receive(view[start:])
        self._outbox.flush()
        self._several = taken > 1

    def _move_alone(self, received: ReceivedBatch, time: int) -> None:
        """Moves what nothing waits behind."""
        self._move(0, received, time)
        self._outbox.flush()

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

    def _move_alone(self, received: ReceivedBatch, time: int) -> None:
        """Sends a single datagram, or datagrams that all go alike, at once."""
        octets, size, source = received
        if octets <= size:
            payload = self._view[:octets]
            for destination in self._decide(payload, source, time).destinations:
                self._send(destination.copy_of(payload), destination.address)
            return
        runs = self._decide_batch(self._buffer, slice(0, octets), size, source, time)
        self._put(runs, size, self._outbox.send if len(runs) == 1 else self._outbox.add)
        self._outbox.flush()

    def _move(self, start: int, received: ReceivedBatch, time: int) -> None:
        octets, size, source = received
        place = slice(start, start + octets)
        if octets > size:
            runs = self._decide_batch(self._buffer, place, size, source, time)
            self._put(runs, size, self._outbox.add)
            return
        payload, add = self._view[place], self._outbox.add
        for destination in self._decide(payload, source, time).destinations:
            left = octets - destination.strip
            add(destination.address, [destination.copy_of(payload)], left, left)

    def _put(self, runs: Sequence[Run], size: int, put: Put) -> None:
        """Puts what goes to each destination, as much at once as a system call may carry."""
        most = most_octets(size)
        for start, stop, verdict in runs:
            for at in range(start, stop, most) if verdict.destinations else ():
                self._put_alike(at, min(at + most, stop), size, verdict.destinations, put)

    def _put_alike(
        self, start: int, stop: int, size: int, destinations: tuple[Destination, ...], put: Put
    ) -> None:
        """Puts what all of these destinations are sent of one batch."""
        view = self._view
        whole: list[Piece] = [view[start:stop]]
        cut: dict[tuple[int, Secret | None], list[Piece]] = {}
        for destination in destinations:
            to, strip, hop_key = destination
            if not strip and hop_key is None:
                put(to, whole, size, stop - start)
                continue
            pieces = cut.get((strip, hop_key))
            if pieces is None:
                pieces = cut[strip, hop_key] = [
                    destination.copy_of(view[at : min(at + size, stop)])
                    for at in range(start, stop, size)
                ]
            put(to, pieces, size - strip, stop - start - strip * len(pieces))


class BatchResealingPlane(BatchPlane):
    """Sends what was sealed anew."""

    def __init__(
        self, udp: BatchUdpSocket, forwarding: Resealing, arm_timer: Callable[[], None]
    ) -> None:
        super().__init__(udp, arm_timer)
        self._reseal = forwarding.receive_datagram

    def _move_alone(self, received: ReceivedBatch, time: int) -> None:
        """Sends what is sealed of a single datagram at once."""
        octets, size, source = received
        if octets > size:
            super()._move_alone(received, time)
            return
        for sealed, destination in self._reseal(bytes(self._view[:octets]), source, time):
            self._send(sealed, destination)

    def _move(self, start: int, received: ReceivedBatch, time: int) -> None:
        octets, size, source = received
        add, stop = self._outbox.add, start + octets
        for at in range(start, stop, size) if octets else (start,):
            datagram = bytes(self._view[at : min(at + size, stop)])
            for sealed, destination in self._reseal(datagram, source, time):
                add(destination, [sealed], len(sealed), len(sealed))
