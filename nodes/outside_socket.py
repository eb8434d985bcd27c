"""What sockets towards the network share: no waiting, no fragments, room for a burst, counted refusals."""

from __future__ import annotations

import errno
import socket

BUFFER_OCTETS = 4 * 1024 * 1024
LARGEST_DATAGRAM = 65_535

# linux/in.h, linux/in6.h: always set "don't fragment" and tell the sender when a datagram is too large
_IP_MTU_DISCOVER = 10
_IPV6_MTU_DISCOVER = 23
_PMTUDISC_DO = 2

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


class OutsideSocket:
    """A socket towards the network; ``refused`` counts what the network did not take or give."""

    def __init__(self, version: int, kind: socket.SocketKind, protocol: int = 0) -> None:
        """Opens a socket of IP version 4 or 6; raises OSError when it may not."""
        self._version = version
        family = socket.AF_INET6 if version == 6 else socket.AF_INET
        self._socket = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
        self.refused = 0

    def _set_common_options(self) -> None:
        """Asks for room for a burst, and for "don't fragment"."""
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self._socket.setsockopt(socket.SOL_SOCKET, option, BUFFER_OCTETS)
        if self._version == 6:
            self._socket.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_DO)
        else:
            self._socket.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_DO)

    def fileno(self) -> int:
        """Returns the descriptor, for a selector."""
        return self._socket.fileno()

    def close(self) -> None:
        """Closes the socket; a raw one leaves every group."""
        self._socket.close()

    def _count_refusal(self, error: OSError) -> None:
        """Counts what the network refused; raises anything else."""
        if error.errno not in REFUSALS:
            raise error
        self.refused += 1
