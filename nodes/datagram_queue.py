"""A UDP socket for one datagram at a time whose system calls nevertheless carry many.

What is sent waits until :meth:`DatagramQueue.flush`; what came in a batch is handed out one by one.

Patent: Fig. 8-1 step 809; Fig. 8-2 step 810.
"""

from __future__ import annotations

from collections import deque

from nodes.batch_plane import Outbox
from nodes.batch_socket import BatchUdpSocket
from nodes.outside_socket import LARGEST_DATAGRAM
from nodes.udp import Received
from protocol.types import IpAddress


class DatagramQueue:
    """Sends and receives like :class:`nodes.udp.UdpSocket`, and must be flushed."""

    def __init__(self, address: IpAddress, port: int) -> None:
        """Binds to ``address`` and ``port``; raises OSError, naming them, when they cannot be had."""
        self._udp = BatchUdpSocket(address, port)
        self._outbox = Outbox(self._udp)
        self._buffer = bytearray(LARGEST_DATAGRAM)
        self._view = memoryview(self._buffer)
        self._received: deque[Received] = deque()
        self.host = self._udp.host
        self.address = self._udp.address
        self.fileno = self._udp.fileno
        self.close = self._udp.close

    @property
    def refused(self) -> int:
        """How many datagrams the network did not take."""
        return self._udp.refused

    @property
    def pending(self) -> bool:
        """Whether datagrams of a batch are still to be received: the descriptor tells nothing."""
        return bool(self._received)

    def receive(self) -> Received | None:
        """Returns the next datagram, or None when none waits."""
        if not self._received:
            batch = self._udp.receive_into(self._view)
            if batch is None:
                return None
            octets, size, source = batch
            if octets <= size:
                return Received(bytes(self._view[:octets]), source)
            for start in range(0, octets, size):
                payload = bytes(self._view[start : min(start + size, octets)])
                self._received.append(Received(payload, source))
        return self._received.popleft()

    def send(self, payload: bytes, destination: tuple[str, int]) -> None:
        """Has a datagram (not an empty one) leave with the next :meth:`flush`, or before it."""
        self._outbox.add(destination, [payload], len(payload), len(payload))

    def flush(self) -> None:
        """Sends what waits."""
        self._outbox.flush()
