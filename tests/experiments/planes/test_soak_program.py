"""The soak's comparison finds what is lost, changed and doubled."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import pytest

from experiments.instrument.members import Member
from experiments.planes.soak_program import (
    CATCH_UP,
    SEQUENCE_AT,
    Order,
    Pace,
    Report,
    Soak,
    Stream,
    digest,
)

HOST = "127.0.0.1"
COUNT = 60
RATE = 2_000
SEALED = bytes(1000)
Meddle = Callable[[int, bytes], list[bytes]]


@dataclass
class Server:
    address: str
    data_port: int


class FakeMember:
    """Stands for a member: its socket, and one sealed frame."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((HOST, 0))

    def frame(self, _destination: bytes, octets: int) -> bytes:
        return bytes(octets)

    def seal(self, _frame: bytes) -> bytes:
        return SEALED


def number_of(datagram: bytes) -> int:
    return int.from_bytes(datagram[SEQUENCE_AT : SEQUENCE_AT + 4], "big")


@pytest.fixture
def through() -> Iterator[Callable[[Meddle], Report]]:
    """Gives what sends a stream through a relay that meddles with it."""
    ends: list[Any] = []

    def carry(meddle: Meddle) -> Report:
        relay = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        relay.bind((HOST, 0))
        server = Server(*relay.getsockname())
        sender, reader = FakeMember(server), FakeMember(server)
        soak = Soak(cast(Member, sender), cast(Member, reader), COUNT)

        def pass_on() -> None:
            while datagram := relay.recv(65535):
                for one in meddle(number_of(datagram), datagram):
                    relay.sendto(one, reader.socket.getsockname())

        thread = threading.Thread(target=pass_on)
        thread.start()
        ends.append((relay, thread, soak, sender, reader))
        return soak.carry(Order(COUNT, RATE, 8, 10.0, quiet=1.0))

    yield carry
    for relay, thread, soak, sender, reader in ends:
        sender.socket.sendto(b"", relay.getsockname())
        thread.join()
        soak.reader.close()
        for one in (relay, sender.socket, reader.socket):
            one.close()


def test_a_stream_that_comes_whole_is_found_whole(through: Callable[[Meddle], Report]) -> None:
    report = through(lambda _, datagram: [datagram])
    assert (report.sent, report.received) == (COUNT, COUNT)
    assert (report.lost, report.changed, report.doubled, report.strange) == (0, 0, 0, 0)


def test_lost_changed_doubled_and_strange_datagrams_are_counted(
    through: Callable[[Meddle], Report],
) -> None:
    def meddle(number: int, datagram: bytes) -> list[bytes]:
        if number == 5:
            return []
        if number in (7, 8, 9):
            return [datagram[:-1] + bytes([datagram[-1] ^ 1])]
        if number == 11:
            return [datagram, datagram]
        return [datagram, b"short"] if number == 13 else [datagram]

    report = through(meddle)
    assert (report.lost, report.changed, report.doubled, report.strange) == (1, 3, 1, 1)


def test_no_two_datagrams_are_alike_and_none_has_the_digest_of_nothing() -> None:
    stream = Stream(SEALED)
    digests = {digest(stream.datagram(number)) for number in range(1, 300)}
    assert len(digests) == 299
    assert bytes(8) not in digests
    assert all(number_of(stream.datagram(number)) == number for number in (1, 77, 1 << 20))


def test_a_late_call_is_caught_up_with_in_bounded_steps() -> None:
    interval, late = 1000, 20_000
    pace, calls = Pace(0, interval), [late]
    for _ in range(200):
        calls.append(pace.after(calls[-1]))
    steps = [after - before for before, after in itertools.pairwise(calls)]
    assert min(steps) == interval / CATCH_UP
    assert calls[-1] == 200 * interval, "the schedule was put off"
    assert steps[-1] == interval
    assert late / (interval - interval / CATCH_UP) == sum(step < interval for step in steps)


def test_all_are_sent_at_the_rate_asked_for(through: Callable[[Meddle], Report]) -> None:
    report = through(lambda _, datagram: [datagram])
    assert 0 < report.rate <= RATE, "faster than asked for"
