"""A client's UDP socket, whose system calls carry many datagrams.

What is sent waits until :meth:`DatagramQueue.flush`.

Patent: Fig. 8-1 step 809; Fig. 8-2 step 810.
"""

from __future__ import annotations

from typing import NamedTuple

from nodes.batch_socket import BatchUdpSocket, ReceivedBatch
from nodes.outbox import Outbox
from nodes.outside_socket import LARGEST_DATAGRAM
from protocol.types import Batch, IpAddress

ROOM = 5 * LARGEST_DATAGRAM
"""Octets for datagrams that came with several reads."""


class ReceivedDatagrams(NamedTuple):
    """Datagrams behind each other, all of ``size`` octets but the last, and where they came from."""

    octets: memoryview
    size: int
    source: tuple[str, int]
    last: bool
    """Nothing more waited a moment ago."""


class DatagramQueue:
    """Sends and receives datagrams, and must be flushed."""

    def __init__(self, address: IpAddress, port: int) -> None:
        """Binds to ``address`` and ``port``; raises OSError, naming them, when they cannot be had."""
        self._udp = BatchUdpSocket(address, port)
        self._outbox = Outbox(self._udp)
        self._view = memoryview(bytearray(ROOM))
        self._ahead: tuple[int, ReceivedBatch] | None = None
        """Where other datagrams stand that were read behind those returned last."""
        self.host = self._udp.host
        self.address = self._udp.address
        self.fileno = self._udp.fileno
        self.close = self._udp.close

    @property
    def refused(self) -> int:
        """How many datagrams the network did not take."""
        return self._udp.refused

    def receive(self, most: int = 1) -> ReceivedDatagrams | None:
        """Returns what one read gives, a datagram or a batch of one source; None when none waits.

        While it is fewer than ``most`` datagrams, what further reads give is put behind it as far as it is
        from there, too, and of that size. The next call overwrites it.
        """
        start, batch = self._ahead or (0, self._udp.receive_into(self._view))
        self._ahead = None
        if batch is None:
            return None
        octets, size, source = batch
        end, last = start + octets, False
        while 0 < size <= end - start < most * size and not (end - start) % size:
            if end + LARGEST_DATAGRAM > ROOM:
                break
            more = self._udp.receive_into(self._view[end:])
            if more is None:
                last = True
                break
            if more[1:] != (size, source):
                self._ahead = end, more
                break
            end += more[0]
        return ReceivedDatagrams(self._view[start:end], size, source, last)

    def send(self, payload: bytes, destination: tuple[str, int]) -> None:
        """Has a datagram (not an empty one) leave with the next :meth:`flush`, or before it."""
        self._outbox.add(destination, [payload], len(payload), len(payload))

    def send_all(self, batch: Batch, destination: tuple[str, int]) -> None:
        """Has datagrams leave in this order with the next :meth:`flush`, or before it."""
        octets, size = memoryview(batch.octets), batch.size
        start = 0
        while start < len(octets):
            part = octets[start : start + self._outbox.room(destination, size)]
            self._outbox.add(destination, [part], size, len(part))
            start += len(part)

    def flush(self) -> None:
        """Sends what waits."""
        self._outbox.flush()
