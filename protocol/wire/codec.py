"""How control messages stand on a stream: JSON behind a length of four octets.

Each message has a type and known fields only; what does not fit is a WireError that says where.
"""

from __future__ import annotations

from abc import ABC
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import Meta

from protocol.errors import WireError
from protocol.types import Address, IpAddress, Secret

LENGTH_OCTETS = 4
MAXIMUM_LENGTH = 16_384
"""Octets of one message of a client; a peer that announces more is cut off before anything is stored."""

Id = Annotated[int, Meta(ge=1, le=2**32 - 1)]
Port = Annotated[int, Meta(ge=1, le=65535)]
SpiNumber = Annotated[int, Meta(ge=256, le=2**32 - 1)]
SenderIdNumber = Annotated[int, Meta(ge=0, le=2**16 - 1)]
MOST_PACKETS = 2**32 - 2**24
"""The longest lifetime of an SA in packets of a sender: sixteen million before its counter's end."""
PacketCount = Annotated[int, Meta(ge=1, le=MOST_PACKETS)]
UserName = Annotated[str, Meta(min_length=1, max_length=64)]
ServerName = Annotated[
    str, Meta(min_length=1, max_length=63, pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")
]
"""A VPN server's name: a label as in host names (RFC 1123)."""
Milliseconds = Annotated[int, Meta(ge=0, le=86_400_000)]
Version = Annotated[int, Meta(ge=0, le=65535)]

if TYPE_CHECKING:
    IpText = IpAddress
else:

    class IpText(ABC):  # noqa: B024
        """Either kind of IP address: the codec takes no union of two classes of our own."""

    IpText.register(IPv4Address)
    IpText.register(IPv6Address)


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    """The common shape: ``{"type": …, fields …}``."""


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a message: an object with known fields only."""


class Endpoint(Part, frozen=True):
    """Where datagrams come from and go to."""

    host: IpText
    port: Port

    @classmethod
    def of(cls, address: Address) -> Endpoint:
        """Returns a data address as it stands in messages."""
        return cls(ip_address(address.host), address.port)

    @property
    def address(self) -> Address:
        """Returns it as the data planes have it."""
        return Address(str(self.host), self.port)


MessageType = TypeVar("MessageType")


class Decoder(Generic[MessageType]):
    """Reads the JSON of the messages that one side may send."""

    def __init__(self, messages: Any) -> None:
        """Takes the union of the messages' types."""
        self._decoder = msgspec.json.Decoder(messages, dec_hook=_decode_hook)

    def __call__(self, body: bytes) -> MessageType:
        """Returns the message; raises WireError saying where it is wrong."""
        try:
            message: MessageType = self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise WireError(f"control message: {error}") from None
        except RecursionError:
            raise WireError("control message: nested too deep") from None
        return message


def pack(message: Message) -> bytes:
    """Returns the message as it goes on the stream: length, then JSON."""
    body = _encoder.encode(message)
    return len(body).to_bytes(LENGTH_OCTETS, "big") + body


class MessageBuffer:
    """Cuts a stream of octets into message bodies, whatever the pieces it arrives in."""

    def __init__(self, maximum_length: int = MAXIMUM_LENGTH) -> None:
        """Takes how many octets a body may have."""
        self._maximum_length = maximum_length
        self._octets = bytearray()

    def append(self, octets: bytes) -> None:
        """Takes octets as the stream delivered them."""
        self._octets += octets

    def next_body(self) -> bytes | None:
        """Returns the next whole body or None; raises WireError for a length that is not allowed."""
        if len(self._octets) < LENGTH_OCTETS:
            return None
        length = int.from_bytes(self._octets[:LENGTH_OCTETS], "big")
        if not 0 < length <= self._maximum_length:
            raise WireError(
                f"control message of {length} octets, expected 1 to {self._maximum_length}"
            )
        end = LENGTH_OCTETS + length
        if len(self._octets) < end:
            return None
        body = bytes(self._octets[LENGTH_OCTETS:end])
        del self._octets[:end]
        return body


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
