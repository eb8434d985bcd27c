"""Sends a stream through a relay and compares what arrives: ``python -m experiments.planes.soak_program``.

Runs in the members' node. It registers two members of one group, the one sends, and a second process
reads what the other gets. Every datagram has its own ESP sequence number and octets; sender and reader
each keep a digest of it at that number, in shared memory. What it is told comes as one JSON value a line
on standard input: how many datagrams to send, how fast; the answers go out likewise.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import mmap
import multiprocessing
import os
import select
import socket
import sys
import time
from pathlib import Path

import msgspec

from experiments.instrument.members import BROADCAST, GeneratorFile, Member
from nodes.batch_socket import UDP_GRO, UDP_SEGMENT, missing_options
from nodes.channel import client_context
from protocol.wire import ip, vpn_header

FRAME_OCTETS = 1360
SEQUENCE_AT = vpn_header.LENGTH + ip.HEADER_LENGTHS[6] + 4
_BODY_AT = SEQUENCE_AT + 4
_DIGEST_OCTETS = 8
_POOL_OCTETS = 1 << 20
_STRIDE = 613
_SO_RCVBUFFORCE = 33
_BUFFER_OCTETS = 32 << 20
_ROOM = 65_536
_SECOND = 1_000_000_000
_SPIN_NS = 200_000
CATCH_UP = 1.25
"""How much faster than asked for it goes at most to catch up: from 80 % of what is borne up to that."""


class Order(msgspec.Struct, frozen=True):
    """Send ``count`` datagrams, ``rate`` a second, ``burst`` with each call; at most ``seconds``.

    ``quiet`` is how long nothing may have come before the rest counts as lost, in s.
    """

    count: int
    rate: float
    burst: int
    seconds: float
    quiet: float = 0.5


class Report(msgspec.Struct, frozen=True):
    """What became of an order; ``strange`` came without having been sent in it.

    Sending took ``seconds``; ``behind`` is how long after that the last one came.
    """

    sent: int
    received: int
    lost: int
    changed: int
    doubled: int
    strange: int
    seconds: float
    behind: float

    @property
    def rate(self) -> float:
        """Returns how many were sent a second."""
        return self.sent / self.seconds


class Pace:
    """Says when to send: late calls are caught up with, not faster than CATCH_UP times the rate."""

    def __init__(self, start: int, interval: int) -> None:
        """The first call is at ``start``, one follows each ``interval``; both in ns."""
        self._due = start
        self._interval = interval
        self._least = round(interval / CATCH_UP)

    def after(self, called: int) -> int:
        """Returns when the next call is, the last having been at ``called``."""
        self._due += self._interval
        return max(self._due, called + self._least)


class Stream:
    """Makes datagrams that look sealed: a relay cannot tell, as it has no key."""

    def __init__(self, sealed: bytes) -> None:
        self._head = sealed[:SEQUENCE_AT]
        self._length = len(sealed) - _BODY_AT
        self._pool = os.urandom(_POOL_OCTETS + len(sealed))

    def datagram(self, number: int) -> bytes:
        """Returns the datagram with a sequence number."""
        at = number * _STRIDE % _POOL_OCTETS
        body = self._pool[at : at + self._length]
        return b"".join((self._head, number.to_bytes(4, "big"), body))


def digest(datagram: bytes | memoryview) -> bytes:
    """Returns a datagram's digest; never that of nothing, eight zeros."""
    found = hashlib.blake2b(datagram, digest_size=_DIGEST_OCTETS).digest()
    return found if any(found) else b"\1" * _DIGEST_OCTETS


class Reader:
    """The second process: reads all that comes to one socket."""

    def __init__(self, udp: socket.socket, most: int) -> None:
        """``most`` is the highest sequence number."""
        self._udp = udp
        self.digests = mmap.mmap(-1, (most + 1) * _DIGEST_OCTETS)
        self._totals = memoryview(mmap.mmap(-1, 3 * 8)).cast("Q")
        self._process = multiprocessing.get_context("fork").Process(target=self._read, daemon=True)
        self._process.start()

    @property
    def totals(self) -> tuple[int, int, int]:
        """How many have come, came again, and had an unknown length or number."""
        return self._totals[0], self._totals[1], self._totals[2]

    def close(self) -> None:
        """Ends the process."""
        self._process.terminate()
        self._process.join()

    def _read(self) -> None:
        room = memoryview(bytearray(_ROOM))
        size_of = socket.CMSG_SPACE(4)
        while True:
            octets, ancillary, _, _ = self._udp.recvmsg_into([room], size_of)
            size = octets
            for _, _, value in ancillary:
                size = int.from_bytes(value[:4], sys.byteorder)
            for start in range(0, octets, size or 1):
                self._note(room[start : min(start + size, octets)])

    def _note(self, datagram: memoryview) -> None:
        number = int.from_bytes(datagram[SEQUENCE_AT:_BODY_AT], "big")
        at = number * _DIGEST_OCTETS
        if len(datagram) <= _BODY_AT or at >= len(self.digests):
            self._totals[2] += 1
            return
        if any(self.digests[at : at + _DIGEST_OCTETS]):
            self._totals[1] += 1
        self.digests[at : at + _DIGEST_OCTETS] = digest(datagram)
        self._totals[0] += 1


class Soak:
    """Sender and reader, and what both know."""

    def __init__(self, sender: Member, reader: Member, most: int) -> None:
        self._to = (sender.server.address, sender.server.data_port)
        self._udp = sender.socket
        self._stream = Stream(sender.seal(sender.frame(BROADCAST, FRAME_OCTETS)))
        with contextlib.suppress(PermissionError):
            reader.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_OCTETS)
        if not missing_options():
            reader.socket.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        self._next = 1
        self._most = most
        self._sent = bytearray((most + 1) * _DIGEST_OCTETS)
        self.reader = Reader(reader.socket, most)

    def carry(self, order: Order) -> Report:
        """Sends an order's datagrams and waits for them."""
        first, before = self._next, self.reader.totals
        begin = time.monotonic()
        self._send(order)
        seconds = time.monotonic() - begin
        sent = self._next - first
        behind = self._wait(before[0] + sent, order.quiet)
        after = self.reader.totals
        lost, changed = self._compare(first)
        came, doubled, strange = (now - then for now, then in zip(after, before, strict=True))
        return Report(sent, came, lost, changed, doubled, strange, seconds, behind)

    def _send(self, order: Order) -> None:
        """Sends on a schedule, and returns when the call after the last would be due."""
        at = time.monotonic_ns()
        pace = Pace(at, round(order.burst / order.rate * _SECOND))
        end = at + round(order.seconds * _SECOND)
        last = min(self._next + order.count, self._most + 1)
        while self._next < last and at < end:
            datagrams = [
                self._made(number)
                for number in range(self._next, min(self._next + order.burst, last))
            ]
            _sleep_until(at)
            called = time.monotonic_ns()
            size = len(datagrams[0]).to_bytes(2, sys.byteorder)
            segment = [(socket.IPPROTO_UDP, UDP_SEGMENT, size)] if len(datagrams) > 1 else []
            self._udp.sendmsg(datagrams, segment, 0, self._to)
            self._next += len(datagrams)
            at = pace.after(called)
        _sleep_until(at)

    def _made(self, number: int) -> bytes:
        datagram = self._stream.datagram(number)
        at = number * _DIGEST_OCTETS
        self._sent[at : at + _DIGEST_OCTETS] = digest(datagram)
        return datagram

    def _wait(self, awaited: int, quiet: float) -> float:
        """Waits until all have come, or nothing comes any more; returns for how long something came."""
        begin = time.monotonic()
        known, since = self.reader.totals[0], begin
        while known < awaited and time.monotonic() < since + quiet:
            select.select([], [], [], 0.01)
            if (found := self.reader.totals[0]) != known:
                known, since = found, time.monotonic()
        return since - begin

    def _compare(self, first: int) -> tuple[int, int]:
        """Returns how many since ``first`` are lost, and how many changed."""
        lost = changed = 0
        nothing = bytes(_DIGEST_OCTETS)
        for at in range(first * _DIGEST_OCTETS, self._next * _DIGEST_OCTETS, _DIGEST_OCTETS):
            found = self.reader.digests[at : at + _DIGEST_OCTETS]
            if found != self._sent[at : at + _DIGEST_OCTETS]:
                lost += found == nothing
                changed += found != nothing
        return lost, changed


def _sleep_until(at: int) -> None:
    """Sleeps, and spins for the rest, as a sleep ends late."""
    while (ahead := at - time.monotonic_ns()) > 0:
        if ahead > 2 * _SPIN_NS:
            time.sleep((ahead - _SPIN_NS) / _SECOND)


async def _registered(file: GeneratorFile) -> list[Member]:
    context = client_context(Path(file.authority))
    ((name, server),) = file.servers.items()
    (group,) = file.groups
    members = [
        Member(member, group.vpn_id, server, member.addresses[name]) for member in group.members
    ]
    for member in members:
        await member.register(context)
    return members


async def _run(path: Path, most: int) -> int:
    members = await _registered(msgspec.json.decode(path.read_bytes(), type=GeneratorFile))
    soak = Soak(members[0], members[1], most)
    try:
        print("{}", flush=True)
        while line := await asyncio.to_thread(sys.stdin.buffer.readline):
            report = soak.carry(msgspec.json.decode(line, type=Order))
            sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
            sys.stdout.buffer.flush()
    finally:
        soak.reader.close()
        for member in members:
            member.close()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(_run(Path(sys.argv[1]), int(sys.argv[2]))))
