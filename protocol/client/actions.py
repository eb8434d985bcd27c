"""What a client asks of its driver."""

from __future__ import annotations

from msgspec import Struct

from protocol.types import Address, Batch, ClientId, FrameRun, IpAddress
from protocol.wire.messages import ClientMessage, Refused


class SendDatagram(Struct, frozen=True):
    """Send these octets as the payload of one UDP datagram."""

    payload: bytes
    destination: Address


class SendDatagrams(Struct, frozen=True):
    """Send each of these as the payload of one UDP datagram, in this order."""

    batch: Batch
    destination: Address


class SendPacket(Struct, frozen=True):
    """Send this ESP packet, own IP header before it, to the group's multicast address.

    Patent: Fig. 14.
    """

    packet: bytes
    destination: IpAddress


class JoinGroup(Struct, frozen=True):
    """Receive what is sent to the multicast address, on the interface towards the network."""

    multicast_address: IpAddress


class LeaveGroup(Struct, frozen=True):
    """Receive it no more."""

    multicast_address: IpAddress


class DeliverFrame(Struct, frozen=True):
    """Put this frame on the LAN (step 820)."""

    frame: bytes


class DeliverFrames(Struct, frozen=True):
    """Put these frames on the LAN, in this order (step 820)."""

    runs: list[FrameRun]


class SendClaim(Struct, frozen=True):
    """Put this claim on the LAN: no frame that came out of the VPN."""

    frame: bytes


class Announce(Struct, frozen=True):
    """Put this announcement on the LAN: its bridges are to learn where a station outside is reached."""

    frame: bytes


class StandBy(Struct, frozen=True):
    """The client stands by for another on its LAN, or (None) forwards again: worth saying."""

    forwarder: ClientId | None


class SendMessage(Struct, frozen=True):
    """Send this message on the control channel."""

    message: ClientMessage


class Joined(Struct, frozen=True):
    """The client is in its group: frames can flow, and the LAN's MTU is known."""

    lan_mtu: int


class Rejected(Struct, frozen=True):
    """The server refused; the control channel is of no more use."""

    refusal: Refused


class CloseChannel(Struct, frozen=True):
    """End the control channel once what was sent before is out."""


GroupAction = JoinGroup | LeaveGroup
Action = (
    SendDatagram
    | SendDatagrams
    | SendPacket
    | GroupAction
    | DeliverFrame
    | DeliverFrames
    | SendClaim
    | Announce
    | StandBy
    | SendMessage
    | Joined
    | Rejected
    | CloseChannel
)
