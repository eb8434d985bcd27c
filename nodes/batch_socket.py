"""A UDP socket whose system calls carry many datagrams: UDP_GRO on the way in, UDP_SEGMENT out.

A batch is datagrams of one sender or to one destination that stand behind each other, all of one
size save the last, which may be shorter. Where the kernel takes no batch, they go one by one.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator, Sequence

from nodes.outside_socket import REFUSALS
from nodes.udp import UdpSocket
from protocol.types import IpAddress

# linux/udp.h; the option is 16 bits on the way out and an int on the way in
UDP_SEGMENT = 103
UDP_GRO = 104
_SEGMENT_SIZE = struct.Struct("=H")
_GRO_SIZE = struct.Struct("=i")
_ANCILLARY_SPACE = socket.CMSG_SPACE(_GRO_SIZE.size)

MOST_SEGMENTS = 64
"""UDP_MAX_SEGMENTS of the first kernels that know UDP_SEGMENT."""
MOST_OCTETS = 65_507
"""The longest payload that fits into an IPv4 packet."""
MOST_REMEMBERED = 4096

# What a kernel answers that cannot cut this batch on this way: the datagrams alone may well go.
_NOT_AS_A_BATCH = frozenset((errno.EIO, errno.EINVAL, errno.EMSGSIZE, errno.EOPNOTSUPP))
_UNKNOWN_OPTION = frozenset((errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.EINVAL))

Piece = bytes | memoryview
"""One datagram, or several of a batch behind each other."""


ReceivedBatch = tuple[int, int, tuple[str, int]]
"""How many octets came, the size of each datagram but the last, and where they came from.

A bare tuple, as each is made anew for every call: one with names takes 0.2 µs.
"""


def missing_options() -> tuple[str, ...]:
    """Names what this kernel lacks of UDP_GRO and UDP_SEGMENT."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        options = {"UDP_GRO": (UDP_GRO, 1), "UDP_SEGMENT": (UDP_SEGMENT, 0)}
        return tuple(name for name, option in options.items() if not _set(probe, *option))


class BatchUdpSocket(UdpSocket):
    """Receives and sends batches; refusals count datagrams."""

    def __init__(self, address: IpAddress, port: int) -> None:
        """Binds like :class:`UdpSocket`; works without the kernel's batches, too."""
        super().__init__(address, port)
        self.receives_batches = _set(self._socket, UDP_GRO, 1)
        self.sends_batches = _set(self._socket, UDP_SEGMENT, 0)
        self._one_by_one: set[tuple[str, int]] = set()

    def receive_into(self, room: memoryview) -> ReceivedBatch | None:
        """Puts what waits into ``room`` (65,535 octets or more); None when nothing waits."""
        try:
            octets, ancillary, _, source = self._socket.recvmsg_into([room], _ANCILLARY_SPACE)
        except BlockingIOError:
            return None
        except OSError as error:
            # an ICMP error about an earlier datagram is reported here
            self._count_refusal(error)
            return None
        size = octets
        for level, kind, value in ancillary:
            if level == socket.IPPROTO_UDP and kind == UDP_GRO:
                (size,) = _GRO_SIZE.unpack(value)
        return octets, size, source[:2]

    def send_batch(self, pieces: Sequence[Piece], size: int, destination: tuple[str, int]) -> None:
        """Sends a batch of at most MOST_SEGMENTS datagrams and MOST_OCTETS octets.

        Every piece is whole datagrams of ``size`` octets; the last of the last may be shorter. What
        the network refuses is counted.
        """
        if len(pieces) == 1 and len(pieces[0]) <= size:
            self.send(pieces[0], destination)
            return
        if not self.sends_batches or destination in self._one_by_one:
            self._send_one_by_one(pieces, size, destination)
            return
        ancillary = [(socket.IPPROTO_UDP, UDP_SEGMENT, _SEGMENT_SIZE.pack(size))]
        try:
            self._socket.sendmsg(pieces, ancillary, 0, destination)
        except OSError as error:
            if error.errno in _NOT_AS_A_BATCH:
                if self._send_one_by_one(pieces, size, destination):
                    self._remember(destination)
            elif error.errno in REFUSALS:
                self.refused += sum(1 for _ in _datagrams(pieces, size))
            else:
                raise

    def _send_one_by_one(
        self, pieces: Sequence[Piece], size: int, destination: tuple[str, int]
    ) -> bool:
        """Returns whether the first was accepted: then it was not its size that kept the batch."""
        accepted = [self.send(datagram, destination) for datagram in _datagrams(pieces, size)]
        return accepted[0]

    def _remember(self, destination: tuple[str, int]) -> None:
        """Tries no further batch to a destination whose way takes none."""
        if len(self._one_by_one) >= MOST_REMEMBERED:
            self._one_by_one.clear()
        self._one_by_one.add(destination)


def _datagrams(pieces: Sequence[Piece], size: int) -> Iterator[Piece]:
    for piece in pieces:
        for start in range(0, len(piece), size):
            yield piece[start : start + size]


def _set(udp: socket.socket, option: int, value: int) -> bool:
    """Sets an option of UDP; False when this kernel does not know it."""
    try:
        udp.setsockopt(socket.IPPROTO_UDP, option, value)
    except OSError as error:
        if error.errno in _UNKNOWN_OPTION:
            return False
        raise
    return True
