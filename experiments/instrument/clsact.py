"""Asks the kernel by rtnetlink how many datagrams have passed an interface's clsact qdisc."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

from topologies.delay_line import network_of

_NEW, _GET, _REQUEST_DUMP = 36, 38, 0x301
_ERROR, _DONE = 2, 3
_KIND, _STATISTICS, _BASIC = 1, 7, 1
"""TCA_KIND, TCA_STATS2, and in it TCA_STATS_BASIC: octets (64 bits), packets (32 bits)."""
_HEADER = struct.Struct("=IHHII")
_TC_MESSAGE = struct.Struct("=B3xiIII")
_ATTRIBUTE = struct.Struct("=HH")
_PACKETS = struct.Struct("=8xI")
_ALIGNMENT = 4
_BUFFER = 65536


class Clsact:
    """The counter of one interface's clsact qdisc: both directions together, a batch as many."""

    def __init__(self, process: int, interface: str) -> None:
        """Finds the interface in a process's network namespace; OSError when it is not there."""
        self._process = process
        with network_of(process):
            self._interface = socket.if_nametoindex(interface)

    def packets(self) -> int:
        """Reads the counter; OSError when the interface has no such qdisc."""
        found = None
        for body in self._answers():
            interface = _TC_MESSAGE.unpack_from(body)[1]
            told = dict(_attributes(body[_TC_MESSAGE.size :]))
            if interface == self._interface and told[_KIND] == b"clsact\0":
                (found,) = _PACKETS.unpack_from(dict(_attributes(told[_STATISTICS]))[_BASIC])
        if found is None:
            raise OSError(f"interface {self._interface}: expected a clsact qdisc")
        return int(found)

    def _answers(self) -> Iterator[bytes]:
        """Yields what is told of each qdisc in the namespace."""
        question = _TC_MESSAGE.pack(socket.AF_UNSPEC, self._interface, 0, 0, 0)
        header = _HEADER.pack(_HEADER.size + len(question), _GET, _REQUEST_DUMP, 1, 0)
        with network_of(self._process):
            asking = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        with asking:
            asking.send(header + question)
            while True:
                answer = asking.recv(_BUFFER)
                while answer:
                    length, kind = _HEADER.unpack_from(answer)[:2]
                    if kind in (_DONE, _ERROR):
                        return
                    if kind == _NEW:
                        yield answer[_HEADER.size : length]
                    answer = answer[_aligned(length) :]


def _attributes(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields type and value of each attribute that stands in a row."""
    while octets:
        length, kind = _ATTRIBUTE.unpack_from(octets)
        yield kind, octets[_ATTRIBUTE.size : length]
        octets = octets[_aligned(length) :]


def _aligned(length: int) -> int:
    return -(-length // _ALIGNMENT) * _ALIGNMENT
