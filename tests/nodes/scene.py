"""Members' sockets on the loopback interface, and courses of datagrams from them through a data plane."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address

from nodes.batch_socket import UDP_SEGMENT
from nodes.planes import BatchPlanes, Plane, Planes, SocketPlanes
from nodes.udp import UdpSocket
from protocol.types import Address

HOST = ip_address("127.0.0.1")
SECONDS = 30.0
ALL_PLANES: tuple[Planes, ...] = (SocketPlanes(), BatchPlanes())


@dataclass(frozen=True)
class Burst:
    """Datagrams that one sender hands to the kernel: one by one, or as a batch."""

    sender: str
    datagrams: tuple[bytes, ...]
    batch: bool
    read: bool
    """Whether the plane wakes up before the next burst."""


@dataclass
class Scene:
    """The members' sockets: what they get is what the plane has sent."""

    sockets: dict[str, socket.socket]
    fence: socket.socket

    def address(self, name: str) -> Address:
        return Address(*self.sockets[name].getsockname()[:2])

    def send(self, burst: Burst, to: Address) -> None:
        sender = self.sockets[burst.sender]
        size = len(burst.datagrams[0])
        if burst.batch and size and all(len(one) == size for one in burst.datagrams[:-1]):
            ancillary = [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", size))]
            sender.sendmsg([b"".join(burst.datagrams)], ancillary, 0, to)
            return
        for one in burst.datagrams:
            sender.sendto(one, to)

    def settle(self) -> None:
        """Waits until what was sent has come to its socket, which a busy kernel leaves to a thread.

        A processor's queue of the loopback interface keeps its order: what comes back was the last in it.
        """
        self.fence.sendto(b"fence", self.fence.getsockname())
        assert self.fence.recv(8) == b"fence"

    def received(self) -> dict[str, list[bytes]]:
        """Takes what has come to each member, in order."""
        return {name: list(_waiting(one)) for name, one in self.sockets.items()}


def _waiting(receiver: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            yield receiver.recv(65535)
        except BlockingIOError:
            return


@contextmanager
def open_scene(names: Iterable[str]) -> Iterator[Scene]:
    """Opens a socket for each name."""
    with ExitStack() as stack:
        sockets = {}
        fence = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        fence.bind((str(HOST), 0))
        fence.settimeout(SECONDS)
        for name in names:
            made = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            made.setblocking(False)
            made.bind((str(HOST), 0))
            sockets[name] = made
        yield Scene(sockets, fence)


def through(
    scene: Scene, planes: Planes, make: Callable[[Planes, UdpSocket], Plane], course: list[Burst]
) -> dict[str, list[bytes]]:
    """Sends a course of bursts through a plane; returns what each member got."""
    got: dict[str, list[bytes]] = {name: [] for name in scene.sockets}
    with closing(planes.open(HOST, 0)) as udp:
        plane = make(planes, udp)
        for burst in course:
            scene.send(burst, udp.address)
            if burst.read:
                _run(plane, udp, scene, got)
        _run(plane, udp, scene, got)
    return got


def _run(plane: Plane, udp: UdpSocket, scene: Scene, got: dict[str, list[bytes]]) -> None:
    """Wakes the plane up until nothing waits any more."""
    scene.settle()
    while select.select([udp], [], [], 0)[0]:
        plane.readable()
        scene.settle()
    for name, more in scene.received().items():
        got[name] += more


def no_timer() -> None:
    """Arms nothing."""
