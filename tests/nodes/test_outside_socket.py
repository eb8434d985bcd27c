"""What the network refuses is counted and no error; anything else is raised."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from ipaddress import ip_address

import pytest

from nodes.udp import UdpSocket

TOO_LARGE = bytes(65_536)


@pytest.fixture(params=["127.0.0.1", "::1"])
def udp(request: pytest.FixtureRequest) -> Iterator[UdpSocket]:
    """Gives a socket on the loopback, with a port that is free."""
    with closing(UdpSocket(ip_address(request.param), 0)) as opened:
        yield opened


def test_a_refused_datagram_is_counted_and_the_next_goes_through(udp: UdpSocket) -> None:
    assert not udp.send(TOO_LARGE, udp.address)
    assert udp.refused == 1
    assert udp.send(b"next", udp.address)
    received = udp.receive()
    assert received is not None
    assert received[0] == b"next"
    assert udp.refused == 1


def test_nothing_to_receive_is_no_refusal(udp: UdpSocket) -> None:
    assert udp.receive() is None
    assert udp.refused == 0


def test_a_mistake_of_our_own_is_raised_and_not_counted(udp: UdpSocket) -> None:
    udp.close()
    for use in (lambda: udp.send(b"late", udp.address), udp.receive):
        with pytest.raises(OSError, match="Bad file descriptor"):
            use()
    assert udp.refused == 0
