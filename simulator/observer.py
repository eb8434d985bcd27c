"""What an onlooker is told of a world, who changes nothing in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocol.wire.codec import Message

if TYPE_CHECKING:
    from simulator.processes import ClientProcess


class Observer:
    """Takes no notice; what watches overrides what it wants to know."""

    def sealed(self, process: ClientProcess, frame: bytes, payload: bytes) -> None:
        """A client sends this datagram's payload, with a frame of its LAN in it."""

    def sealed_packet(self, process: ClientProcess, frame: bytes, packet: bytes) -> None:
        """A client sends this ESP packet to its group, with a frame of its LAN in it."""

    def opened(self, process: ClientProcess, frame: bytes) -> None:
        """A client puts this frame on its LAN."""

    def claimed(self, process: ClientProcess, packet: bytes) -> None:
        """A client sends this ESP packet in a claim on its LAN."""

    def at_relay(self, name: str, payload: bytes) -> None:
        """A datagram has reached what relays."""

    def told_relay(self, name: str, body: bytes) -> None:
        """A VPN server was told this message."""

    def handed_out(self, message: Message) -> None:
        """The key server sends this message."""

    def seen(self, terminal: str, frame: bytes, now: int) -> None:
        """A terminal has received a frame."""
