"""Ways that datagrams take through a node, each measured by what it costs behind the interface.

A process's plane is measured by its CPU time, as everywhere. What a node's kernel does at once with what
comes in, the kernel plane or plain forwarding, is paid by whoever sends to it: by the CPU time of the
generator's calls, less that of as many between them whose packets are dropped at the node's ingress (the
floor). The eBPF program's run time by the kernel's statistics is less than that: it is without the way out
of the last copy. It is taken in calls of its own, for the statistics cost time themselves.
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
_SETTINGS, _REPORTS = "/proc/sys/net/ipv6/conf", "mldv2_unsolicited_report_interval"
_PROGRAM_BY_NUMBER = 13
RUN_SECONDS = 0.04
"""For so long, at most, a program's run time is taken."""


@dataclass(frozen=True)
class Measured:
    """A window, and what it says of process and kernel together."""

    window: Window

    @property
    def kernel_ns(self) -> float:
        """What the node's kernel did for a frame, in ns; 0 where a process does the work."""
        return (self.window.sender_ns - self.window.floor_ns) / max(1, self.window.sent)

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
        below = self.window.sender_ns > 0 and self.kernel_ns <= 0
        return (*self.window.flags, *(("below floor",) if below else ()))


class KernelWay:
    """A relay with the kernel plane: what it costs, and its program's run time."""

    def __init__(self, rig: Rig, server: str) -> None:
        """Finds the program; InstrumentError when the server has none."""
        if server not in rig.in_kernel:
            raise InstrumentError(f"{server}: forwards by sockets, expected the kernel plane")
        self._rig, self._server = rig, server
        self._descriptor = bpf(_PROGRAM_BY_NUMBER, _program_at(rig, server).to_bytes(4, "little"))

    def measure(self, load: Load) -> Measured:
        """Measures load and floor, call by call, then the run time."""
        window = self._rig.measure(self._server, load, paired=True)
        run_ns = self._run_ns(replace(load, seconds=min(load.seconds, RUN_SECONDS)))
        return Measured(replace(window, run_ns=round(run_ns * window.frames_in)))

    def _run_ns(self, load: Load) -> float:
        """Returns the program's run time for a frame, in ns."""
        rig = self._rig
        rig.prepare(self._server, load, paired=True)
        with BpfStats() as stats:
            before = stats.run_time(self._descriptor).ns
            sent = rig.send(load, paired=True)
            spent = stats.run_time(self._descriptor).ns - before
        rig.settle(rig.process(self._server), None)
        return spent / max(1, sent.frames)


class ForwardingWay:
    """A node that routes IPv6 packets to another interface, as any router does."""

    def __init__(self, rig: Rig, node: str) -> None:
        """Makes a node of the rig a router, with a network behind it where all is counted and dropped.

        Batches form again at it as they do at a relay (rx-udp-gro-forwarding). The way out says nothing of
        its own, which would be counted: it has no address, and its multicast reports are put off for weeks.
        """
        self._rig, self._node = rig, node
        ends = _OUT, _END
        quiet = "".join(f"link set dev {end} addrgenmode none\n" for end in ends)
        begin = f"link add {_OUT} type veth peer name {_END}\n{quiet}"
        put_off = "".join(f"echo {2**31 - 1} > {_SETTINGS}/{end}/{_REPORTS}\n" for end in ends)
        script = f"{put_off}echo 1 > {_SETTINGS}/all/forwarding"
        complete = (
            f"link set dev {_OUT} up\nlink set dev {_END} up\n"
            f"route add {_BEHIND_NETWORK} dev {_OUT}\n"
            f"neighbour replace {BEHIND} lladdr {_NEIGHBOUR} dev {_OUT} nud permanent\n"
        )
        run(rig.network, node, ["ip", "-batch", "-"], begin)
        run(rig.network, node, ["sh", "-ec", script])
        run(rig.network, node, ["ip", "-batch", "-"], complete)
        run(rig.network, node, ["ethtool", "-K", SERVER_INTERFACE, "rx-udp-gro-forwarding", "on"])
        through = ["via", str(rig.plan.data_address(node)), "dev", members_interface(node)]
        run(rig.network, MEMBERS, ["ip", "-6", "route", "add", _BEHIND_NETWORK, *through])
        self._out = FilterDrop(rig.network, node, _OUT)

    def measure(self, load: Load) -> Measured:
        """Measures load and floor, call by call; each frame is one packet in and one out."""
        rig, load = self._rig, replace(load, cast="unicast")
        payload = rig.prepare(self._node, load, address=BEHIND, paired=True)
        before = self._out.copies()
        sent = rig.send(load, paired=True)
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
            floor_ns=sent.floor_ns,
        )
        return Measured(window)


def expect_kernel(rig: Rig) -> None:
    """Raises MachineError when a server that was to forward in the kernel does not."""
    for server in rig.servers:
        if "kernel" in server and server not in rig.in_kernel:
            raise MachineError(rig.deployment.log(server).splitlines()[-1])


def _program_at(rig: Rig, server: str) -> int:
    """Returns the number of the program at a server's ingress."""
    argv = ["tc", "-json", "filter", "show", "dev", SERVER_INTERFACE, "ingress"]
    for one in json.loads(run(rig.network, server, argv) or "[]"):
        number = one.get("options", {}).get("prog", {}).get("id")
        if number is not None:
            return int(number)
    raise InstrumentError(f"{server}: no eBPF program at {SERVER_INTERFACE}, expected the relay's")
