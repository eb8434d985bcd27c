"""The messages between clients and the server that holds the keys.

The channel below (TLS) keeps them secret and in order; ``protocol.wire.codec`` says how they stand on it.

Patent: Fig. 1; Fig. 7-1 steps 701, 708; claim 5.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Literal

from msgspec import Meta

from protocol.types import Algorithm, Delivery, Secret
from protocol.wire.codec import (
    MOST_PACKETS,
    Decoder,
    Endpoint,
    Id,
    IpText,
    Message,
    Milliseconds,
    PacketCount,
    Part,
    Port,
    SenderIdNumber,
    ServerName,
    SpiNumber,
    UserName,
    Version,
)

VERSION = 4

ProbeCount = Annotated[int, Meta(ge=1, le=255)]
Microseconds = Annotated[int, Meta(ge=0, le=60_000_000)]
Relays = Annotated[tuple[Endpoint, ...], Meta(min_length=1, max_length=64)]
OLDER_ASSOCIATIONS = 8
"""SAs that a message may name beside the newest."""
Replaces = Literal["older", "all"]


class Register(Message, tag="register", frozen=True):
    """Client to server: who it is, which VPN it wants, and where its datagrams come from."""

    version: Version
    user: UserName
    password: Secret
    vpn_id: Id
    data_port: Port


class GroupSecurityAssociation(Part, frozen=True, omit_defaults=True):
    """What seals and opens a group's packets, with the receiver's own sender ID (RFC 9838 GM_SENDER_ID)."""

    spi: SpiNumber
    algorithm: Algorithm
    key: Secret
    salt: Secret
    sender_id: SenderIdNumber
    packets: PacketCount = MOST_PACKETS
    """After so many of its own a sender asks for a new SA: RFC 4301's soft lifetime (section 4.4.2.1)."""


OlderAssociations = Annotated[
    tuple[GroupSecurityAssociation, ...], Meta(max_length=OLDER_ASSOCIATIONS)
]


class Candidate(Part, frozen=True):
    """A VPN server that the client may be given."""

    server: ServerName
    endpoint: Endpoint


class Candidates(Message, tag="candidates", frozen=True):
    """Server to client: measure the round-trip time to each of these, and tell.

    Patent: Fig. 16 (the nearest VPN server).
    """

    token: Secret
    probes: ProbeCount
    """Probes to send to each server."""
    interval: Annotated[int, Meta(ge=1, le=1000)]
    """Milliseconds from one to the next."""
    servers: Annotated[tuple[Candidate, ...], Meta(min_length=1, max_length=64)]


class Measurement(Part, frozen=True):
    """What probing one server gave: answers, and the least round-trip time of them."""

    server: ServerName
    answered: Annotated[int, Meta(ge=0, le=255)]
    minimum_rtt: Microseconds


class Measured(Message, tag="measured", frozen=True):
    """Client to server: how far the candidates are."""

    measurements: Annotated[tuple[Measurement, ...], Meta(max_length=64)]


class NewRelay(Message, tag="new_relay", frozen=True, omit_defaults=True):
    """Server to client: send there from now on; and whose datagrams to accept."""

    relay: Endpoint
    relays: Relays
    hop_key: Secret | None = None
    """What datagrams to that relay are tagged with; None: not at all."""
    binding_key: Secret | None = None
    """What the client shows that relay with where it is (``protocol.binding_tag``); None: it does not."""


class Registered(Message, tag="registered", frozen=True, omit_defaults=True):
    """Server to client: the group's address and SA, and where to send (step 708)."""

    client_id: Id
    vpn_id: Id
    client_address: IpText
    """The client's address as the server sees it."""
    multicast_address: IpText
    relay: Endpoint
    """Where the client sends: the server, or the nearest VPN server."""
    relays: Relays
    """Whose datagrams it accepts: every VPN server that may deliver to it, its own too."""
    security_association: GroupSecurityAssociation
    older: OlderAssociations
    """SAs that other members may still seal with: only to open."""
    activation_delay: Milliseconds
    """When a client that has an SA from before seals with the new one; others do at once."""
    deactivation_delay: Milliseconds
    lan_mtu: Annotated[int, Meta(ge=576, le=65535)]
    keepalive_interval: Milliseconds
    delivery: Delivery
    """Whether packets go to the relay in datagrams, or as they are to the multicast address."""
    hop_key: Secret | None = None
    """What datagrams to the relay are tagged with (``protocol.hop_tag``); None: not at all."""
    binding_key: Secret | None = None
    """What the client shows its relay with where it is (``protocol.binding_tag``); None: it does not."""


class NewSecurityAssociation(Message, tag="new_security_association", frozen=True):
    """Server to client: a new SA, for the same Sub ID or because the user was given another one.

    The same (``older``): receive with it at once, send with it and forget the old ones after the delays
    of RFC 9838 (activation time delay and deactivation time delay). Another (``all``): forget every SA
    at once, and send with this one at once.

    Patent: Fig. 11; claim 2.
    """

    security_association: GroupSecurityAssociation
    replaces: Replaces
    older: OlderAssociations
    """With ``all``: SAs that members of the new Sub ID may still seal with: only to open."""
    activation_delay: Milliseconds
    deactivation_delay: Milliseconds


class RekeyRequest(Message, tag="rekey_request", frozen=True):
    """Client to server: the packets that may be sealed under this SPI will soon be used up."""

    spi: SpiNumber


class KeepAlive(Message, tag="keepalive", frozen=True):
    """Either way: I am here."""


class Leave(Message, tag="leave", frozen=True):
    """Client to server: take me out of the group."""


class RefusalReason(str, Enum):
    """Why a registration was refused, or is over."""

    CREDENTIALS = "credentials"
    VPN = "vpn"
    VERSION = "version"
    ADDRESS_IN_USE = "address_in_use"
    SUPERSEDED = "superseded"
    EXPELLED = "expelled"
    PROTOCOL = "protocol"
    FULL = "full"


class Refused(Message, tag="refused", frozen=True):
    """Server to client: no, and why, in words for a person. The connection ends."""

    reason: RefusalReason
    detail: Annotated[str, Meta(max_length=256)]


ClientMessage = Register | Measured | RekeyRequest | KeepAlive | Leave
ServerMessage = Candidates | Registered | NewRelay | NewSecurityAssociation | KeepAlive | Refused

parse_from_client: Decoder[ClientMessage] = Decoder(ClientMessage)
parse_from_server: Decoder[ServerMessage] = Decoder(ServerMessage)
