"""What a client asks of its driver."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.types import Address
from protocol.wire.messages import ClientMessage, Refused


@dataclass(frozen=True)
class SendDatagram:
    """Send these octets as the payload of one UDP datagram."""

    payload: bytes
    destination: Address


@dataclass(frozen=True)
class DeliverFrame:
    """Put this frame on the LAN (step 820)."""

    frame: bytes


@dataclass(frozen=True)
class SendMessage:
    """Send this message on the control channel."""

    message: ClientMessage


@dataclass(frozen=True)
class Joined:
    """The client is in its group: frames can flow, and the LAN's MTU is known."""

    lan_mtu: int


@dataclass(frozen=True)
class Rejected:
    """The server refused; the control channel is of no more use."""

    refusal: Refused


@dataclass(frozen=True)
class CloseChannel:
    """End the control channel once what was sent before is out."""


Action = SendDatagram | DeliverFrame | SendMessage | Joined | Rejected | CloseChannel
