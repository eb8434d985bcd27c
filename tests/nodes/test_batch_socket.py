"""The batching socket on loopback, and on a kernel that takes no batches."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from nodes import batch_socket, planes
from nodes.batch_socket import UDP_SEGMENT, BatchUdpSocket, missing_options
from nodes.planes import choose_planes

pytestmark = pytest.mark.skipif(bool(missing_options()), reason="kernel without UDP batches")

HOST = ip_address("127.0.0.1")
PIECES = [b"a" * 100, b"b" * 300, b"c" * 40]
DATAGRAMS = [b"a" * 100, b"b" * 100, b"b" * 100, b"b" * 100, b"c" * 40]


class Kernel:
    """A socket whose batches the kernel answers with an error; it counts them."""

    def __init__(self, real: socket.socket, answer: int, largest: int = 65_535) -> None:
        self._real, self._answer, self._largest = real, answer, largest
        self.batches = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def sendmsg(self, pieces: Any, ancillary: Any, flags: int, address: Any) -> int:
        assert [kind for _, kind, _ in ancillary] == [UDP_SEGMENT]
        self.batches += 1
        raise OSError(self._answer, "no")

    def sendto(self, payload: Any, address: Any) -> int:
        if len(payload) > self._largest:
            raise OSError(errno.EMSGSIZE, "too long")
        return self._real.sendto(payload, address)


@pytest.fixture
def pair() -> Iterator[tuple[BatchUdpSocket, BatchUdpSocket]]:
    one, other = BatchUdpSocket(HOST, 0), BatchUdpSocket(HOST, 0)
    yield one, other
    one.close()
    other.close()


def received(udp: BatchUdpSocket) -> list[bytes]:
    found = []
    while (one := udp.receive()) is not None:
        found.append(one[0])
    return found


def test_a_batch_arrives_with_its_size_and_where_it_came_from(
    pair: tuple[BatchUdpSocket, BatchUdpSocket],
) -> None:
    one, other = pair
    one.send_batch(PIECES, 100, other.address)
    room = bytearray(65_535)
    batch = other.receive_into(memoryview(room))
    assert batch == (440, 100, one.address)
    assert room[:440] == b"".join(DATAGRAMS)
    assert other.receive_into(memoryview(room)) is None


@pytest.mark.parametrize("payload", [b"", b"x", b"y" * 65_507])
def test_a_single_datagram_is_a_batch_of_one(
    pair: tuple[BatchUdpSocket, BatchUdpSocket], payload: bytes
) -> None:
    one, other = pair
    one.send(payload, other.address)
    batch = other.receive_into(memoryview(bytearray(65_535)))
    assert batch == (len(payload), len(payload), one.address)


def test_a_socket_that_takes_no_batches_gets_single_datagrams(
    pair: tuple[BatchUdpSocket, BatchUdpSocket],
) -> None:
    one, _ = pair
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.bind((str(HOST), 0))
        plain.setblocking(False)
        one.send_batch(PIECES, 100, plain.getsockname())
        assert [plain.recv(1000) for _ in DATAGRAMS] == DATAGRAMS


@pytest.mark.parametrize("answer", [errno.EIO, errno.EINVAL])
def test_where_the_kernel_takes_no_batch_nothing_is_lost_and_it_is_remembered(
    pair: tuple[BatchUdpSocket, BatchUdpSocket], answer: int
) -> None:
    one, other = pair
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        plain.bind((str(HOST), 0))
        plain.setblocking(False)
        kernel = Kernel(one._socket, answer)
        one._socket = kernel  # type: ignore[assignment]
        for _ in range(3):
            one.send_batch(PIECES, 100, plain.getsockname())
            assert [plain.recv(1000) for _ in DATAGRAMS] == DATAGRAMS
        assert kernel.batches == 1
        one.send_batch(PIECES, 100, other.address)
        assert kernel.batches == 2
    assert received(other) == DATAGRAMS
    assert one.refused == 0


def test_datagrams_too_long_for_the_way_are_counted_and_do_not_end_batching(
    pair: tuple[BatchUdpSocket, BatchUdpSocket],
) -> None:
    one, other = pair
    kernel = Kernel(one._socket, errno.EMSGSIZE, largest=99)
    one._socket = kernel  # type: ignore[assignment]
    for _ in range(2):
        one.send_batch(PIECES, 100, other.address)
    assert kernel.batches == 2
    assert received(other) == [b"c" * 40] * 2
    assert one.refused == 8


def test_a_full_queue_costs_the_whole_batch_and_every_datagram_is_counted(
    pair: tuple[BatchUdpSocket, BatchUdpSocket],
) -> None:
    one, other = pair
    one._socket = Kernel(one._socket, errno.ENOBUFS)  # type: ignore[assignment]
    one.send_batch(PIECES, 100, other.address)
    assert received(other) == []
    assert one.refused == len(DATAGRAMS)


def test_an_error_that_the_network_does_not_make_is_raised(
    pair: tuple[BatchUdpSocket, BatchUdpSocket],
) -> None:
    one, other = pair
    one._socket = Kernel(one._socket, errno.EBADF)  # type: ignore[assignment]
    with pytest.raises(OSError, match="no"):
        one.send_batch(PIECES, 100, other.address)


def test_on_a_kernel_without_the_options_the_socket_moves_single_datagrams(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batch_socket, "UDP_GRO", 254)
    monkeypatch.setattr(batch_socket, "UDP_SEGMENT", 255)
    assert missing_options() == ("UDP_GRO", "UDP_SEGMENT")
    one, other = BatchUdpSocket(HOST, 0), BatchUdpSocket(HOST, 0)
    try:
        assert not one.sends_batches
        assert not one.receives_batches
        one.send_batch(PIECES, 100, other.address)
        room = memoryview(bytearray(65_535))
        sizes = [other.receive_into(room) for _ in DATAGRAMS]
        assert [batch and batch[0] for batch in sizes] == list(map(len, DATAGRAMS))
    finally:
        one.close()
        other.close()


def test_the_best_plane_that_the_kernel_has_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_planes(None).name == choose_planes("batch").name == "batch"
    assert choose_planes("socket").name == "socket"
    monkeypatch.setattr(planes, "missing_options", lambda: ("UDP_GRO",))
    assert choose_planes(None).name == "socket"
    with pytest.raises(OSError, match="data plane batch: this kernel has no UDP_GRO"):
        choose_planes("batch")
