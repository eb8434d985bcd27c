"""tinc 1.0 in switch mode: clients know the hub alone, which opens every frame and seals it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from experiments.credentials import write_private
from experiments.peers.adapter import PORT, TAP, Peer, Site
from topologies.plan import Node

_RSA_BITS = 2048
_RSA_EXPONENT = 65537


class Tinc(Peer):
    """One folder of configuration a node; all nodes' public keys are handed out beforehand."""

    name = "tinc"
    title = "tinc 1.0 (switch, via the hub)"
    programs: ClassVar[Mapping[str, str]] = {"tincd": "tinc"}
    cipher = "AES-128-CBC with HMAC-SHA1 (1.0 has no AEAD)"

    def keys(self, site: Site) -> None:
        """Makes an RSA key for each node, in the forms that tinc reads."""
        for node in (site.hub, *site.clients):
            folder = site.folder / node.name
            folder.mkdir()
            own = rsa.generate_private_key(_RSA_EXPONENT, _RSA_BITS)
            private = own.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
            write_private(folder / "rsa_key.priv", private)
            public = own.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.PKCS1
            )
            (site.folder / f"{node.name}.public").write_bytes(public)

    def files(self, site: Site) -> dict[str, str]:
        """Returns each node's tinc.conf and what it knows of the hosts: clients know the hub's."""
        files = {}
        everybody = (site.hub, *site.clients)
        for node in everybody:
            files[f"{node.name}/tinc.conf"] = _configuration(site, node)
            known = everybody if node is site.hub else (site.hub, node)
            for other in known:
                public = site.folder / f"{other.name}.public"
                key = public.read_text(encoding="ascii") if public.exists() else ""
                files[f"{node.name}/hosts/{other.name}"] = _host(site, other) + key
        return files

    def hub_command(self, site: Site) -> list[str]:
        """Returns the hub's command line."""
        return self.client_command(site, site.hub)

    def client_command(self, site: Site, client: Node) -> list[str]:
        """Returns a node's command line: hub and clients differ in their files alone."""
        folder = site.folder / client.name
        return ["tincd", "-c", str(folder), "-D", "-d1", f"--pidfile={folder / 'pid'}"]


def _configuration(site: Site, node: Node) -> str:
    lines = [
        f"Name = {node.name}",
        "Mode = switch",
        "DeviceType = tap",
        f"Interface = {TAP}",
        "AddressFamily = ipv6" if site.plan.family == 6 else "AddressFamily = ipv4",
        f"BindToAddress = {site.address(node)}",
        "PingInterval = 60",
        "MaxTimeout = 5",
    ]
    if node is not site.hub:
        lines.append(f"ConnectTo = {site.hub.name}")
    return "".join(f"{line}\n" for line in lines)


def _host(site: Site, node: Node) -> str:
    lines = [
        f"Port = {PORT}",
        "Cipher = aes-128-cbc",
        "Digest = sha1",
        "MACLength = 12",
        "Compression = 0",
    ]
    if node is site.hub:
        lines.append(f"Address = {site.address(node)}")
    else:
        lines.append("IndirectData = yes")
    return "".join(f"{line}\n" for line in lines)
