"""The page's configuration file: where it listens, and which server it administers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from nodes.configuration import load_server
from nodes.sections import GroupSection, Port, Section
from nodes.toml_document import Document
from protocol.types import SECOND, IpAddress

DEFAULT_PORT = 4793
HTTPS_PORT = 443

Minutes = Annotated[float, Meta(gt=0, le=1440)]
HostName = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]


class PortalSection(Section, frozen=True, kw_only=True):
    """``[portal]``."""

    server: Path
    """The server's own file: it names database, sockets, groups and, unless given here, certificate."""
    address: IpAddress
    port: Port = DEFAULT_PORT
    names: tuple[HostName, ...] = ()
    """Names by which browsers call the page, beside its address."""
    certificate: Path | None = None
    private_key: Path | None = None
    idle_minutes: Minutes = 30.0
    """How long somebody stays logged in who does nothing."""


class PortalFile(Section, frozen=True, kw_only=True):
    """The file."""

    portal: PortalSection


@dataclass(frozen=True)
class PortalConfiguration:
    """All that the page needs to know; times in ns."""

    address: IpAddress
    port: int
    certificate: Path
    private_key: Path
    database: Path
    status_socket: Path
    admin_socket: Path | None
    groups: dict[int, GroupSection]
    origins: frozenset[str]
    idle_time: int


def load_portal(path: Path) -> PortalConfiguration:
    """Reads the page's file and the server's; raises ConfigurationError."""
    document = Document(path)
    section = document.build(PortalFile).portal
    configuration = load_server(section.server)
    server = configuration.server
    certificate = section.certificate or server.certificate
    private_key = section.private_key or server.private_key
    if server.database is None or certificate is None or private_key is None:
        expected = 'a server\'s file with keys = "tls": a certificate and a database'
        raise document.error(("portal", "server"), expected, str(section.server))
    hosts = [_bracketed(section.address), *section.names]
    return PortalConfiguration(
        address=section.address,
        port=section.port,
        certificate=certificate,
        private_key=private_key,
        database=server.database,
        status_socket=server.status_socket,
        admin_socket=server.admin_socket,
        groups=dict(configuration.groups),
        origins=frozenset(_origin(host, section.port) for host in hosts),
        idle_time=round(section.idle_minutes * 60 * SECOND),
    )


def _bracketed(address: IpAddress) -> str:
    return f"[{address}]" if address.version == 6 else str(address)


def _origin(host: str, port: int) -> str:
    return f"https://{host}" if port == HTTPS_PORT else f"https://{host}:{port}"
