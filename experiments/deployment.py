"""Puts the real processes on a network: configuration files, users, certificates, and readiness.

Everything a process reads lies in one folder in memory (``/run`` of the isolated run). A process is
ready when it says so itself on its status socket.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.credentials import CertificateAuthority, write_password
from experiments.observation import ike_datagrams
from nodes.planes import best_sockets
from nodes.sections import DEFAULT_DATA_PORT
from nodes.status import StatusError, fetch_status
from nodes.users import UserDatabase
from topologies.emulate import Network
from topologies.plan import Node, Plan

READY_SECONDS = 60.0
POLL_SECONDS = 0.02
ENDED_SECONDS = 30.0
LOG_LINES = 8
RECOVERY_SECONDS = (8, 15)
"""How long clients go on with their SAs when a key server has come back, at least and at most."""
RECOVERY_SECONDS_OF_IKE = 12
"""At least so with IKE, which asks a silent server for some seconds before it sets up another SA."""
CLIENTS_A_SECOND = 2
"""How many clients a key server that has come back registers in a second, at least."""


class DeploymentError(RuntimeError):
    """Says which process did not come up, and its last words."""


@dataclass(frozen=True)
class Settings:
    """What the user may choose about the processes."""

    strip: str = "keep"
    algorithm: str = "aes-128-gcm"
    distribution: str = "delta"
    """Whether VPN servers are told what has changed, or (``full``) the whole tables."""
    mac_reports: bool = True
    """Whether a VPN server's stations are told to the others."""
    member_delivery: str = "patent"
    """Whether packets go to all of a group, or (``spi``) only to those who hold their SA."""
    rekey: str = "on-leave"
    """Which changes bring those who stay a fresh SA (``docs/deviations.md``, 16)."""
    control: str = "tls"
    """What protects registration and keys on their way: ``tls``, or an SA set up by ``ike``."""
    dataplane: str | None = None
    """How servers move datagrams; None: by the best sockets that it has, whose work is the process's."""
    hop_tags: str = "off"
    """Whether relays drop datagrams without the tag of their hop (``required``)."""
    forwarding: str = "relay"
    """Or ``hub``: the server of `single` opens every frame and seals it again."""


@dataclass
class Deployment:
    """The processes that are up on a network."""

    network: Network
    folder: Path
    settings: Settings
    processes: dict[str, subprocess.Popen[Any]] = field(default_factory=dict)

    @property
    def plan(self) -> Plan:
        """The plan of the network."""
        return self.network.plan

    def status(self, node: str) -> dict[str, Any]:
        """Asks a process for its tables and counters."""
        return fetch_status(self.folder / f"{node}.status")

    def keys(self, client: str) -> list[dict[str, Any]]:
        """Asks a client for its SAs with their keys, to open a capture of this run."""
        associations: list[dict[str, Any]] = fetch_status(self.folder / f"{client}.keys")[
            "associations"
        ]
        return associations

    def start(self, node: Node) -> None:
        """Starts a node's process; its output goes to a file of its own."""
        with (self.folder / f"{node.name}.log").open("ab") as log:
            self.processes[node.name] = self.network.popen(
                node.name,
                self.plan.command(node.name, sys.executable, str(self.folder)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def end(self, node: str) -> None:
        """Asks a node's process to end, and waits for it."""
        self.processes[node].terminate()
        self.processes[node].wait(timeout=ENDED_SECONDS)

    def forget(self, node: str) -> None:
        """Takes a process that was to end by itself, and has, out of those that are up."""
        del self.processes[node]

    def kill(self, node: str) -> None:
        """Ends a node's process without a word."""
        self.processes[node].kill()
        self.processes[node].wait(timeout=ENDED_SECONDS)

    def wait(self, node: str, state: str) -> None:
        """Waits until a process is in ``state``; DeploymentError when it ends or takes too long."""
        until(
            lambda: self._is_in(node, state),
            f"{node}: not {state} within {READY_SECONDS:.0f} s",
            lambda: self.log(node),
        )

    def log(self, node: str) -> str:
        """Returns the last words of a node's process."""
        text = (self.folder / f"{node}.log").read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-LOG_LINES:])

    def _is_in(self, node: str, state: str) -> bool:
        code = self.processes[node].poll()
        if code is not None:
            raise DeploymentError(f"{node}: ended with exit code {code}\n{self.log(node)}")
        try:
            return bool(self.status(node)["process"]["state"] == state)
        except StatusError:
            return False


@contextlib.contextmanager
def deploy(network: Network, folder: Path, settings: Settings) -> Iterator[Deployment]:
    """Starts the server, VPN servers, then all clients, waits until all are in their groups, ends them.

    Processes that are still up at the end are asked to stop and leave; the network's teardown ends
    by force what does not.
    """
    deployment = Deployment(network, folder, settings)
    write_files(network.plan, folder, settings)
    if settings.control == "ike":
        for server in network.plan.servers:
            ike_datagrams.start(network, server.name)
    try:
        for server in network.plan.servers:
            deployment.start(server)
            deployment.wait(server.name, "serving")
        for relay in network.plan.relays:
            deployment.start(relay)
        for relay in network.plan.relays:
            deployment.wait(relay.name, "serving")
        for client in network.plan.clients():
            deployment.start(client)
        for client in network.plan.clients():
            deployment.wait(client.name, "registered")
        yield deployment
    finally:
        stop(deployment)


def stop(deployment: Deployment) -> dict[str, int]:
    """Asks all processes to end, clients first, and returns their exit codes."""
    codes = {}
    names = [*(client.name for client in deployment.plan.clients())]
    names += [node.name for node in (*deployment.plan.relays, *deployment.plan.servers)]
    for name in names:
        process = deployment.processes.get(name)
        if process is not None and process.poll() is None:
            process.terminate()
    for name in names:
        process = deployment.processes.get(name)
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                codes[name] = process.wait(timeout=ENDED_SECONDS)
    return codes


def until(
    condition: Callable[[], bool], what: str, details: Callable[[], str] = lambda: ""
) -> None:
    """Waits until ``condition`` holds; DeploymentError ``what`` after READY_SECONDS."""
    deadline = time.monotonic() + READY_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise DeploymentError(f"{what}\n{details()}".rstrip())
        time.sleep(POLL_SECONDS)


def write_files(plan: Plan, folder: Path, settings: Settings) -> None:
    """Writes every file that the processes of ``plan`` read."""
    authority = CertificateAuthority()
    authority.write(folder / "authority.pem")
    users = UserDatabase(folder / "users.sqlite")
    if settings.control == "ike":
        users.keep_nt_hashes()
    for group in plan.groups:
        users.add_group(group.vpn_id)
    for client in plan.clients():
        assert client.user is not None
        assert client.vpn_id is not None
        password = write_password(folder / f"{client.name}.password")
        users.add(client.user, password, client.vpn_id, client.sub_id)
        _write_toml(folder / f"{client.name}.toml", _client_tables(plan, client, settings))
    for server in plan.servers:
        authority.issue(
            plan.data_address(server.name),
            folder / f"{server.name}.pem",
            folder / f"{server.name}.key",
        )
        _write_toml(folder / f"{server.name}.toml", _server_tables(plan, server, settings))
    if plan.relays:
        _write_relays(plan, folder, settings)


def _write_relays(plan: Plan, folder: Path, settings: Settings) -> None:
    """Writes what VPN servers read; who may be one, an authority of its own says.

    Patent: Fig. 15 parts 1502, 1503.
    """
    authority = CertificateAuthority()
    authority.write(folder / "servers-authority.pem")
    for relay in plan.relays:
        authority.issue(relay.name, folder / f"{relay.name}.pem", folder / f"{relay.name}.key")
        _write_toml(folder / f"{relay.name}.toml", _relay_tables(plan, relay, settings))


def _relay_tables(plan: Plan, relay: Node, settings: Settings) -> dict[str, dict[str, Any]]:
    (representative,) = plan.servers
    section = {
        "address": str(plan.data_address(relay.name)),
        "data_port": DEFAULT_DATA_PORT,
        "representative": str(plan.data_address(representative.name)),
        "certificate": f"{relay.name}.pem",
        "private_key": f"{relay.name}.key",
        "certificate_authority": "authority.pem",
        "status_socket": f"{relay.name}.status",
        "strip": settings.strip,
        "hop_tags": settings.hop_tags,
        "dataplane": settings.dataplane or best_sockets(),
    }
    return {"relay": section}


def _server_tables(plan: Plan, server: Node, settings: Settings) -> dict[str, dict[str, Any]]:
    groups = {
        f"groups.{group.vpn_id}": {
            "multicast_address": str(group.multicast_address),
            "algorithm": settings.algorithm,
            "delivery": "multicast" if plan.multicast_routers else "relay",
        }
        for group in plan.groups
    }
    section: dict[str, Any] = {
        "address": str(plan.data_address(server.name)),
        "data_port": DEFAULT_DATA_PORT,
        "certificate": f"{server.name}.pem",
        "private_key": f"{server.name}.key",
        "database": "users.sqlite",
        "status_socket": f"{server.name}.status",
        "admin_socket": f"{server.name}.admin",
        "member_delivery": settings.member_delivery,
        "rekey": settings.rekey,
        "control": settings.control,
        "strip": settings.strip,
        "hop_tags": settings.hop_tags,
        "dataplane": settings.dataplane or best_sockets(),
        **({"forwarding": settings.forwarding} if settings.forwarding != "relay" else {}),
    }
    relays = {
        f"servers.{relay.name}": {
            "address": str(plan.data_address(relay.name)),
            "data_port": DEFAULT_DATA_PORT,
        }
        for relay in plan.relays
    }
    if relays:
        section |= {
            "servers_certificate_authority": "servers-authority.pem",
            "delivery_by": plan.delivery,
            "distribution": settings.distribution,
            "mac_reports": settings.mac_reports,
        }
    return {
        "server": section,
        "timers": {"recovery_s": _recovery_seconds(plan, settings)},
        **groups,
        **relays,
    }


def _recovery_seconds(plan: Plan, settings: Settings) -> int:
    least, most = RECOVERY_SECONDS
    if settings.control == "ike":
        least = RECOVERY_SECONDS_OF_IKE
    return min(most, max(least, len(plan.clients()) // CLIENTS_A_SECOND))


def _client_tables(plan: Plan, client: Node, settings: Settings) -> dict[str, dict[str, Any]]:
    (server,) = plan.servers
    return {
        "client": {
            "server": str(plan.data_address(server.name)),
            "certificate_authority": "authority.pem",
            "user": client.user,
            "password_file": f"{client.name}.password",
            "vpn_id": client.vpn_id,
            "address": str(plan.data_address(client.name)),
            "data_port": DEFAULT_DATA_PORT,
            "status_socket": f"{client.name}.status",
            "key_socket": f"{client.name}.keys",
            "control": settings.control,
        },
        "lan": {"kind": "interface", "name": plan.lan_interface(client.name).name},
    }


def _write_toml(path: Path, tables: Mapping[str, Mapping[str, Any]]) -> None:
    """Writes tables of strings and numbers; nothing else stands in our configuration files."""
    lines = []
    for name, values in tables.items():
        lines.append(f"[{name}]")
        for key, value in values.items():
            lines.append(f"{key} = {_toml_value(value)}")
        lines.append("")
    path.write_text("\n".join(lines), encoding="utf-8")


def _toml_value(value: str | int | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else f'"{value}"'
