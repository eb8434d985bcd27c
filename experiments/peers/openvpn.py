"""OpenVPN in TAP mode: the server opens every frame and seals it again (client-to-client)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from experiments.credentials import CertificateAuthority
from experiments.peers.adapter import PORT, TAP, Peer, Site
from topologies.plan import Node


class OpenVpn(Peer):
    """Certificates of one authority of the run's, AES-128-GCM on the data channel."""

    name = "openvpn"
    title = "OpenVPN (TAP, client-to-client)"
    programs: ClassVar[Mapping[str, str]] = {"openvpn": "openvpn"}
    cipher = "AES-128-GCM"

    def keys(self, site: Site) -> None:
        """Issues a certificate to each node; the name in it tells the server who speaks."""
        authority = CertificateAuthority()
        authority.write(site.folder / "authority.pem")
        for node in (site.hub, *site.clients):
            authority.issue(
                node.name, site.folder / f"{node.name}.pem", site.folder / f"{node.name}.key"
            )

    def files(self, site: Site) -> dict[str, str]:
        """Returns one configuration for each node."""
        server = (
            "mode server",
            "tls-server",
            "dh none",
            "client-to-client",
            f"local {site.address(site.hub)}",
            f"port {PORT}",
        )
        files = {"server.conf": _text(site, site.hub, server)}
        for client in site.clients:
            own = (
                "tls-client",
                "pull",
                f"remote {site.address(site.hub)} {PORT}",
                f"local {site.address(client)}",
                f"lport {PORT}",
                f"verify-x509-name {site.hub.name} name",
                "connect-retry 1 2",
            )
            files[f"{client.name}.conf"] = _text(site, client, own)
        return files

    def hub_command(self, site: Site) -> list[str]:
        """Returns the server's command line."""
        return ["openvpn", "--config", str(site.folder / "server.conf")]

    def client_command(self, site: Site, client: Node) -> list[str]:
        """Returns a client's command line."""
        return ["openvpn", "--config", str(site.folder / f"{client.name}.conf")]


def _text(site: Site, node: Node, own: tuple[str, ...]) -> str:
    version = site.plan.family
    lines = (
        *own,
        f"dev {TAP}",
        "dev-type tap",
        f"tun-mtu {site.mtu}",
        f"proto udp{version}",
        "ca authority.pem",
        f"cert {node.name}.pem",
        f"key {node.name}.key",
        "data-ciphers AES-128-GCM",
        "allow-compression no",
        "verb 1",
    )
    return "".join(f"{line}\n" for line in lines)
