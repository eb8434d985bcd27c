"""Starts the servers of the rig, and writes what they and the members read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from experiments.credentials import CertificateAuthority, write_password
from experiments.deployment import Deployment, Settings, stop
from experiments.instrument.members import GeneratorFile, GroupOfMembers, MemberFile, ServerAddress
from experiments.instrument.no_cipher import STAND_IN
from nodes.planes import best_sockets
from nodes.sections import DEFAULT_CONTROL_PORT, DEFAULT_DATA_PORT
from nodes.users import UserDatabase
from protocol.types import VpnId
from topologies.emulate import Network
from topologies.plan import Plan
from topologies.rig import MEMBERS, members_interface, vpn_id_of

GENERATOR_FILE = "generator.json"
TAGS = frozenset({"tags", "kept", "anew"})
"""Words in a server's name that have it require hop tags; the last two are `experiments.planes.server`'s."""
ROUTER = "router"
"""A word in the name of a server whose node shall route: what passes is counted as at the kernel plane."""
_NO_KEEPALIVE_S = 28_800
_FORWARDING = ("null", "relay", "hub")
_PLANES = ("socket", "batch", "kernel")
CIPHERS = {"plain": STAND_IN, "gcm": "aes-128-gcm", "cbc": "aes-128-cbc-hmac-sha1"}
"""What a word of a hub's name says of how it seals: with nothing at all, as today, as in 2004."""


@contextlib.contextmanager
def serving(
    network: Network,
    folder: Path,
    groups: tuple[int, ...],
    algorithm: str,
    dataplane: str | None = None,
) -> Iterator[Deployment]:
    """Starts all servers of the rig and ends them; DeploymentError when one does not come up."""
    plan = network.plan
    authority = CertificateAuthority()
    authority.write(folder / "authority.pem")
    passwords = _register_users(folder, groups)
    for server in plan.servers:
        certificate, key = folder / f"{server.name}.pem", folder / f"{server.name}.key"
        authority.issue(plan.data_address(server.name), certificate, key)
        text = _configuration(plan, server.name, algorithm, dataplane)
        (folder / f"{server.name}.toml").write_text(text, encoding="utf-8")
    written = msgspec.json.encode(_generator_file(plan, folder, groups, passwords))
    (folder / GENERATOR_FILE).write_bytes(written)
    deployment = Deployment(network, folder, Settings(algorithm=algorithm))
    try:
        for server in plan.servers:
            deployment.start(server)
        for server in plan.servers:
            deployment.wait(server.name, "serving")
        yield deployment
    finally:
        stop(deployment)


def _register_users(folder: Path, groups: tuple[int, ...]) -> dict[str, Path]:
    users = UserDatabase(folder / "users.sqlite")
    files = {}
    for size in groups:
        users.add_group(VpnId(vpn_id_of(size)))
        for name in _users_of(size):
            files[name] = folder / f"{name}.password"
            users.add(name, write_password(files[name]), VpnId(vpn_id_of(size)))
    return files


def _users_of(size: int) -> list[str]:
    return [f"member-{size}-{index}" for index in range(1, size + 1)]


def _configuration(plan: Plan, server: str, algorithm: str, dataplane: str | None) -> str:
    """Returns a server's file: its way of forwarding, and no keep-alive while we measure."""
    lines = [
        "[server]",
        f'address = "{plan.data_address(server)}"',
        f'certificate = "{server}.pem"',
        f'private_key = "{server}.key"',
        'database = "users.sqlite"',
        f'status_socket = "{server}.status"',
        f'forwarding = "{forwarding_of(server)}"',
        f'dataplane = "{plane_of(server) or dataplane or best_sockets()}"',
        f'hop_tags = "{"required" if requires_tags(server) else "off"}"',
        "[timers]",
        f"keepalive_s = {_NO_KEEPALIVE_S}",
        f"timeout_s = {3 * _NO_KEEPALIVE_S}",
    ]
    algorithm = next((CIPHERS[word] for word in server.split("-") if word in CIPHERS), algorithm)
    for group in plan.groups:
        lines += [
            f"[groups.{group.vpn_id}]",
            f'multicast_address = "{group.multicast_address}"',
            f'algorithm = "{algorithm}"',
        ]
    return "".join(f"{line}\n" for line in lines)


def requires_tags(server: str) -> bool:
    """Tells whether a word of a server's name has it require hop tags."""
    return not TAGS.isdisjoint(server.split("-"))


def forwarding_of(server: str) -> str:
    """Returns how a server forwards: what a word of its name says, or as a relay."""
    words = server.split("-")
    usual = "hub" if any(word in CIPHERS for word in words) else "relay"
    return next((word for word in words if word in _FORWARDING), usual)


def plane_of(server: str) -> str | None:
    """Returns a server's data plane: what a word of its name says, if one does."""
    return next((word for word in server.split("-") if word in _PLANES), None)


def _generator_file(
    plan: Plan, folder: Path, groups: tuple[int, ...], passwords: dict[str, Path]
) -> GeneratorFile:
    servers = {
        server.name: ServerAddress(
            str(plan.data_address(server.name)), DEFAULT_CONTROL_PORT, DEFAULT_DATA_PORT
        )
        for server in plan.servers
    }
    addresses = {server.name: _member_addresses(plan, server.name) for server in plan.servers}
    described = []
    place = 0
    for size in groups:
        members = []
        for name in _users_of(size):
            here = {server: found[place] for server, found in addresses.items()}
            members.append(MemberFile(name, str(passwords[name]), here))
            place += 1
        described.append(GroupOfMembers(size, vpn_id_of(size), members))
    plain = any("plain" in server.split("-") for server in servers)
    return GeneratorFile(str(folder / "authority.pem"), servers, described, plain)


def _member_addresses(plan: Plan, server: str) -> list[str]:
    for interface in plan.interfaces(MEMBERS):
        if interface.name == members_interface(server):
            return [str(address.ip) for address in interface.addresses]
    raise ValueError(f"server {server}: expected a link to the members")
