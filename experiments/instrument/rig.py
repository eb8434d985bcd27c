"""The rig: servers, members and settings, up and ready to measure windows."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from experiments.deployment import Deployment
from experiments.instrument import accounting
from experiments.instrument.commands import Prepare, Send, Sent
from experiments.instrument.filter_drop import FilterDrop
from experiments.instrument.interface_drop import ARRIVED_OCTETS, InterfaceDrop
from experiments.instrument.nftables import load
from experiments.instrument.programs import GeneratorHandle, program
from experiments.instrument.servers import (
    GENERATOR_FILE,
    ROUTER,
    forwarding_of,
    plane_of,
    serving,
)
from experiments.instrument.settings import (
    Cores,
    Wire,
    choose_cores,
    join_batches,
    kept_to,
    pin,
    run,
    set_wire,
    steer,
)
from experiments.instrument.window import Cast, Load, Window
from topologies.emulate import Network, emulate
from topologies.plan import Plan
from topologies.rig import (
    MEMBERS,
    SERVER_INTERFACE,
    bridge_of,
    members_interface,
    rig,
    unknown_neighbour,
)

SETTLE_SECONDS = 2.0
PAIRED_BATCHES = 16
"""So many go over and over in pairs of calls: no more than stay in a core's cache."""
_QUIET_SECONDS = 0.015
_POLL_SECONDS = 0.003


@dataclass
class Rig:
    """The measured servers with all that belongs to them."""

    network: Network
    deployment: Deployment
    folder: Path
    cores: Cores
    wire: Wire
    drops: dict[str, InterfaceDrop]
    generator: GeneratorHandle
    in_kernel: frozenset[str] = frozenset()
    """Servers that do forward in the kernel."""

    @property
    def plan(self) -> Plan:
        """The plan of the network."""
        return self.network.plan

    @property
    def servers(self) -> tuple[str, ...]:
        """Names the servers."""
        return tuple(server.name for server in self.plan.servers)

    def process(self, server: str) -> int:
        """Returns the ID of a server's process."""
        return self.deployment.processes[server].pid

    def window(
        self,
        server: str,
        frame_size: int,
        cast: Cast,
        rate: float,
        seconds: float,
        members: int,
        burst: int = 1,
    ) -> Window:
        """Measures one server's process under one load.

        ``rate`` is in frames a second, ``members`` the size of the group, ``burst`` how many
        datagrams one system call of the generator carries. Frames are sealed beforehand.
        """
        return self.measure(server, Load(members, frame_size, cast, rate, seconds, burst))

    def measure(self, server: str, load: Load, paired: bool = False) -> Window:
        """Measures one server's process under one load.

        ``paired``: the generator's calls, too, and as many whose frames are dropped on arrival: where a
        `FilterDrop` is.
        """
        payload = self.prepare(server, load, paired=paired)
        process, drop = self.process(server), self.drops[server]
        known = self._decided(server)
        copies, arrivals = drop.copies(), drop.arrivals()
        before = accounting.read(process, self.cores.measured)
        sent = self.send(load, paired=paired)

        def arrived() -> int:
            return drop.arrivals().since(arrivals).datagrams(payload, ARRIVED_OCTETS)

        unseen = drop.at_ingress or known is not None
        handled = None if unseen else before.datagrams.handled + sent.frames
        self.settle(process, handled, lambda: arrived() >= sent.frames)
        after = accounting.read(process, self.cores.measured)
        out = drop.copies().since(copies).datagrams(payload)
        came = after.datagrams.read - before.datagrams.read
        if known is not None:
            came = (self._decided(server) or 0) - known
            out -= came + paired * sent.frames  # that counter has both directions
        elif after.datagrams.lost == before.datagrams.lost:
            came = arrived()  # the kernel's own counter has a batch as one
        return Window(
            server=server,
            load=load,
            seconds=sent.seconds,
            sent=sent.frames,
            frames_in=came,
            copies_out=out,
            lost=sent.frames + sent.refused - came,
            cpu_ns=after.cpu - before.cpu,
            schedstat_ns=after.scheduled - before.scheduled,
            steal_ns=after.core.steal - before.core.steal,
            saturated=sent.saturated,
            latest_ns=sent.latest_ns,
            elapsed_ns=after.moment - before.moment,
            core_busy_ns=after.core.busy - before.core.busy,
            sender_ns=sent.cpu_ns,
            floor_ns=sent.floor_ns,
        )

    def _decided(self, server: str) -> int | None:
        """Returns how many datagrams a relay has decided about, its process or the kernel for it.

        None where the process does it all: then the interface counts them. What the kernel plane has
        taken never comes to that counter. Asking costs the process time, so it is let come to rest.
        """
        if not isinstance(self.drops[server], FilterDrop):
            return None
        counters = self.deployment.status(server)["counters"]
        self.settle(self.process(server), None)
        return int(counters["datagrams_in"])

    def prepare(
        self,
        server: str,
        load: Load,
        port: int | None = None,
        address: str | None = None,
        paired: bool = False,
    ) -> int:
        """Has a load's frames sealed, for pairs a few; returns the octets of a datagram's payload."""
        frames = min(load.frames, PAIRED_BATCHES * load.burst) if paired else load.frames
        command = Prepare(server, load.members, load.frame_size, load.cast, frames, port, address)
        return self.generator.prepare(command).payload

    def send(self, load: Load, dry: bool = False, paired: bool = False) -> Sent:
        """Has what is prepared sent; ``dry``: the generator works as hard, and sends nothing."""
        pairs = load.frames // load.burst if paired else 0
        return self.generator.send(Send(load.rate, load.burst, dry, pairs))

    def set_wire(self, wire: Wire) -> None:
        """Says how batches pass from now on, in all networks of the rig."""
        for server in self.servers:
            _set_wire(self.network, server, wire)
        self.wire = wire

    def set_egress_drop(self, drop: bool) -> None:
        """Has all servers' copies dropped at their own interface, or lets them go."""
        for one in self.drops.values():
            one.set_egress(drop)

    def set_steering(self, core: int | None) -> None:
        """Has receives for all servers run on a core (RPS), or, None, where they arrive."""
        for server in self.servers:
            steer(self.network, server, SERVER_INTERFACE, core)

    def settle(
        self, process: int, handled: int | None, arrived: Callable[[], bool] | None = None
    ) -> None:
        """Waits until the process has nothing left to do, at most SETTLE_SECONDS.

        That is when it has spent no CPU time for a while, and its namespace's counters have come to
        ``handled`` datagrams: it may also be idle because somebody else keeps its core busy. Where
        batches count as one it is enough that all have ``arrived`` and none waits at the socket.
        """

        def is_done() -> bool:
            if handled is None or accounting.datagrams(process).handled >= handled:
                return True
            return arrived is not None and not accounting.waiting(process) and arrived()

        deadline = time.monotonic() + SETTLE_SECONDS
        known, quiet_since = accounting.cpu_time(process), time.monotonic()
        while (moment := time.monotonic()) < deadline:
            found = accounting.cpu_time(process)
            if found != known:
                known, quiet_since = found, moment
            elif moment - quiet_since >= _QUIET_SECONDS and is_done():
                return
            time.sleep(_POLL_SECONDS)


@contextlib.contextmanager
def rig_up(
    servers: tuple[str, ...] = ("null", "relay", "hub"),
    groups: tuple[int, ...] = (8,),
    wire: Wire = "segmented",
    algorithm: str = "aes-128-gcm",
    dataplane: str | None = None,
    module: str = "nodes.server",
) -> Iterator[Rig]:
    """Builds the rig in the right set-up, hands it out, and takes it down whatever happened.

    A server's name says how it forwards (null, relay, hub), by which data plane (socket, batch,
    kernel; else by ``dataplane``, None: the best sockets), and whether hop tags are required (tags):
    ``null``, ``hub-batch``, ``kernel-tags``; of a ``router`` the node's own kernel is measured. A hub's may
    say how it seals (`servers.CIPHERS`; else by ``algorithm``). ``groups`` are the sizes of the groups that
    each server has, ``module`` is what is started as each. Needs an isolated run. Raises MachineError,
    EmulationError, DeploymentError, InstrumentError.
    """
    load()
    cores = choose_cores()
    plan = rig(servers, groups, module)
    with contextlib.ExitStack() as stack:
        stack.enter_context(kept_to(cores.others))
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="instrument-", dir="/run"))
        folder = Path(name)
        network = stack.enter_context(emulate(plan))
        drops = {server: _set_up(network, server, wire, dataplane) for server in servers}
        deployment = stack.enter_context(serving(network, folder, groups, algorithm, dataplane))
        for process in deployment.processes.values():
            pin(process.pid, cores.measured)
        argv = ("-m", "experiments.instrument.generator", str(folder / GENERATOR_FILE))
        generator = GeneratorHandle(
            stack.enter_context(program(network, MEMBERS, argv, folder, "generator"))
        )
        in_kernel = frozenset(
            server
            for server in servers
            if deployment.status(server)["process"]["dataplane"] == "kernel"
        )
        yield Rig(network, deployment, folder, cores, wire, drops, generator, in_kernel)


def _set_up(network: Network, server: str, wire: Wire, dataplane: str | None) -> InterfaceDrop:
    """Makes one server's interfaces as they must be: steering off, neighbours known for good."""
    plan = network.plan
    there = members_interface(server)
    for node, interface in _ends(server):
        steer(network, node, interface, None)
    _set_wire(network, server, wire)
    join_batches(network, server, SERVER_INTERFACE, (bridge_of(server), "port-server"))
    own = next(item for item in plan.interfaces(server) if item.name == SERVER_INTERFACE)
    theirs = next(item for item in plan.interfaces(MEMBERS) if item.name == there)
    nobody, unknown = unknown_neighbour(plan, server)
    known = [(str(address.ip), theirs.mac) for address in theirs.addresses] + [(nobody, unknown)]
    _know(network, server, SERVER_INTERFACE, known)
    _know(network, MEMBERS, there, [(str(own.addresses[0].ip), own.mac)])
    in_kernel = forwarding_of(server) == "relay" and (plane_of(server) or dataplane) == "kernel"
    if in_kernel or ROUTER in server.split("-"):
        return FilterDrop(network, server, SERVER_INTERFACE)
    return InterfaceDrop(network, server, SERVER_INTERFACE)


def _ends(server: str) -> tuple[tuple[str, str], ...]:
    """Lists all interfaces between a server and its members, with their nodes."""
    bridge = bridge_of(server)
    return (
        (server, SERVER_INTERFACE),
        (MEMBERS, members_interface(server)),
        (bridge, "port-server"),
        (bridge, "port-members"),
    )


def _set_wire(network: Network, server: str, wire: Wire) -> None:
    for node, interface in _ends(server):
        set_wire(network, node, interface, wire)


def _know(
    network: Network, node: str, interface: str, neighbours: list[tuple[str, str | None]]
) -> None:
    """Enters neighbours for good, so that no one is asked for them during a window."""
    lines = [
        f"neighbour replace {address} lladdr {mac} dev {interface} nud permanent\n"
        for address, mac in neighbours
    ]
    run(network, node, ["ip", "-batch", "-"], "".join(lines))
