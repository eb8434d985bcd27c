"""The messages of the control channel, as JSON behind a length of four octets.

Each message has a type and known fields only; what does not fit is a WireError that says where.
The channel below (TLS) keeps them secret and in order.

Patent: Fig. 1; Fig. 7-1 steps 701, 708; claim 5.
"""

from __future__ import annotations

from abc import ABC
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from protocol.errors import WireError
from protocol.types import Algorithm, Delivery, Secret

VERSION = 1
LENGTH_OCTETS = 4
MAXIMUM_LENGTH = 16_384
"""Octets of one message; a peer that announces more is cut off before anything is stored."""

Id = Annotated[int, Meta(ge=1, le=2**32 - 1)]
Port = Annotated[int, Meta(ge=1, le=65535)]
SpiNumber = Annotated[int, Meta(ge=256, le=2**32 - 1)]
SenderIdNumber = Annotated[int, Meta(ge=0, le=2**16 - 1)]
UserName = Annotated[str, Meta(min_length=1, max_length=64)]
Milliseconds = Annotated[int, Meta(ge=0, le=86_400_000)]

if TYPE_CHECKING:
    from protocol.types import IpAddress as IpText
else:

    class IpText(ABC):  # noqa: B024
        """Either kind of IP address: the codec takes no union of two classes of our own."""

    IpText.register(IPv4Address)
    IpText.register(IPv6Address)


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    """The common shape: ``{"type": …, fields …}``."""


class Register(Message, tag="register", frozen=True):
    """Client to server: who it is, which VPN it wants, and where its datagrams come from."""

    version: Annotated[int, Meta(ge=0, le=65535)]
    user: UserName
    password: Secret
    vpn_id: Id
    data_port: Port


class GroupSecurityAssociation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What seals and opens a group's packets, with the receiver's own sender ID (RFC 9838 GM_SENDER_ID)."""

    spi: SpiNumber
    algorithm: Algorithm
    key: Secret
    salt: Secret
    sender_id: SenderIdNumber


class Registered(Message, tag="registered", frozen=True):
    """Server to client: the group's address and SA, and where to send (step 708)."""

    client_id: Id
    vpn_id: Id
    client_address: IpText
    """The client's address as the server sees it."""
    multicast_address: IpText
    relay_host: IpText
    relay_port: Port
    security_association: GroupSecurityAssociation
    lan_mtu: Annotated[int, Meta(ge=576, le=65535)]
    keepalive_interval: Milliseconds
    delivery: Delivery
    """Whether packets go to the relay in datagrams, or as they are to the multicast address."""


class NewSecurityAssociation(Message, tag="new_security_association", frozen=True):
    """Server to client: receive with this SA at once, send with it and forget the old one after delays.

    The delays are those of RFC 9838 (activation time delay and deactivation time delay).
    """

    security_association: GroupSecurityAssociation
    activation_delay: Milliseconds
    deactivation_delay: Milliseconds


class RekeyRequest(Message, tag="rekey_request", frozen=True):
    """Client to server: the counter under this SPI will soon be used up."""

    spi: SpiNumber


class KeepAlive(Message, tag="keepalive", frozen=True):
    """Either way: I am here."""


class Leave(Message, tag="leave", frozen=True):
    """Client to server: take me out of the group."""


class RefusalReason(str, Enum):
    """Why a registration was refused."""

    CREDENTIALS = "credentials"
    VPN = "vpn"
    VERSION = "version"
    ADDRESS_IN_USE = "address_in_use"
    SUPERSEDED = "superseded"
    PROTOCOL = "protocol"
    FULL = "full"


class Refused(Message, tag="refused", frozen=True):
    """Server to client: no, and why, in words for a person. The connection ends."""

    reason: RefusalReason
    detail: Annotated[str, Meta(max_length=256)]


ClientMessage = Register | RekeyRequest | KeepAlive | Leave
ServerMessage = Registered | NewSecurityAssociation | KeepAlive | Refused
AnyMessage = ClientMessage | ServerMessage


def _decode_hook(wanted: Any, value: Any) -> Any:
    if wanted is Secret and isinstance(value, str):
        try:
            return Secret(bytes.fromhex(value))
        except ValueError:
            raise ValueError("expected hexadecimal octets") from None
    if wanted is IpText and isinstance(value, str):
        return ip_address(value)
    raise ValueError(f"expected {wanted.__name__}")


def _encode_hook(value: Any) -> Any:
    if isinstance(value, Secret):
        return value.reveal().hex()
    if isinstance(value, (IPv4Address, IPv6Address)):
        return str(value)
    raise TypeError(f"no encoding for {type(value).__name__}")


_encoder = msgspec.json.Encoder(enc_hook=_encode_hook)
_client_decoder = msgspec.json.Decoder(ClientMessage, dec_hook=_decode_hook)
_server_decoder = msgspec.json.Decoder(ServerMessage, dec_hook=_decode_hook)


def pack(message: AnyMessage) -> bytes:
    """Returns the message as it goes on the stream: length, then JSON."""
    body = _encoder.encode(message)
    return len(body).to_bytes(LENGTH_OCTETS, "big") + body


def _parse(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WireError(f"control message: {error}") from None
    except RecursionError:
        raise WireError("control message: nested too deep") from None


def parse_from_client(body: bytes) -> ClientMessage:
    """Reads the JSON of a message that only a client may send."""
    message: ClientMessage = _parse(_client_decoder, body)
    return message


def parse_from_server(body: bytes) -> ServerMessage:
    """Reads the JSON of a message that only a server may send."""
    message: ServerMessage = _parse(_server_decoder, body)
    return message


class MessageBuffer:
    """Cuts a stream of octets into message bodies, whatever the pieces it arrives in."""

    def __init__(self) -> None:
        self._octets = bytearray()

    def append(self, octets: bytes) -> None:
        """Takes octets as the stream delivered them."""
        self._octets += octets

    def next_body(self) -> bytes | None:
        """Returns the next whole body or None; raises WireError for a length that is not allowed."""
        if len(self._octets) < LENGTH_OCTETS:
            return None
        length = int.from_bytes(self._octets[:LENGTH_OCTETS], "big")
        if not 0 < length <= MAXIMUM_LENGTH:
            raise WireError(f"control message of {length} octets, expected 1 to {MAXIMUM_LENGTH}")
        end = LENGTH_OCTETS + length
        if len(self._octets) < end:
            return None
        body = bytes(self._octets[LENGTH_OCTETS:end])
        del self._octets[:end]
        return body
