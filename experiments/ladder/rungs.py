"""What is measured: the rungs through each data plane, and how datagrams come to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from experiments.instrument.settings import Wire
from experiments.instrument.window import Load
from experiments.planes.cells import BURST, CALLS_A_SECOND, FLOWS, Flow

RUNGS = {
    "null": "null forwarder",
    "relay": "blind relay",
    "tags": "blind relay, hop tags",
    "plain": "hub, no cipher",
    "gcm": "hub, AES-GCM",
    "cbc": "hub, AES-CBC + HMAC-SHA1",
}
"""Each rung's word in servers' names, and what it is called."""
HUBS = ("plain", "gcm", "cbc")
SOCKET, BATCH, KERNEL = PLANES = ("socket", "batch", "kernel")
IN_KERNEL = ("relay", "tags")
"""The rungs that the kernel can do: nothing else decides by flows."""
BASE_SIZE, SIZES = 1340, (64, 512)
"""Octets of a frame: the largest that fits a path of 1500 on every rung, and further ones."""
BASE_MEMBERS, GROUPS = 3, (8, 16)
"""Clients in the group: each frame goes to all others, so that there are one copy less."""


def server(rung: str, plane: str) -> str:
    """Names the server that is a rung in a plane."""
    return f"{rung}-{plane}"


def rung_of(name: str) -> str:
    """Returns the rung that a server is."""
    return name.partition("-")[0]


def plane_of(name: str) -> str:
    """Returns the data plane of a server."""
    return name.partition("-")[2]


PROCESSES = tuple(server(rung, plane) for plane in (SOCKET, BATCH) for rung in RUNGS)
SERVERS = (*PROCESSES, *(server(rung, KERNEL) for rung in IN_KERNEL))
REFERENCE, SLOWEST = server("null", SOCKET), server("cbc", SOCKET)
AGAIN = "again"
"""The socket relay's second place in each block: the same process, measured against itself."""
MEASURED_AGAIN = server("relay", SOCKET)


@dataclass(frozen=True)
class Cell:
    """One way for datagrams to come: each to all others of its group."""

    flow: Flow
    members: int = BASE_MEMBERS
    size: int = BASE_SIZE

    @property
    def wire(self) -> Wire:
        """Whether batches pass uncut."""
        return "whole" if self.flow == "whole" else "segmented"

    @property
    def is_base(self) -> bool:
        """Tells whether group and frame size are the usual ones."""
        return (self.members, self.size) == (BASE_MEMBERS, BASE_SIZE)

    @property
    def variants(self) -> tuple[str, ...]:
        """What is measured side by side."""
        return (*SERVERS, AGAIN)

    @property
    def name(self) -> str:
        """Names it in figures."""
        return f"{self.flow}.n{self.members}.{self.size}"

    def load(self, variant: str, rate: float, seconds: float) -> Load:
        """Returns what a variant is offered: at least one burst."""
        burst = 1 if self.flow == "single" else BURST
        if burst > 1 and plane_of(variant) == KERNEL:
            rate = CALLS_A_SECOND * float(burst)
        load = Load(self.members, self.size, "broadcast", rate, seconds, burst)
        return replace(load, seconds=max(seconds, burst / rate))


def cells(quick: bool) -> Iterator[Cell]:
    """Yields the cells: all flows with the usual frames, and (not ``quick``) sizes and groups."""
    for flow in FLOWS:
        yield Cell(flow)
    if not quick:
        for flow in ("single", "bulk"):
            yield from (Cell(flow, size=size) for size in SIZES)
            yield from (Cell(flow, members=members) for members in GROUPS)


def groups(quick: bool) -> tuple[int, ...]:
    """Returns the sizes of the groups that every server has."""
    return (BASE_MEMBERS,) if quick else (BASE_MEMBERS, *GROUPS)
