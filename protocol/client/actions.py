"""What a client asks of its driver."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.types import Address, IpAddress
from protocol.wire.messages import ClientMessage, Refused


@dataclass(frozen=True)
class SendDatagram:
    """Send these octets as the payload of one UDP datagram."""

    payload: bytes
    destination: Address


@dataclass(frozen=True)
class SendPacket:
    """Send this ESP packet, own IP header before it, to the group's multicast address.

    Patent: Fig. 14.
    """

    packet: bytes
    destination: IpAddress


@dataclass(frozen=True)
class JoinGroup:
    """Receive what is sent to the multicast address, on the interface towards the network."""

    multicast_address: IpAddress


@dataclass(frozen=True)
class LeaveGroup:
    """Receive it no more."""

    multicast_address: IpAddress


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


GroupAction = JoinGroup | LeaveGroup
Action = (
    SendDatagram
    | SendPacket
    | GroupAction
    | DeliverFrame
    | SendMessage
    | Joined
    | Rejected
    | CloseChannel
)
