"""A client's place in its multicast group: the raw ESP socket, from joining to leaving.

Patent: Figs. 13, 14.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from nodes.esp_socket import EspSocket, ReceivedPacket, interface_with
from protocol.types import IpAddress


class Membership:
    """Has a socket while the client is in the group, and none otherwise."""

    def __init__(
        self, address: IpAddress, interface: str | None, readable: Callable[[], None]
    ) -> None:
        """Takes the own address, its interface if it is to be no other, and whom to call for packets."""
        self._address = address
        self._interface = interface
        self._readable = readable
        self._loop = asyncio.get_running_loop()
        self._socket: EspSocket | None = None
        self._refused_before = 0

    @property
    def refused(self) -> int:
        """Packets that the network refused, and those for which there was no socket."""
        return self._refused_before + (0 if self._socket is None else self._socket.refused)

    def join(self, multicast_address: IpAddress) -> None:
        """Opens the socket and joins; raises OSError, naming the group, when it may not."""
        try:
            interface = self._interface or interface_with(self._address)
            self._socket = EspSocket(self._address, interface)
            self._socket.join(multicast_address)
        except OSError as error:
            raise OSError(error.errno, f"joining {multicast_address}: {error}") from None
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def leave(self) -> None:
        """Closes the socket, if there is one."""
        if self._socket is None:
            return
        self._loop.remove_reader(self._socket.fileno())
        self._refused_before += self._socket.refused
        self._socket.close()
        self._socket = None

    def receive(self) -> ReceivedPacket | None:
        """Returns the group's next packet, or None when none waits."""
        return None if self._socket is None else self._socket.receive()

    def send(self, packet: bytes, destination: IpAddress) -> None:
        """Sends one packet; what cannot be sent is counted."""
        if self._socket is None:
            self._refused_before += 1
        else:
            self._socket.send(packet, destination)
