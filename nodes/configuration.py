"""The configuration files of server and client: read, checked, and refused with one line.

Every error is a :class:`ConfigurationError`: ``file:line: key: expected …, got …``. Paths in a file
are relative to that file. Files with passwords or keys must be their owner's alone.

Patent: tables 309, 508; background (SAs set by hand).
"""

from __future__ import annotations

import os
from collections.abc import Hashable
from pathlib import Path

from msgspec.structs import replace

from nodes.private_file import PRIVATE_FILE, private_file_problem, read_password
from nodes.sections import (
    ClientConfiguration,
    ClientSection,
    ForwardingName,
    GroupSection,
    LanSection,
    ManualClient,
    ManualGroup,
    ManualMember,
    ManualServer,
    RelayConfiguration,
    ServerConfiguration,
    ServerSection,
    Timers,
)
from nodes.toml_document import ConfigurationError, Document
from nodes.toml_positions import KeyPath
from protocol.types import KEY_LENGTHS, SALT_LENGTH, IpAddress

__all__ = [
    "ClientConfiguration",
    "ClientSection",
    "ConfigurationError",
    "GroupSection",
    "LanSection",
    "ManualClient",
    "ManualGroup",
    "ManualMember",
    "ManualServer",
    "RelayConfiguration",
    "ServerConfiguration",
    "ServerSection",
    "Timers",
    "load_client",
    "load_manual_client",
    "load_manual_server",
    "load_relay",
    "load_server",
    "read_password",
]

SOCKET_PATH_LENGTH = 107
"""Octets of the longest path of a Unix socket (sun_path without its NUL)."""

_NO_KEYS = dict.fromkeys(("key", "keys", "salt", "password"), "no key, because relays hold none")


def load_server(path: Path | str, forwarding: ForwardingName | None = None) -> ServerConfiguration:
    """Reads a server's file; ``forwarding`` stands in for the file's. Raises ConfigurationError."""
    document = Document(Path(path))
    configuration = document.build(ServerConfiguration)
    if forwarding is not None:
        section = replace(configuration.server, forwarding=forwarding)
        configuration = replace(configuration, server=section)
    server = configuration.server
    _require_key_source(document, "server", server, ("certificate", "private_key", "database"))
    if server.keys == "manual" and server.forwarding == "hub":
        raise document.error(
            ("server", "keys"), '"tls", because a hub needs its clients\' SAs', '"manual"'
        )
    _check_control(document, "server", server)
    relays = server.keys == "tls" and server.forwarding == "relay"
    if server.hop_tags == "required" and not relays:
        expected = '"off" unless keys is "tls" and forwarding "relay"'
        raise document.error(("server", "hop_tags"), expected, '"required"')
    if server.keys == "tls" and not configuration.groups:
        raise document.error(("groups",), "at least one table such as [groups.1001]", "none")
    _check_host(document, ("server", "address"), server.address)
    _check_socket_path(document, ("server", "status_socket"), server.status_socket)
    if server.admin_socket is not None:
        _check_socket_path(document, ("server", "admin_socket"), server.admin_socket)
    timers = configuration.timers
    if timers.timeout_s <= timers.keepalive_s:
        expected = f"more than keepalive_s ({timers.keepalive_s:g})"
        raise document.error(("timers", "timeout_s"), expected, f"{timers.timeout_s:g}")
    _check_groups(document, configuration.groups, server.address)
    _check_delivery(document, configuration)
    _check_vpn_servers(document, configuration)
    return configuration


def load_relay(path: Path | str) -> RelayConfiguration:
    """Reads the file of a VPN server that only relays; raises ConfigurationError."""
    document = Document(Path(path))
    configuration = document.build(RelayConfiguration)
    relay = configuration.relay
    _check_host(document, ("relay", "address"), relay.address)
    _check_host(document, ("relay", "representative"), relay.representative)
    _check_family(document, ("relay", "representative"), relay.representative, relay.address)
    _check_socket_path(document, ("relay", "status_socket"), relay.status_socket)
    return configuration


def load_client(path: Path | str) -> ClientConfiguration:
    """Reads a client's file, and looks at its password file's mode; raises ConfigurationError."""
    document = Document(Path(path))
    configuration = document.build(ClientConfiguration)
    client = configuration.client
    _require_key_source(document, "client", client, ("certificate_authority", "password_file"))
    _check_control(document, "client", client)
    _check_host(document, ("client", "server"), client.server)
    _check_host(document, ("client", "address"), client.address)
    _check_family(document, ("client", "address"), client.address, client.server)
    _check_socket_path(document, ("client", "status_socket"), client.status_socket)
    if client.key_socket is not None:
        _check_socket_path(document, ("client", "key_socket"), client.key_socket)
    if configuration.lan.mac is not None and configuration.lan.kind != "tap":
        raise document.error(("lan", "mac"), 'none unless kind is "tap"', "one")
    if client.keys == "tls" and client.password_file is not None:
        problem = private_file_problem(client.password_file)
        if problem is not None:
            raise document.error(("client", "password_file"), PRIVATE_FILE, problem)
    return configuration


def load_manual_client(path: Path | str) -> ManualClient:
    """Reads a client's SA set by hand; no error shows a value; raises ConfigurationError."""
    path = Path(path)
    problem = private_file_problem(path)
    if problem is not None:
        raise ConfigurationError(path, None, "file", PRIVATE_FILE, problem)
    document = Document(path, secret=True)
    manual = document.build(ManualClient)
    _check_multicast(document, ("multicast_address",), manual.multicast_address)
    _check_host(document, ("server_address",), manual.server_address)
    _check_family(document, ("server_address",), manual.server_address, manual.multicast_address)
    lengths = (
        ("key", manual.key, KEY_LENGTHS[manual.algorithm]),
        ("salt", manual.salt, SALT_LENGTH),
    )
    for name, secret, length in lengths:
        if len(secret) != length:
            expected = f"{length} octets (for {manual.algorithm}) in hexadecimal"
            raise document.error((name,), expected, f"{len(secret)} octets")
    return manual


def load_manual_server(path: Path | str) -> ManualServer:
    """Reads a relay's groups set by hand; a key in it is an error; raises ConfigurationError."""
    document = Document(Path(path), secret=True, forbidden=_NO_KEYS)
    manual = document.build(ManualServer)
    addresses: set[Hashable] = set()
    clients: set[Hashable] = set()
    places: set[Hashable] = set()
    for vpn_id, group in manual.groups.items():
        base = ("groups", str(vpn_id))
        key = (*base, "multicast_address")
        _check_multicast(document, key, group.multicast_address)
        _check_unique(document, key, group.multicast_address, addresses)
        for index, member in enumerate(group.members):
            place = (*base, "members", index)
            _check_host(document, (*place, "address"), member.address)
            _check_family(document, (*place, "address"), member.address, group.multicast_address)
            _check_unique(document, (*place, "client_id"), member.client_id, clients)
            _check_unique(document, (*place, "address"), (member.address, member.port), places)
    return manual


def _require_key_source(
    document: Document, table: str, section: ServerSection | ClientSection, for_tls: tuple[str, ...]
) -> None:
    """Raises when a key that ``keys`` calls for is missing."""
    needed = ("manual_file",) if section.keys == "manual" else for_tls
    for name in needed:
        if getattr(section, name) is None:
            expected = f'a path, because keys is "{section.keys}"'
            raise document.error((table, name), expected, "nothing")


def _check_control(document: Document, table: str, section: ServerSection | ClientSection) -> None:
    """Raises when IKE is asked for and there is no registration, or no IPv6 inside its SAs."""
    if section.control == "ike" and section.keys != "tls":
        raise document.error(
            (table, "control"), f'"tls", because keys is "{section.keys}"', '"ike"'
        )
    if section.control != "ike" and section.vici_socket is not None:
        raise document.error((table, "vici_socket"), 'none unless control is "ike"', "one")
    if section.vici_socket is not None:
        _check_socket_path(document, (table, "vici_socket"), section.vici_socket)
    if section.ike_inner_address.version != 6:
        place = (table, "ike_inner_address")
        raise document.error(
            place, "an IPv6 address", document.describe(str(section.ike_inner_address))
        )


def _check_host(document: Document, key: KeyPath, address: IpAddress) -> None:
    if address.is_multicast or address.is_unspecified:
        raise document.error(key, "the address of one host", document.describe(str(address)))


def _check_multicast(document: Document, key: KeyPath, address: IpAddress) -> None:
    if not address.is_multicast:
        raise document.error(key, "a multicast address", document.describe(str(address)))


def _check_family(document: Document, key: KeyPath, address: IpAddress, other: IpAddress) -> None:
    if address.version != other.version:
        expected = f"IPv{other.version} to fit the other addresses"
        raise document.error(key, expected, f"IPv{address.version}")


def _check_unique(document: Document, key: KeyPath, value: Hashable, seen: set[Hashable]) -> None:
    if value in seen:
        raise document.error(key, "one that nobody else has", "one that is in use")
    seen.add(value)


def _check_socket_path(document: Document, key: KeyPath, path: Path) -> None:
    length = len(os.fsencode(path))
    if length > SOCKET_PATH_LENGTH:
        expected = f"a path of at most {SOCKET_PATH_LENGTH} octets"
        raise document.error(key, expected, f"{length} ({path})")


def _check_groups(document: Document, groups: dict[int, GroupSection], server: IpAddress) -> None:
    seen: set[Hashable] = set()
    for vpn_id, group in groups.items():
        key = ("groups", str(vpn_id), "multicast_address")
        _check_multicast(document, key, group.multicast_address)
        _check_family(document, key, group.multicast_address, server)
        _check_unique(document, key, group.multicast_address, seen)


def _check_delivery(document: Document, configuration: ServerConfiguration) -> None:
    """Raises when clients are to reach each other natively while a hub shares SAs with each alone.

    What ESP had before AES-GCM is for hubs alone, which are measured as they were.
    """
    hub = configuration.server.forwarding == "hub"
    for vpn_id, group in configuration.groups.items():
        if not hub and "gcm" not in group.algorithm:
            key = ("groups", str(vpn_id), "algorithm")
            expected = 'AES-GCM unless forwarding is "hub"'
            raise document.error(key, expected, f'"{group.algorithm}"')
        if hub and group.delivery == "multicast":
            key = ("groups", str(vpn_id), "delivery")
            raise document.error(key, '"relay", because a hub seals every frame', '"multicast"')


def _check_vpn_servers(document: Document, configuration: ServerConfiguration) -> None:
    """Raises when a representative cannot be one, or its VPN servers cannot be told apart."""
    server, seen = configuration.server, set[Hashable]()
    for name, one in configuration.servers.items():
        key = ("servers", name, "address")
        _check_host(document, key, one.address)
        _check_family(document, key, one.address, server.address)
        _check_unique(document, key, (one.address, one.data_port), seen)
    if not configuration.servers:
        return
    because = "because there are VPN servers"
    if server.servers_certificate_authority is None:
        place = ("server", "servers_certificate_authority")
        raise document.error(place, f"a path, {because}", "nothing")
    if server.keys != "tls":
        raise document.error(("server", "keys"), f'"tls", {because}', f'"{server.keys}"')
    if server.forwarding != "relay":
        place = ("server", "forwarding")
        raise document.error(place, f'"relay", {because}', f'"{server.forwarding}"')
    for vpn_id, group in configuration.groups.items():
        if group.delivery != "relay":
            key = ("groups", str(vpn_id), "delivery")
            raise document.error(key, f'"relay", {because}', f'"{group.delivery}"')
