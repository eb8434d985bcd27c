"""The batch data plane: a system call carries up to 64 datagrams in, and as many copies out.

Payloads lie in one buffer from the receive to the send. What a wake-up finds first is sent on at once, as the
socket plane does. Where it finds much, copies to one destination wait in the buffer until it ends, and equal
sizes leave together; their order at each destination stays.

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
AT_ONCE = 3
"""Single datagrams of a wake-up that are sent on at once: to gather the copies of so few costs more than the
system calls that it saves."""


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
        self._taken = 0
        """How often the last wake-up took something: likely the next will find as much."""

    def readable(self) -> None:
        """Takes what waits, up to ``BATCH`` times, and sends it on."""
        udp, view, time = self._udp, self._view, now()
        ask, taken = self._taken <= 1, 0
        at_once = AT_ONCE if self._taken <= AT_ONCE else 0
        while taken < at_once:
            received = udp.receive_into(view)
            if received is None:
                break
            taken += 1
            self._send_on(received, time)
            if ask and not udp.waits():
                break
            octets, size, _ = received
            if octets > size:
                at_once = taken
        else:
            taken = self._gather_rest(taken, time)
        self._taken = taken
        self._arm_timer()

    def _gather_rest(self, taken: int, time: int) -> int:
        """Moves what still waits, so that what goes alike leaves together; returns how often it has taken."""
        receive, view = self._udp.receive_into, self._view
        start = 0
        while taken < BATCH and (received := receive(view[start:])) is not None:
            taken += 1
            self._gather(start, received, time)
            start += received[0]
            if BUFFER_OCTETS - start < LARGEST_DATAGRAM:
                self._outbox.flush()
                start = 0
        self._outbox.flush()
        return taken

    @abstractmethod
    def _send_on(self, received: ReceivedBatch, time: int) -> None:
        """Sends what is to be sent for what lies at the buffer's front; nothing waits in the outbox."""

    @abstractmethod
    def _gather(self, start: int, received: ReceivedBatch, time: int) -> None:
        """Puts into the outbox what is to be sent for the batch that begins at ``start``."""


class BatchDecidingPlane(BatchPlane):
    """Sends payloads as they came, or their tails, which are cut out without a copy."""

    def __init__(
        self, udp: BatchUdpSocket, forwarding: DecidingBatches, arm_timer: Callable[[], None]
    ) -> None:
        super().__init__(udp, arm_timer)
        self._decide = forwarding.receive_datagram
        self._decide_batch = forwarding.receive_batch

    def _send_on(self, received: ReceivedBatch, time: int) -> None:
        octets, size, source = received
        if octets <= size:
            payload = self._view[:octets]
            for destination in self._decide(payload, source, time).destinations:
                self._send(destination.copy_of(payload), destination.address)
            return
        runs = self._decide_batch(self._buffer, slice(0, octets), size, source, time)
        self._put(runs, size, self._outbox.send if len(runs) == 1 else self._outbox.add)
        self._outbox.flush()

    def _gather(self, start: int, received: ReceivedBatch, time: int) -> None:
        octets, size, source = received
        stop, add = start + octets, self._outbox.add
        if octets <= size:
            destinations = self._decide(self._view[start:stop], source, time).destinations
            self._put_alike(start, stop, size, destinations, add)
            return
        runs = self._decide_batch(self._buffer, slice(start, stop), size, source, time)
        self._put(runs, size, add)

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

    def _send_on(self, received: ReceivedBatch, time: int) -> None:
        octets, size, source = received
        if octets > size:
            self._gather(0, received, time)
            self._outbox.flush()
            return
        for sealed, destination in self._reseal(bytes(self._view[:octets]), source, time):
            self._send(sealed, destination)

    def _gather(self, start: int, received: ReceivedBatch, time: int) -> None:
        octets, size, source = received
        add, stop = self._outbox.add, start + octets
        for at in range(start, stop, size) if octets else (start,):
            datagram = bytes(self._view[at : min(at + size, stop)])
            for sealed, destination in self._reseal(datagram, source, time):
                add(destination, [sealed], len(sealed), len(sealed))
