"""The messages between the representative and the VPN servers: tables 507 and 508, and no data key.

The channel below (mutual TLS) keeps them in order between these two. A message of the representative
has an epoch, which grows with each start of the representative, and a sequence number, which grows by
one with each message of the epoch.

Patent: Fig. 16; Fig. 19; tables 507, 508.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated

from msgspec import Meta

from protocol.types import ONLY_SUB_ID, Address, MemberDelivery, Secret
from protocol.wire.codec import (
    Decoder,
    Endpoint,
    Id,
    IpText,
    Message,
    Milliseconds,
    Part,
    ServerName,
    SpiNumber,
    Version,
)

VERSION = 4
MAXIMUM_LENGTH = 64 * 1024 * 1024
"""Octets of one message: whole tables of some hundred thousand clients."""

Number = Annotated[int, Meta(ge=0, le=2**63 - 1)]
MacText = Annotated[str, Meta(pattern=r"^[0-9a-f]{12}$")]


class SpiRow(Part, frozen=True):
    """An SPI, and the Sub ID whose members hold its SA (Fig. 12-1)."""

    spi: SpiNumber
    sub_id: Id


class GroupRow(Part, frozen=True, omit_defaults=True):
    """A row of table 508: address and SPIs; whose these are, and whether only they are sent to."""

    vpn_id: Id
    multicast_address: IpText
    spis: tuple[SpiNumber, ...]
    sub_ids: tuple[SpiRow, ...] = ()
    member_delivery: MemberDelivery = "patent"


class MemberEndpoint(Part, frozen=True):
    """Where a client is; port 0 until it has shown to its server which it is."""

    host: IpText
    port: Annotated[int, Meta(ge=0, le=65535)]

    @classmethod
    def of(cls, address: Address) -> MemberEndpoint:
        """Returns a client's data address as it stands in messages."""
        return cls(ip_address(address.host), address.port)

    @property
    def address(self) -> Address:
        """Returns it as the data planes have it."""
        return Address(str(self.host), self.port)


class MemberRow(Part, frozen=True, omit_defaults=True):
    """A row of table 507: a client, and whether it is the receiving server's own."""

    client_id: Id
    vpn_id: Id
    endpoint: MemberEndpoint
    home: bool
    sub_id: Id = ONLY_SUB_ID
    hop_keys: tuple[Secret, ...] = ()
    """Where hop tags are required, what its own server checks them with: first what the client has been
    given last, then what it may use until it has that."""
    binding_key: Secret | None = None
    """What its own server checks with where the client says that it is."""


class ServerRow(Part, frozen=True, omit_defaults=True):
    """Another VPN server in place of its clients: the groups that it has some of.

    Where hop tags are required: ``send_key`` for what it is sent, once it could check that, and what its
    datagrams are checked with.

    Patent: Fig. 19; table 19.
    """

    name: ServerName
    endpoint: Endpoint
    vpn_ids: tuple[Id, ...]
    send_key: Secret | None = None
    hop_keys: tuple[Secret, ...] = ()


class StationKey(Part, frozen=True):
    """A station: its group and MAC."""

    vpn_id: Id
    mac: MacText


class StationRow(Part, frozen=True):
    """A row of table 509 of another server: a station, and the client it is behind."""

    vpn_id: Id
    mac: MacText
    client_id: Id


class Rows(Part, frozen=True, omit_defaults=True):
    """Rows of every table."""

    groups: tuple[GroupRow, ...] = ()
    members: tuple[MemberRow, ...] = ()
    servers: tuple[ServerRow, ...] = ()
    stations: tuple[StationRow, ...] = ()


class Keys(Part, frozen=True, omit_defaults=True):
    """What names rows of every table."""

    groups: tuple[Id, ...] = ()
    members: tuple[Id, ...] = ()
    servers: tuple[ServerName, ...] = ()
    stations: tuple[StationKey, ...] = ()


class Snapshot(Message, tag="snapshot", frozen=True, omit_defaults=True):
    """Representative to server: these are the tables, whole."""

    epoch: Number
    sequence: Number
    rows: Rows
    token: Secret
    """The probes to answer."""
    reports: bool
    """Whether the server is to report the stations that it sees."""
    grace: Milliseconds
    """How long the rows of an earlier epoch serve beside these."""
    hop_tags: bool = False
    """Whether datagrams without a hop tag are dropped; the server is to be set up for the same."""


class Changes(Message, tag="changes", frozen=True):
    """Representative to server: take these rows out, then put those in."""

    epoch: Number
    sequence: Number
    removed: Keys
    put: Rows


class Hello(Message, tag="hello", frozen=True):
    """Server to representative, first: I am here, and have no tables. The certificate says who."""

    version: Version


class Applied(Message, tag="applied", frozen=True):
    """Server to representative: up to here my tables are what you said."""

    epoch: Number
    sequence: Number


class Resynchronise(Message, tag="resynchronise", frozen=True):
    """Server to representative: send the whole; I have this, and what came does not follow it."""

    epoch: Number
    sequence: Number


class Stations(Message, tag="stations", frozen=True):
    """Server to representative: what it has learnt, and what it knows no more (table 509)."""

    forgotten: tuple[StationKey, ...]
    seen: tuple[StationRow, ...]


class CountRow(Part, frozen=True):
    """What has come from and gone to a client at one server since it started: datagrams' payloads."""

    client_id: Id
    datagrams_in: Number
    octets_in: Number
    datagrams_out: Number
    octets_out: Number


class Counts(Message, tag="counts", frozen=True):
    """Server to representative: what I have counted by client, where it has changed (table 507)."""

    start: Number
    """Other with each start of the server: its counts begin at zero then."""
    rows: tuple[CountRow, ...]


class BoundRow(Part, frozen=True):
    """Where a client has shown to be."""

    client_id: Id
    endpoint: Endpoint


class Bound(Message, tag="bound", frozen=True):
    """Server to representative: my own clients that are elsewhere than you have told me (table 507)."""

    rows: Annotated[tuple[BoundRow, ...], Meta(max_length=1024)]


class Alive(Message, tag="alive", frozen=True):
    """Either way: I am here."""


RepresentativeMessage = Snapshot | Changes | Alive
VpnServerMessage = Hello | Applied | Resynchronise | Stations | Counts | Bound | Alive

parse_from_representative: Decoder[RepresentativeMessage] = Decoder(RepresentativeMessage)
parse_from_vpn_server: Decoder[VpnServerMessage] = Decoder(VpnServerMessage)
