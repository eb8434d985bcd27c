"""A representative, VPN servers at three sites, and a client with one terminal at each."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.deployment import Settings, write_files
from experiments.traffic.probe import ETHERTYPE, ProbeFrame, mac_from_text
from tests.namespaces import inside
from tests.nodes.hostile import BROADCAST, MARKER, STATION, Bystander, closing
from tests.nodes.running import Crew, eventually
from topologies.catalog import cascade, multiserver
from topologies.plan import Plan

SERVERS_PORT = 4792
RELAYS = ("a", "b", "c")
CLIENTS = ("c1", "c2", "c3")
TERMINALS = ("t1a", "t2a", "t3a")
QUIET_SECONDS = 0.6
"""No copy is so late: no way through the servers has a delay of more than a tenth of a second."""
LATE_SECONDS = 20.0
"""How late what is due may come on a busy machine."""


def sites(delivery: str) -> Plan:
    """Plans three sites with a client each; client n's nearest server is that of its own site."""
    plan = multiserver if delivery == "direct" else cascade
    return plan(clients=3, terminals=1, second_group=0, servers=3)


def written(plan: Plan, folder: Path, distribution: str = "delta") -> Path:
    """Writes what all processes read."""
    write_files(plan, folder, Settings(distribution=distribution))
    return folder


def numbered(number: int) -> bytes:
    """Returns a broadcast frame that is like no other."""
    macs = mac_from_text(BROADCAST), mac_from_text(STATION)
    return ProbeFrame(*macs, MARKER, 0, number, 100).to_bytes()


def copies_of_broadcasts(crew: Crew, count: int = 20, sender: str = "t1a") -> dict[str, list[int]]:
    """Sends frames from a terminal; returns how often each of them reached each other terminal."""
    network = crew.network
    others = [name for name in TERMINALS if name != sender]
    frames = [numbered(number) for number in range(count)]
    counts = {}
    watching = [Bystander(network, name) for name in others]
    with closing(*watching), inside(network.pid(sender)), _packets(network, sender) as out:
        for frame in frames:
            out.send(frame)
        for name, bystander in zip(others, watching, strict=True):
            came = _until_quiet(bystander, count)
            counts[name] = [came.count(frame) for frame in frames]
    return counts


def _until_quiet(bystander: Bystander, due: int) -> list[bytes]:
    """Returns what comes until nothing does for a while; for what is due it waits longer."""
    came: list[bytes] = []
    while True:
        frame = bystander.next_frame(LATE_SECONDS if len(came) < due else QUIET_SECONDS)
        if frame is None:
            return came
        came.append(frame)


@contextlib.contextmanager
def _packets(network: Any, terminal: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as opened:
        opened.bind((network.plan.lan_interface(terminal).name, ETHERTYPE))
        yield opened


def all_reach(crew: Crew) -> bool:
    """Tells whether every terminal reaches every other."""
    pairs = [(one, other) for one in TERMINALS for other in TERMINALS if one != other]
    return all(crew.reach(one, other) for one, other in pairs)


def server_of(crew: Crew, client: str) -> str:
    """Returns the address that a client sends to."""
    return str(crew.rows(client, "309")[0][0])


def place(crew: Crew, relay: str) -> str:
    """Returns a VPN server's data address as tables show it."""
    return f"[{crew.network.plan.data_address(relay)}]:4790"


def sender_ids(crew: Crew) -> list[tuple[str, int]]:
    """Returns (SPI, sender ID) of every SA that a client holds."""
    return [(row[1], row[3]) for client in CLIENTS for row in crew.rows(client, "308")]


def impostor(crew: Crew, certificate: str, relay: str = "c") -> ssl.SSLSocket:
    """Opens a VPN server's connection from the site of ``relay`` with any certificate in the folder."""
    context = ssl.create_default_context(cafile=str(crew.folder / "authority.pem"))
    context.load_cert_chain(crew.folder / f"{certificate}.pem", crew.folder / f"{certificate}.key")
    address = str(crew.network.plan.data_address("server"))
    with inside(crew.network.pid(relay)):
        opened = socket.create_connection((address, SERVERS_PORT), 60)
    return context.wrap_socket(opened, server_hostname=address)


def settled(crew: Crew) -> bool:
    """Waits until every VPN server has applied all that it was told."""

    def equal() -> bool:
        rows = {row[0]: row[4] for row in crew.rows("server", "VPN servers") if row[2]}
        return all(crew.status(name)["process"]["sequence"] == told for name, told in rows.items())

    return eventually(equal)
