"""fastd in TAP mode with forwarding: the hub opens every frame and seals it again."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from typing import ClassVar

from experiments.deployment import DeploymentError
from experiments.peers.adapter import COMMAND_SECONDS, PORT, TAP, Peer, Site
from topologies.plan import Node


class Fastd(Peer):
    """One file a node; the hub knows the clients' public keys, the clients the hub's."""

    name = "fastd"
    title = "fastd (TAP, forward)"
    programs: ClassVar[Mapping[str, str]] = {"fastd": "fastd"}
    cipher = "AES-128-GCM"

    def __init__(self) -> None:
        self._pairs: dict[str, tuple[str, str]] = {}

    def keys(self, site: Site) -> None:
        """Has fastd make a pair of keys for each node: secret and public."""
        for node in (site.hub, *site.clients):
            secret = _fastd("--generate-key")
            public = _fastd("--config", "-", "--show-key", text=f'secret "{secret}";\n')
            self._pairs[node.name] = secret, public

    def files(self, site: Site) -> dict[str, str]:
        """Returns one configuration for each node."""
        files = {}
        for node in (site.hub, *site.clients):
            secret, _ = self._pairs.get(node.name, ("", ""))
            others = site.clients if node is site.hub else (site.hub,)
            lines = [
                "mode tap;",
                f'interface "{TAP}";',
                f"mtu {site.mtu};",
                'method "aes128-gcm";',
                f"bind {_bracketed(site, node)}:{PORT};",
                f'secret "{secret}";',
                "log level verbose;",
            ]
            if node is site.hub:
                lines.append("forward yes;")
            for other in others:
                _, public = self._pairs.get(other.name, ("", ""))
                remote = f"remote {_bracketed(site, other)}:{PORT};"
                lines.append(f'peer "{other.name}" {{ key "{public}"; {remote} }}')
            files[f"{node.name}.conf"] = "".join(f"{line}\n" for line in lines)
        return files

    def hub_command(self, site: Site) -> list[str]:
        """Returns the hub's command line."""
        return self.client_command(site, site.hub)

    def client_command(self, site: Site, client: Node) -> list[str]:
        """Returns a node's command line."""
        return ["fastd", "--config", str(site.folder / f"{client.name}.conf")]


def _bracketed(site: Site, node: Node) -> str:
    address = site.address(node)
    return f"[{address}]" if site.plan.family == 6 else address


def _fastd(*arguments: str, text: str = "") -> str:
    """Runs fastd to its end; returns the key that it writes."""
    done = subprocess.run(
        ["fastd", "--machine-readable", *arguments],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=COMMAND_SECONDS,
    )
    if done.returncode:
        raise DeploymentError(f"fastd: no key: {' '.join(done.stderr.split())}")
    return done.stdout.strip()
