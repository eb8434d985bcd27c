"""The data planes to choose from: the same decisions, moved with fewer or more system calls."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from nodes.batch_plane import BatchDecidingPlane, BatchResealingPlane, DecidingBatches
from nodes.batch_socket import BatchUdpSocket, missing_options
from nodes.data_plane import DecidingPlane, Resealing, ResealingPlane
from nodes.sections import DataPlaneName
from nodes.udp import UdpSocket
from protocol.types import IpAddress


class Plane(Protocol):
    """What moves datagrams whenever the socket is readable."""

    def readable(self) -> None:
        """Moves what waits."""


class Planes(ABC):
    """One way of moving datagrams, for whatever decides about them; its socket goes with it."""

    name: DataPlaneName

    @abstractmethod
    def open(self, address: IpAddress, port: int) -> UdpSocket:
        """Opens the data port; raises OSError."""

    @abstractmethod
    def deciding(
        self, udp: UdpSocket, forwarding: DecidingBatches, arm_timer: Callable[[], None]
    ) -> Plane:
        """Returns what sends payloads as they came; ``udp`` is of :meth:`open`."""

    @abstractmethod
    def resealing(
        self, udp: UdpSocket, forwarding: Resealing, arm_timer: Callable[[], None]
    ) -> Plane:
        """Returns what sends new payloads; ``udp`` is of :meth:`open`."""


class SocketPlanes(Planes):
    """One system call for each datagram in and each copy out."""

    name = "socket"

    def open(self, address: IpAddress, port: int) -> UdpSocket:
        return UdpSocket(address, port)

    def deciding(
        self, udp: UdpSocket, forwarding: DecidingBatches, arm_timer: Callable[[], None]
    ) -> Plane:
        return DecidingPlane(udp, forwarding, arm_timer)

    def resealing(
        self, udp: UdpSocket, forwarding: Resealing, arm_timer: Callable[[], None]
    ) -> Plane:
        return ResealingPlane(udp, forwarding, arm_timer)


class BatchPlanes(Planes):
    """One system call for up to 64 datagrams in, and for as many copies to one destination."""

    name = "batch"

    def open(self, address: IpAddress, port: int) -> BatchUdpSocket:
        return BatchUdpSocket(address, port)

    def deciding(
        self, udp: UdpSocket, forwarding: DecidingBatches, arm_timer: Callable[[], None]
    ) -> Plane:
        assert isinstance(udp, BatchUdpSocket)
        return BatchDecidingPlane(udp, forwarding, arm_timer)

    def resealing(
        self, udp: UdpSocket, forwarding: Resealing, arm_timer: Callable[[], None]
    ) -> Plane:
        assert isinstance(udp, BatchUdpSocket)
        return BatchResealingPlane(udp, forwarding, arm_timer)


def best_sockets() -> DataPlaneName:
    """Names the best data plane of this machine whose work is its process's."""
    return choose_planes(None).name


def choose_planes(wanted: DataPlaneName | None) -> Planes:
    """Returns what is wanted, or (None, kernel) the best sockets that this machine has.

    What forwards in the kernel stands beside a socket: `nodes.kernel.plane`. Raises OSError, naming
    what is missing, when the machine does not have what is wanted.
    """
    if wanted == "socket":
        return SocketPlanes()
    missing = missing_options()
    if not missing:
        return BatchPlanes()
    if wanted != "batch":
        return SocketPlanes()
    raise OSError(f"data plane {wanted}: this kernel has no {' and no '.join(missing)}")
