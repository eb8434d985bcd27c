"""Faults while frames flow: a VPN server is killed, the representative is killed and comes back.

Patent: Figs. 15-19.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.deployment import Deployment, until
from experiments.traffic.steady import streaming
from nodes.sections import DEFAULT_DATA_PORT
from nodes.status import StatusError
from topologies.plan import Node, Plan

FLOWING_FRAMES = 50
"""Frames of the steady stream before and after a fault: half a second of them."""


@dataclass(frozen=True)
class ServerLoss:
    """What killing a VPN server showed."""

    server: str
    moved: dict[str, str]
    """The server that each of its clients has now."""
    resumed: bool
    gap: float
    """The longest time without a frame at the receiver, in s."""
    repeated: int
    returned: bool
    """Whether the server, started again, is up once more."""


@dataclass(frozen=True)
class RepresentativeLoss:
    """What killing the representative showed."""

    away: float
    """Seconds from its end to its clients' being registered again."""
    missing: int
    """Frames of the steady stream that never came, over all that time."""
    repeated: int
    spis_before: frozenset[str]
    spis_after: frozenset[str]
    sender_ids: Sequence[tuple[str, int]]
    """(SPI, sender ID) of every client, before and after."""
    waited: bool | None
    """Whether a client that was started meanwhile was registered only afterwards; None without one."""


def kill_vpn_server(deployment: Deployment, folder: Path) -> ServerLoss:
    """Kills the VPN server of the first client: its clients get others, and frames flow again."""
    plan = deployment.plan
    sender, receiver = far_apart(deployment)
    victim = server_of(deployment, plan.client_of(sender).name)
    clients = [one.name for one in plan.clients() if server_of(deployment, one.name) == victim]
    with streaming(deployment.network, folder, sender, [receiver]) as stream:
        stream.wait_for_frames(FLOWING_FRAMES)
        begin = time.monotonic_ns()
        deployment.kill(victim)
        until(
            lambda: all(server_of(deployment, client) != victim for client in clients),
            f"the clients of {victim} have got no other server",
        )
        resumed = stream.more_frames(FLOWING_FRAMES)
        end = time.monotonic_ns()
    moved = {client: server_of(deployment, client) for client in clients}
    deployment.start(plan.node(victim))
    deployment.wait(victim, "serving")
    return ServerLoss(
        victim, moved, resumed, stream.longest_gap(begin, end), stream.repeated(), True
    )


def kill_representative(deployment: Deployment, folder: Path) -> RepresentativeLoss:
    """Kills the representative: frames go on; one client starts anew meanwhile and has to wait.

    Where the stream needs every client, none does.
    """
    plan = deployment.plan
    (representative,) = plan.servers
    sender, receiver = far_apart(deployment)
    bystander = _bystander(plan, sender, receiver)
    clients = [client.name for client in plan.clients()]
    before = {client: _association(deployment, client) for client in clients}
    with streaming(deployment.network, folder, sender, [receiver]) as stream:
        stream.wait_for_frames(FLOWING_FRAMES)
        if bystander is not None:
            deployment.end(bystander.name)
        begin = time.monotonic()
        deployment.kill(representative.name)
        if bystander is not None:
            deployment.start(bystander)
        stream.wait_for_frames(2 * FLOWING_FRAMES)
        waited = None if bystander is None else _is_waiting(deployment, bystander.name)
        deployment.start(representative)
        deployment.wait(representative.name, "serving")
        until(
            lambda: all(_is_new(deployment, client, before[client]) for client in clients),
            "the clients have not registered again",
        )
        away = time.monotonic() - begin
        stream.wait_for_frames(FLOWING_FRAMES)
        until(
            lambda: all(_seals_with_new(deployment, client, before[client]) for client in clients),
            "the clients have not gone over to the new SA",
        )
        stream.wait_for_frames(FLOWING_FRAMES)
    after = {client: _association(deployment, client) for client in clients}
    return RepresentativeLoss(
        away,
        stream.missing(),
        stream.repeated(),
        frozenset(spi for spi, _ in before.values()),
        frozenset(spi for spi, _ in after.values()),
        [*before.values(), *after.values()],
        waited,
    )


def far_apart(deployment: Deployment) -> tuple[str, str]:
    """Names a terminal of the first client, and one of a client of its group with another server.

    Where all have the same one, it is the next client's.
    """
    plan = deployment.plan
    first, *others = plan.clients(plan.groups[0].vpn_id)
    near = server_of(deployment, first.name)
    there = next((one for one in others if server_of(deployment, one.name) != near), others[0])
    return plan.terminals_of(first.name)[0].name, plan.terminals_of(there.name)[0].name


def server_of(deployment: Deployment, client: str) -> str:
    """Names the VPN server that a client sends to, by its own word."""
    table = deployment.status(client)["tables"]["309 VPN information"]
    if not table["rows"]:
        return ""
    given = table["rows"][0][table["columns"].index("server")]
    for relay in deployment.plan.relays:
        address = deployment.plan.data_address(relay.name)
        if given in (f"[{address}]:{DEFAULT_DATA_PORT}", f"{address}:{DEFAULT_DATA_PORT}"):
            return relay.name
    return ""


def _bystander(plan: Plan, sender: str, receiver: str) -> Node | None:
    """Finds a client that the stream does not need."""
    busy = {plan.client_of(sender), plan.client_of(receiver)}
    return next((one for one in reversed(plan.clients()) if one not in busy), None)


def _is_waiting(deployment: Deployment, client: str) -> bool:
    return _state(deployment, client) not in ("registered", "ended")


def _association(deployment: Deployment, client: str) -> tuple[str, int]:
    """Returns (SPI, sender ID) of the SA that a client seals with."""
    table = deployment.status(client)["tables"]["308 SA management"]
    columns = table["columns"]
    (row,) = (row for row in table["rows"] if row[columns.index("seals")])
    return row[columns.index("SPI")], row[columns.index("sender ID")]


def _is_new(deployment: Deployment, client: str, before: tuple[str, int]) -> bool:
    """Tells whether a client holds an SA of the representative that came back."""
    try:
        table = deployment.status(client)["tables"]["308 SA management"]
    except StatusError:
        return False
    spis = {row[table["columns"].index("SPI")] for row in table["rows"]}
    return _state(deployment, client) == "registered" and bool(spis - {before[0]})


def _seals_with_new(deployment: Deployment, client: str, before: tuple[str, int]) -> bool:
    return _association(deployment, client)[0] != before[0]


def _state(deployment: Deployment, client: str) -> str:
    try:
        return str(deployment.status(client)["process"]["state"])
    except StatusError:
        return "starting"
