"""What is measured: how datagrams come, through which planes, and against which bars."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from experiments.instrument.servers import ROUTER as ROUTER_WORD
from experiments.instrument.servers import requires_tags
from experiments.instrument.settings import Wire
from experiments.instrument.window import Cast, Load
from experiments.planes import server
from experiments.planes.ways import FORWARDING, HUB
from protocol.wire.vpn_header import HOP_TAG_LENGTH

FRAME_SIZE = 1360
"""Octets of a frame: the largest on a path of 1500. With tags it is 8 less, and the packet the same."""
BURST = 44
"""Datagrams that one call of the generator carries on a bulk flow: as many as go into one skb."""
MEMBERS = 3
PLANES = ("socket", "batch", "kernel")
TAGGED = tuple(f"{plane}-tags" for plane in PLANES)
NULL_SOCKET, NULL_BATCH = "null-socket", "null-batch"
KEPT, ANEW = (tuple(f"{plane}-{word}" for plane in PLANES) for word in (server.KEPT, server.ANEW))
"""A copy more goes to a client, the sender's tag kept, or to a VPN server, under a tag made anew."""
SIDE_BY_SIDE = (NULL_SOCKET, NULL_BATCH, *PLANES, *TAGGED)
ROUTER = f"null-{ROUTER_WORD}"
"""The node whose kernel is a router; nothing is for its process."""
SERVERS = (*SIDE_BY_SIDE, *KEPT, *ANEW, ROUTER)

Flow = Literal["single", "bulk", "whole"]
FLOWS: tuple[Flow, ...] = ("single", "bulk", "whole")
"""One datagram at a time; long runs of one flow, cut on the wire; the same uncut, as no wire has it."""
TIMES_LONGER, CALLS_A_SECOND = 4, 6000
"""So much longer are the windows of long runs where a kernel does the work, and so close the calls, whatever
the rate: there a datagram costs little, and that is told by the difference of two medians of many calls."""


@dataclass(frozen=True)
class Cell:
    """One way for datagrams to come, to all others (2 copies) or to one; ``onward``: to somebody more."""

    flow: Flow
    cast: Cast
    onward: bool = False

    @property
    def wire(self) -> Wire:
        """Whether batches pass uncut."""
        return "whole" if self.flow == "whole" else "segmented"

    @property
    def variants(self) -> tuple[str, ...]:
        """What is measured side by side: all planes, or those that plain forwarding is set against."""
        if self.onward:
            return (*KEPT, *ANEW)
        if self.cast == "broadcast":
            return SIDE_BY_SIDE
        return ("batch-tags", "kernel", "kernel-tags", FORWARDING, HUB)

    @property
    def name(self) -> str:
        """Names it in figures."""
        if self.onward:
            return f"{self.flow}.onward"
        return f"{self.flow}.{'two_copies' if self.cast == 'broadcast' else 'one_copy'}"

    def load(self, variant: str, rate: float, seconds: float) -> Load:
        """Returns what a variant is offered: at least one burst."""
        size = FRAME_SIZE - HOP_TAG_LENGTH if requires_tags(variant) else FRAME_SIZE
        burst = 1 if self.flow == "single" else BURST
        if burst > 1 and (variant == FORWARDING or "kernel" in variant.split("-")):
            seconds *= TIMES_LONGER
            rate = CALLS_A_SECOND * float(burst)
        load = Load(MEMBERS, size, self.cast, rate, seconds, burst, int(self.onward))
        return replace(load, seconds=max(seconds, burst / rate))


@dataclass(frozen=True)
class Bar:
    """What was asked for: a ratio, and how high it may be."""

    name: str
    cell: Cell
    over: str
    under: str
    limit: float

    def judge(self, low: float, high: float) -> str:
        """Says by the interval whether it is met: one on both sides, or down to 0, leaves it open."""
        return judge(low, high, self.limit)


def judge(low: float, high: float, limit: float) -> str:
    """Says whether an interval is below a limit: met, missed or, on both sides or down to 0, open."""
    if low > 0 and high <= limit:
        return "met"
    return "missed" if low > limit else "open"


def _planes(flow: Flow) -> Cell:
    return Cell(flow, "broadcast")


def _forwarded(flow: Flow) -> Cell:
    return Cell(flow, "unicast")


def _onward(flow: Flow) -> Cell:
    return Cell(flow, "broadcast", onward=True)


CELLS = (
    *(cell(flow) for flow in FLOWS for cell in (_planes, _forwarded)),
    *(_onward(flow) for flow in FLOWS if flow != "whole"),
)
BARS = (
    Bar("kernel_over_socket.single", _planes("single"), "kernel-tags", "socket-tags", 1 / 6),
    Bar("kernel_over_socket.bulk", _planes("bulk"), "kernel-tags", "socket-tags", 1 / 6),
    Bar("batch_over_socket.bulk", _planes("bulk"), "batch-tags", "socket-tags", 1 / 6),
    Bar("batch_over_socket.whole", _planes("whole"), "batch-tags", "socket-tags", 1 / 10),
    *(
        Bar(f"kernel_over_forwarding.{flow}", _forwarded(flow), "kernel-tags", FORWARDING, 2.0)
        for flow in FLOWS
    ),
    Bar("kernel_over_openvpn.single", _forwarded("single"), "kernel-tags", HUB, 1 / 5),
    Bar("kernel_over_openvpn.bulk", _forwarded("bulk"), "kernel-tags", HUB, 1 / 20),
    Bar("kernel_over_openvpn.whole", _forwarded("whole"), "kernel-tags", HUB, 1 / 60),
)
"""Both sides of a ratio send as many copies. Those of TCP are in `experiments.planes.tcp`."""
