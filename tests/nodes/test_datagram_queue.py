"""The client's socket: many datagrams with a system call, one at a time for the client."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from ipaddress import ip_address
from itertools import groupby

import pytest

from nodes.batch_socket import BatchUdpSocket, Piece
from nodes.datagram_queue import DatagramQueue
from protocol.types import Batch

HOST = ip_address("127.0.0.1")
Pair = tuple[DatagramQueue, DatagramQueue]


@pytest.fixture
def pair() -> Iterator[Pair]:
    with closing(DatagramQueue(HOST, 0)) as one, closing(DatagramQueue(HOST, 0)) as other:
        yield one, other


def all_that_waits(queue: DatagramQueue) -> list[tuple[bytes, tuple[str, int]]]:
    found = []
    while (received := queue.receive()) is not None:
        octets, size, source, _ = received
        parts = (octets[start : start + size] for start in range(0, len(octets), size))
        found += [(bytes(payload), source) for payload in parts]
    return found


def test_what_is_sent_arrives_after_the_flush_in_order_and_from_whom_it_is(pair: Pair) -> None:
    one, other = pair
    payloads = [bytes([number]) * size for number, size in enumerate([900] * 70 + [40, 900, 1, 2])]
    for payload in payloads:
        one.send(payload, other.address)
    one.flush()
    assert all_that_waits(other) == [(payload, one.address) for payload in payloads]


def test_many_at_a_time_arrive_as_one_at_a_time_do(pair: Pair) -> None:
    one, other = pair
    sizes = [1200] * 130 + [7, 7, 40, 1200, 1200, 3, 900] + [1] * 70
    payloads = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
    one.send(payloads[0], other.address)
    for size, alike in groupby(payloads[1:], len):
        one.send_all(Batch(b"".join(alike), size), other.address)
    one.flush()
    assert all_that_waits(other) == [(payload, one.address) for payload in payloads]


def test_reads_of_one_source_and_size_are_put_together_up_to_a_number(pair: Pair) -> None:
    one, other = pair
    with closing(DatagramQueue(HOST, 0)) as third:
        for sender, values in [(one, b"abc"), (third, b"d"), (one, b"ef")]:
            for value in values:
                sender.send(bytes([value]) * 500, other.address)
                sender.flush()
        one.send(b"g" * 20, other.address)
        one.flush()
        found = []
        while (received := other.receive(most=2)) is not None:
            octets, size, source, last = received
            found.append((bytes(octets[::size]), size, source, last))
    sources = [one.address, one.address, third.address, one.address, one.address]
    assert [source for _, _, source, _ in found] == sources
    assert [(octets, size) for octets, size, _, _ in found] == [
        *((b"ab", 500), (b"c", 500), (b"d", 500)),
        *((b"ef", 500), (b"g", 20)),
    ]
    assert [last for _, _, _, last in found] == [False] * 4 + [True]


def test_what_waits_is_filled_up_before_the_next_system_call(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, other = pair
    counts: list[int] = []
    send = BatchUdpSocket.send_batch

    def counting(
        self: BatchUdpSocket, pieces: Sequence[Piece], size: int, destination: tuple[str, int]
    ) -> None:
        counts.append(sum(map(len, pieces)) // size)
        send(self, pieces, size, destination)

    monkeypatch.setattr(BatchUdpSocket, "send_batch", counting)
    payloads = [bytes([number]) * 1470 for number in range(144)]
    with closing(DatagramQueue(HOST, 0)) as one:
        for start in range(0, 144, 48):
            one.send_all(Batch(b"".join(payloads[start : start + 48]), 1470), other.address)
        one.flush()
        assert counts == [44, 44, 44, 12]
        assert all_that_waits(other) == [(payload, one.address) for payload in payloads]


def test_a_datagram_waits_for_the_flush(pair: Pair) -> None:
    one, other = pair
    one.send(b"x", other.address)
    one.send_all(Batch(b"y", 1), other.address)
    assert other.receive() is None
    one.flush()
    assert all_that_waits(other) == [(b"x", one.address), (b"y", one.address)]
