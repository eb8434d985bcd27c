"""The tables of the configuration files, as values; ``nodes.configuration`` reads and checks them.

Patent: tables 309, 508; background (SAs set by hand).
"""

from __future__ import annotations

from ipaddress import IPv6Address
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from nodes.toml_document import MacAddress
from protocol.types import Algorithm, Delivery, IpAddress, MemberDelivery, Secret, ServerDelivery
from protocol.wire.codec import MOST_PACKETS, PacketCount, ServerName

DEFAULT_DATA_PORT = 4790
DEFAULT_CONTROL_PORT = 4791
DEFAULT_SERVERS_PORT = 4792

VpnNumber = Annotated[int, Meta(ge=1, le=2**32 - 1)]
ClientNumber = Annotated[int, Meta(ge=1, le=2**32 - 1)]
Port = Annotated[int, Meta(ge=1, le=65535)]
SpiNumber = Annotated[int, Meta(ge=256, le=2**32 - 1)]
SenderNumber = Annotated[int, Meta(ge=0, le=2**16 - 1)]
UserName = Annotated[str, Meta(min_length=1, max_length=64)]
Seconds = Annotated[float, Meta(gt=0, le=10_000_000)]
Mtu = Annotated[int, Meta(ge=576, le=65535)]
InterfaceName = Annotated[str, Meta(min_length=1, max_length=15, pattern=r"^[^\s/:%]+$")]
KeySource = Literal["tls", "manual"]
Control = Literal["tls", "ike"]
"""What protects the control channel: TLS, or an IPsec SA that IKE has set up."""
IKE_INNER_ADDRESS = IPv6Address("fd62:6c64:7200::1")
"""Where the server takes registrations inside SAs, unless its file says otherwise."""
ForwardingName = Literal["relay", "hub", "null"]
SaLifetime = Annotated[float, Meta(ge=15, le=10_000_000)]
"""Seconds; not less than what one roll-over takes."""
DataPlaneName = Literal["socket", "batch", "kernel"]


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of a file."""


class Timers(Section, frozen=True, kw_only=True):
    """``[timers]``, all in seconds."""

    mac_lifetime_s: Seconds = 3600.0
    hold_down_s: Seconds = 1.0
    keepalive_s: Seconds = 10.0
    timeout_s: Seconds = 30.0
    recovery_s: Seconds = 15.0
    """How long after a key server's return clients go on sealing with the SAs they have."""


class ServerSection(Section, frozen=True, kw_only=True):
    """``[server]``: where it listens and what it stores; the three paths serve ``keys = "tls"``.

    So do ``rekey``, when a group's members get a fresh SA, and ``member_delivery``, whether packets go
    to all of a group or to those who hold their SA. ``docs/deviations.md`` (16, 17) has the rules.
    """

    address: IpAddress
    status_socket: Path
    control_port: Port = DEFAULT_CONTROL_PORT
    data_port: Port = DEFAULT_DATA_PORT
    certificate: Path | None = None
    private_key: Path | None = None
    database: Path | None = None
    forwarding: ForwardingName = "relay"
    dataplane: DataPlaneName | None = None
    """How datagrams are moved; unless given, in the best way that the machine has: kernel, batch, socket."""
    strip: Literal["keep", "patent"] = "keep"
    hop_tags: Literal["off", "required"] = "off"
    """Whether senders tag their datagrams and relays drop those without their sender's tag."""
    keys: KeySource = "tls"
    manual_file: Path | None = None
    admin_socket: Path | None = None
    """Where whoever has changed the users says so; unless given, the server looks each second."""
    servers_port: Port = DEFAULT_SERVERS_PORT
    """Where a representative's VPN servers connect; this and the next keys count with ``[servers]``."""
    servers_certificate_authority: Path | None = None
    delivery_by: ServerDelivery = "direct"
    distribution: Literal["full", "delta"] = "delta"
    mac_reports: bool = True
    rekey: Literal["on-leave", "on-change", "never"] = "on-leave"
    control: Control = "tls"
    ike_inner_address: IpAddress = IKE_INNER_ADDRESS
    """With ``control = "ike"``, as the next two; clients' addresses inside SAs are of the same /48."""
    ike_version: Literal[1, 2] = 2
    """1: with XAUTH; the certificate's key must be RSA then, and its name the address."""
    vici_socket: Path | None = None
    """That of a charon which somebody else runs; unless given, the process has one of its own."""
    sa_lifetime_s: SaLifetime = 8 * 3600.0
    sa_lifetime_packets: PacketCount = MOST_PACKETS
    """Of each sender: after so many it asks for a fresh SA."""
    member_delivery: MemberDelivery = "patent"


class GroupSection(Section, frozen=True, kw_only=True):
    """``[groups.1001]``: a VPN group's shared address and cipher (table 508 without the SA)."""

    multicast_address: IpAddress
    algorithm: Algorithm = "aes-128-gcm"
    """AES-GCM, or with a hub what ESP had before it."""
    delivery: Delivery = "relay"
    """``multicast``: clients send to the address itself, and the server carries no frame."""


class VpnServerSection(Section, frozen=True, kw_only=True):
    """``[servers.a]``: where a VPN server takes datagrams; ``a`` is the DNS name in its certificate."""

    address: IpAddress
    data_port: Port = DEFAULT_DATA_PORT


class ServerConfiguration(Section, frozen=True, kw_only=True):
    """A server's file; with ``[servers]`` it is a representative's, who carries no frame."""

    server: ServerSection
    timers: Timers = field(default_factory=Timers)
    groups: dict[VpnNumber, GroupSection] = {}
    servers: dict[ServerName, VpnServerSection] = {}


class RelaySection(Section, frozen=True, kw_only=True):
    """``[relay]``: a VPN server that only relays, and the representative that gives it its tables.

    ``representative_name`` is what the representative's certificate is for; unless given, its address.
    """

    address: IpAddress
    status_socket: Path
    representative: IpAddress
    certificate: Path
    private_key: Path
    certificate_authority: Path
    data_port: Port = DEFAULT_DATA_PORT
    servers_port: Port = DEFAULT_SERVERS_PORT
    representative_name: str | None = None
    strip: Literal["keep", "patent"] = "keep"
    dataplane: DataPlaneName | None = None
    hop_tags: Literal["off", "required"] = "off"
    """As at the representative, which gives the keys."""


class RelayConfiguration(Section, frozen=True, kw_only=True):
    """The file of a VPN server that only relays: no group, no user and no key stands in it."""

    relay: RelaySection
    timers: Timers = field(default_factory=Timers)


class ClientSection(Section, frozen=True, kw_only=True):
    """``[client]``: its server, its user and its outside address."""

    server: IpAddress
    user: UserName
    vpn_id: VpnNumber
    address: IpAddress
    status_socket: Path
    control_port: Port = DEFAULT_CONTROL_PORT
    data_port: Port = DEFAULT_DATA_PORT
    certificate_authority: Path | None = None
    server_name: str | None = None
    password_file: Path | None = None
    keys: KeySource = "tls"
    control: Control = "tls"
    ike_inner_address: IpAddress = IKE_INNER_ADDRESS
    ike_version: Literal[1, 2] = 2
    vici_socket: Path | None = None
    manual_file: Path | None = None
    outside_interface: InterfaceName | None = None
    """Where multicast packets go out and come in; unless given, the interface with ``address``."""
    key_socket: Path | None = None
    """Where the process shows its SAs with their keys, to open a capture; none unless asked for."""


class LanSection(Section, frozen=True, kw_only=True):
    """``[lan]``: an interface that exists, or a TAP device to make (only that has a ``mac``)."""

    kind: Literal["interface", "tap"]
    name: InterfaceName
    mac: MacAddress | None = None


class ClientConfiguration(Section, frozen=True, kw_only=True):
    """A client's file."""

    client: ClientSection
    lan: LanSection


class ManualClient(Section, frozen=True, kw_only=True):
    """A client's SA set by hand; ``counter_file`` carries its counter to the next process."""

    vpn_id: VpnNumber
    multicast_address: IpAddress
    server_address: IpAddress
    server_port: Port = DEFAULT_DATA_PORT
    spi: SpiNumber
    algorithm: Literal["aes-128-gcm", "aes-256-gcm"] = "aes-128-gcm"
    key: Secret
    salt: Secret
    sender_id: SenderNumber
    lan_mtu: Mtu
    counter_file: Path


class ManualMember(Section, frozen=True, kw_only=True):
    """A client that a relay serves without registration."""

    client_id: ClientNumber
    address: IpAddress
    port: Port = DEFAULT_DATA_PORT
    user: UserName | None = None


class ManualGroup(Section, frozen=True, kw_only=True):
    """A group as a relay may know it: address, SPIs and members, never a key."""

    multicast_address: IpAddress
    spis: tuple[SpiNumber, ...]
    members: tuple[ManualMember, ...]


class ManualServer(Section, frozen=True, kw_only=True):
    """A relay's groups set by hand."""

    groups: dict[VpnNumber, ManualGroup]
