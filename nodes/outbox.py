"""What waits to be sent: equal sizes to one destination leave with one system call.

Patent: Fig. 7-2 step 719; Fig. 8-1 step 809.
"""

from __future__ import annotations

from nodes.batch_socket import MOST_OCTETS, MOST_SEGMENTS, BatchUdpSocket, Piece


class _Waiting:
    """What is to go to one destination with the next system call."""

    __slots__ = ("octets", "pieces", "room", "size")

    def __init__(self, pieces: list[Piece], size: int, octets: int) -> None:
        self.pieces = pieces
        self.size = size
        self.octets = octets
        # a datagram that is shorter than the others ends a batch
        self.room = 0 if octets % size else most_octets(size) - octets

    def takes(self, size: int, octets: int) -> bool:
        """Tells whether these octets, cut to ``size``, can be cut alike behind what waits."""
        alike = size == self.size or octets <= size < self.size
        return alike and octets <= self.room

    def add(self, pieces: list[Piece], octets: int) -> None:
        self.pieces += pieces
        self.octets += octets
        self.room = 0 if octets % self.size else self.room - octets


def most_octets(size: int) -> int:
    """Returns how many octets of datagrams of one size a system call may carry."""
    return min(MOST_SEGMENTS, MOST_OCTETS // size or 1) * size


class Outbox:
    """Gathers datagrams for each destination until they are sent."""

    def __init__(self, udp: BatchUdpSocket) -> None:
        self._send = udp.send_batch
        self._waiting: dict[tuple[str, int], _Waiting] = {}

    def add(
        self, destination: tuple[str, int], pieces: list[Piece], size: int, octets: int
    ) -> None:
        """Takes a batch in pieces, ``octets`` in all and at most ``most_octets``; no piece is empty.

        The pieces must stay as they are until :meth:`flush`.
        """
        waiting = self._waiting.get(destination)
        if waiting is not None:
            if waiting.takes(size, octets):
                waiting.add(pieces, octets)
                return
            self._send(waiting.pieces, waiting.size, destination)
        self._waiting[destination] = _Waiting(list(pieces), size, octets)

    def send(
        self, destination: tuple[str, int], pieces: list[Piece], size: int, octets: int
    ) -> None:
        """Sends at once what :meth:`add` would take; for when nothing waits, and nothing is to follow."""
        self._send(pieces, size, destination)

    def room(self, destination: tuple[str, int], size: int) -> int:
        """Returns how many octets of datagrams of one size can go with the system call that comes next."""
        waiting = self._waiting.get(destination)
        if waiting is not None and waiting.size == size and waiting.room:
            return waiting.room
        return most_octets(size)

    def flush(self) -> None:
        """Sends all that waits."""
        for destination, waiting in self._waiting.items():
            self._send(waiting.pieces, waiting.size, destination)
        self._waiting.clear()
