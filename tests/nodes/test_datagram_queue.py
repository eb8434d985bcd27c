"""The client's socket: many datagrams with a system call, one at a time for the client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from ipaddress import ip_address

import pytest

from nodes.datagram_queue import DatagramQueue

HOST = ip_address("127.0.0.1")
Pair = tuple[DatagramQueue, DatagramQueue]


@pytest.fixture
def pair() -> Iterator[Pair]:
    with closing(DatagramQueue(HOST, 0)) as one, closing(DatagramQueue(HOST, 0)) as other:
        yield one, other


def test_what_is_sent_arrives_after_the_flush_in_order_and_from_whom_it_is(pair: Pair) -> None:
    one, other = pair
    payloads = [bytes([number]) * size for number, size in enumerate([900] * 70 + [40, 900, 1, 2])]
    for payload in payloads:
        one.send(payload, other.address)
    one.flush()
    received = []
    while (found := other.receive()) is not None:
        received.append(found)
    assert [found.payload for found in received] == payloads
    assert {found.source for found in received} == {one.address}
    assert not other.pending


def test_a_datagram_waits_for_the_flush(pair: Pair) -> None:
    one, other = pair
    one.send(b"x", other.address)
    assert other.receive() is None
    one.flush()
    assert other.receive() == (b"x", one.address)


def test_it_tells_that_more_is_pending_when_the_descriptor_does_not(pair: Pair) -> None:
    one, other = pair
    for payload in (b"a" * 100, b"b" * 100):
        one.send(payload, other.address)
    one.flush()
    assert other.receive() == (b"a" * 100, one.address)
    assert other.pending
    assert other.receive() == (b"b" * 100, one.address)
    assert not other.pending
