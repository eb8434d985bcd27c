"""Ways that datagrams take through a node, each measured by what it costs behind the interface.

A process's plane is measured by its CPU time, as everywhere. What a node's kernel does at once with what
comes in, the kernel plane or plain forwarding, is paid by whoever sends to it: by the CPU time of the
generator's calls, less that of the same calls while all is dropped at the node's ingress (the floor).
The eBPF program's run time by the kernel's statistics is less than that: it is without the way out of
the last copy.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from experiments.instrument.bpf_stats import BpfStats, bpf
from experiments.instrument.filter_drop import FilterDrop
from experiments.instrument.programs import InstrumentError
from experiments.instrument.rig import Rig
from experiments.instrument.settings import run
from experiments.instrument.window import Load, Window
from experiments.isolation import MachineError
from topologies.rig import MEMBERS, SERVER_INTERFACE, members_interface

FORWARDING = "forwarding"
"""Names the way through a node's kernel as a router."""
HUB = "openvpn"
"""Names OpenVPN's hub, which opens and seals."""
BEHIND = "3ffe:ff::1"
"""A host behind the forwarding node."""
_BEHIND_NETWORK = "3ffe:ff::/64"
_OUT, _END = "forward-out", "forward-end"
_NEIGHBOUR = "02:00:00:00:ff:02"
_PROGRAM_BY_NUMBER = 13


@dataclass(frozen=True)
class Measured:
    """A window, and what the generator's calls cost for a frame while all was dropped (ns).

    ``floor_ns`` is None where a process does the work.
    """

    window: Window
    floor_ns: float | None = None

    @property
    def kernel_ns(self) -> float:
        """What the node's kernel did for a frame, in ns; 0 where a process does the work."""
        if self.floor_ns is None:
            return 0.0
        return self.window.sender_ns / max(1, self.window.sent) - self.floor_ns

    @property
    def ns_per_frame(self) -> float:
        """The cost of a datagram in, in ns: the process's and the kernel's together."""
        if not self.window.frames_in:
            return float("nan")
        return self.window.ns_per_frame + self.kernel_ns

    @property
    def ns_per_copy(self) -> float:
        """The cost of a copy out, in ns."""
        return self.ns_per_frame / self.window.load.copies

    @property
    def run_ns_per_frame(self) -> float:
        """The eBPF program's run time for a datagram in, in ns."""
        return self.window.run_ns / max(1, self.window.frames_in)

    @property
    def flags(self) -> tuple[str, ...]:
        """Names what makes it doubtful."""
        below = self.floor_ns is not None and self.kernel_ns <= 0
        return (*self.window.flags, *(("below floor",) if below else ()))


class KernelWay:
    """A relay with the kernel plane: what it costs, and its program's run time."""

    def __init__(self, rig: Rig, server: str, stats: BpfStats) -> None:
        """Finds the program; InstrumentError when the server has none."""
        if server not in rig.in_kernel:
            raise InstrumentError(f"{server}: forwards by sockets, expected the kernel plane")
        self._rig, self._server, self._stats = rig, server, stats
        self._descriptor = bpf(_PROGRAM_BY_NUMBER, _program_at(rig, server).to_bytes(4, "little"))

    def measure(self, load: Load) -> Measured:
        """Measures the floor, then the load."""
        floor = _floor(self._rig, self._server, load)
        before = self._stats.run_time(self._descriptor).ns
        window = self._rig.measure(self._server, load, metered=True)
        spent = self._stats.run_time(self._descriptor).ns - before
        return Measured(replace(window, run_ns=spent), floor)


class ForwardingWay:
    """A node that routes IPv6 packets to another interface, as any router does."""

    def __init__(self, rig: Rig, node: str) -> None:
        """Makes a node of the rig a router, with a network behind it where all is counted and dropped.

        Batches form again at it as they do at a relay (rx-udp-gro-forwarding).
        """
        self._rig, self._node = rig, node
        batch = (
            f"link add {_OUT} type veth peer name {_END}\n"
            f"link set dev {_OUT} up\nlink set dev {_END} up\n"
            f"route add {_BEHIND_NETWORK} dev {_OUT}\n"
            f"neighbour replace {BEHIND} lladdr {_NEIGHBOUR} dev {_OUT} nud permanent\n"
        )
        run(rig.network, node, ["ip", "-batch", "-"], batch)
        script = "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding"
        run(rig.network, node, ["sh", "-ec", script])
        run(rig.network, node, ["ethtool", "-K", SERVER_INTERFACE, "rx-udp-gro-forwarding", "on"])
        through = ["via", str(rig.plan.data_address(node)), "dev", members_interface(node)]
        run(rig.network, MEMBERS, ["ip", "-6", "route", "add", _BEHIND_NETWORK, *through])
        self._out = FilterDrop(rig.network, node, _OUT)

    def measure(self, load: Load) -> Measured:
        """Measures the floor, then the load; each frame is one packet in and one out."""
        rig, load = self._rig, replace(load, cast="unicast")
        floor = _floor(rig, self._node, load, BEHIND)
        payload = rig.prepare(self._node, load, address=BEHIND)
        before = self._out.copies()
        sent = rig.send(load, metered=True)
        rig.settle(rig.process(self._node), None)
        out = self._out.copies().since(before).datagrams(payload)
        window = Window(
            server=FORWARDING,
            load=load,
            seconds=sent.seconds,
            sent=sent.frames,
            frames_in=sent.frames,
            copies_out=out,
            lost=sent.refused,
            cpu_ns=0,
            schedstat_ns=0,
            steal_ns=0,
            saturated=sent.saturated,
            latest_ns=sent.latest_ns,
            sender_ns=sent.cpu_ns,
        )
        return Measured(window, floor)


def expect_kernel(rig: Rig) -> None:
    """Raises MachineError when a server that was to forward in the kernel does not."""
    for server in rig.servers:
        if "kernel" in server and server not in rig.in_kernel:
            raise MachineError(rig.deployment.log(server).splitlines()[-1])


def _floor(rig: Rig, server: str, load: Load, address: str | None = None) -> float:
    """Returns what the generator's calls cost for a frame that is dropped at the node's ingress."""
    rig.prepare(server, load, address=address)
    rig.drops[server].set_ingress(True)
    try:
        sent = rig.send(load, metered=True)
        rig.settle(rig.process(server), None)
    finally:
        rig.drops[server].set_ingress(False)
    return sent.cpu_ns / max(1, sent.frames)


def _program_at(rig: Rig, server: str) -> int:
    """Returns the number of the program at a server's ingress."""
    argv = ["tc", "-json", "filter", "show", "dev", SERVER_INTERFACE, "ingress"]
    for one in json.loads(run(rig.network, server, argv) or "[]"):
        number = one.get("options", {}).get("prog", {}).get("id")
        if number is not None:
            return int(number)
    raise InstrumentError(f"{server}: no eBPF program at {SERVER_INTERFACE}, expected the relay's")
