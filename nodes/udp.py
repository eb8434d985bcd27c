"""The one UDP socket of a process: bound, never fragmenting, with room for a burst."""

from __future__ import annotations

import errno
import socket
from typing import NamedTuple

from protocol.types import Address, IpAddress

BUFFER_OCTETS = 4 * 1024 * 1024
LARGEST_DATAGRAM = 65_535

# linux/in.h, linux/in6.h: always set "don't fragment" and tell the sender when a datagram is too large
IP_MTU_DISCOVER = 10
IPV6_MTU_DISCOVER = 23
PMTUDISC_DO = 2

# What the network may answer to one datagram; the next may well go through.
REFUSALS = frozenset(
    (
        errno.EAGAIN,
        errno.ENOBUFS,
        errno.EMSGSIZE,
        errno.ENETUNREACH,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.EHOSTDOWN,
        errno.ECONNREFUSED,
        errno.EPERM,
        errno.EACCES,
        errno.EINVAL,
        errno.EADDRNOTAVAIL,
    )
)


class Received(NamedTuple):
    """A datagram's payload and where it came from."""

    payload: bytes
    source: tuple[str, int]


class UdpSocket:
    """Sends and receives datagrams without blocking; what the network refuses is counted."""

    def __init__(self, address: IpAddress, port: int) -> None:
        """Binds to ``address`` and ``port``; raises OSError, naming them, when they cannot be had."""
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.refused = 0
        try:
            if address.version == 6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                self._socket.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_DO)
            else:
                self._socket.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_DO)
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                self._socket.setsockopt(socket.SOL_SOCKET, option, BUFFER_OCTETS)
            self._socket.bind((str(address), port))
        except OSError as error:
            self._socket.close()
            wanted = Address(str(address), port)
            raise OSError(f"UDP {wanted}: {(error.strerror or str(error)).lower()}") from None
        self.host = address
        self.address = Address(*self._socket.getsockname()[:2])

    def fileno(self) -> int:
        """Returns the descriptor, for a selector."""
        return self._socket.fileno()

    def receive(self) -> Received | None:
        """Returns the next datagram, or None when none waits."""
        try:
            payload, source = self._socket.recvfrom(LARGEST_DATAGRAM)
        except BlockingIOError:
            return None
        except OSError as error:
            # an ICMP error about an earlier datagram is reported here
            if error.errno in REFUSALS:
                self.refused += 1
                return None
            raise
        return Received(payload, source[:2])

    def send(self, payload: bytes | memoryview, destination: tuple[str, int]) -> bool:
        """Sends one datagram; False, and counted, when the network refuses it."""
        try:
            self._socket.sendto(payload, destination)
        except OSError as error:
            if error.errno not in REFUSALS:
                raise
            self.refused += 1
            return False
        return True

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()
