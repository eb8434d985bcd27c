"""SoftEther: a virtual hub that opens every frame and seals it again, over TLS.

Configuration, logs and lock files have fixed places in Debian's programs: in each node's mount
namespace folders of the run lie there. `execsvc` stays in the foreground and has a child that does
the work.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from experiments.deployment import DeploymentError
from experiments.peers.adapter import COMMAND_SECONDS, PORT, Peer, Site, run
from topologies.emulate import Network
from topologies.plan import Node

_WRITTEN = ("/var/lib", "/var/log", "/run/softether")
_HUB = "blindrelay"
_ACCOUNT = "blindrelay"
_POLL_SECONDS = 0.2


class SoftEther(Peer):
    """Configured by its own command line tool, from files with its commands."""

    name = "softether"
    title = "SoftEther (virtual hub)"
    programs: ClassVar[Mapping[str, str]] = {
        "vpnserver": "softether-vpnserver",
        "vpnclient": "softether-vpnclient",
        "vpncmd": "softether-vpncmd",
    }
    cipher = "AES-256-GCM (TLS 1.3)"
    remark = "two TCP connections a client; its datagrams (UDP acceleration) are switched off"
    makes_device = True
    device = "vpn_lan"

    def __init__(self) -> None:
        self._password = secrets.token_urlsafe(18)

    def files(self, site: Site) -> dict[str, str]:
        """Returns what the command line tool is to tell each process."""
        server = [
            f"HubCreate {_HUB} /PASSWORD:{self._password}",
            f"ListenerCreate {PORT}",
            f"Hub {_HUB}",
            # It would begin at a time of its own, and change what is measured.
            "ExtOptionSet DisableUdpAcceleration /VALUE:1",
            *(
                line
                for client in site.clients
                for line in (
                    f"UserCreate {client.name} /GROUP:none /REALNAME:none /NOTE:none",
                    f"UserPasswordSet {client.name} /PASSWORD:{self._password}",
                    # Broadcast frames beyond a few a second would be thrown away as a storm.
                    f"UserPolicySet {client.name} /NAME:NoBroadcastLimiter /VALUE:yes",
                )
            ),
        ]
        files = {f"{site.hub.name}.commands": server}
        for client in site.clients:
            files[f"{client.name}.commands"] = [
                "NicCreate lan",
                f"AccountCreate {_ACCOUNT} /SERVER:{site.address(site.hub)}:{PORT} /HUB:{_HUB} "
                f"/USERNAME:{client.name} /NICNAME:lan",
                f"AccountPasswordSet {_ACCOUNT} /PASSWORD:{self._password} /TYPE:standard",
                f"AccountRetrySet {_ACCOUNT} /NUM:999 /INTERVAL:5",
                f"AccountConnect {_ACCOUNT}",
            ]
        return {name: "".join(f"{line}\n" for line in lines) for name, lines in files.items()}

    def hub_command(self, site: Site) -> list[str]:
        """Returns the server's command line."""
        return ["vpnserver", "execsvc"]

    def client_command(self, site: Site, client: Node) -> list[str]:
        """Returns a client's command line."""
        return ["vpnclient", "execsvc"]

    def prepare(self, site: Site, network: Network) -> None:
        """Gives each node's mount namespace the folders that Debian's programs write to."""
        Path("/run/softether").mkdir(exist_ok=True)  # in the run's own /run
        for node in (site.hub, *site.clients):
            for place in _WRITTEN:
                own = site.folder / f"{node.name}{place}"
                (own / "softether").mkdir(parents=True)
                run(network, node.name, ["mount", "--bind", str(own), place])

    def configure(self, site: Site, network: Network) -> None:
        """Has the tool tell the server first, then the clients."""
        _tell(site, network, site.hub.name, ["/SERVER", "localhost:443"])
        for client in site.clients:
            _tell(site, network, client.name, ["/CLIENT", "localhost"])


def _tell(site: Site, network: Network, node: str, whom: list[str]) -> None:
    """Runs the tool with a node's file of commands, again while the process does not listen yet."""
    commands = site.folder / f"{node}.commands"
    deadline = time.monotonic() + COMMAND_SECONDS
    while True:
        told = network.run(node, ["vpncmd", *whom, f"/IN:{commands}"], COMMAND_SECONDS)
        if not told.returncode:
            return
        if time.monotonic() > deadline:
            raise DeploymentError(f"{node}: vpncmd: {_error(told.stdout)}")
        time.sleep(_POLL_SECONDS)


def _error(said: str) -> str:
    """Returns the tool's last words, without the commands: passwords stand in them."""
    lines = [line for line in said.splitlines() if "rror" in line]
    return " ".join(lines[-2:])
