"""OpenVPN's hub beside our planes: what its process costs for a datagram in and one out.

It is up in a network like the peers', alone on the measured core while it is measured and off it
otherwise; its clients seal what it opens. Like our servers it pays for no next hop: its copies are
counted and dropped at its own interface. What the kernel does with a datagram before the process reads
it is left out, as for our sockets, which is in its favour. Frames go to one station, since what is for
all it also writes to a device of its own.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from experiments.instrument.interface_drop import InterfaceDrop
from experiments.instrument.settings import Cores, pin
from experiments.instrument.window import Load, Window
from experiments.peers.adapter import Running, missing, up
from experiments.peers.openvpn import OpenVpn
from experiments.peers.windows import send_frames, speak
from experiments.planes.ways import HUB, Measured
from experiments.traffic.probing import mac_of
from topologies.catalog import single
from topologies.emulate import emulate
from topologies.plan import Kind

SETTLE_SECONDS = 0.1


def is_there() -> bool:
    """Tells whether OpenVPN is installed."""
    return not missing(OpenVpn.programs)


class HubWay:
    """A hub that is up, and what one of its windows shows."""

    def __init__(self, running: Running, cores: Cores) -> None:
        self._running, self._cores = running, cores
        network, plan = running.network, running.network.plan
        self._hub = plan.servers[0].name
        (outside,) = plan.interfaces(self._hub, Kind.OUTSIDE)
        self._drop = InterfaceDrop(network, self._hub, outside.name)
        self._drop.set_egress(False)
        self._source, self._target = (
            plan.terminals_of(client.name)[0].name for client in plan.clients()[:2]
        )

    def measure(self, load: Load) -> Measured:
        """Offers a load's frames to one station, and reads the hub's CPU time and what passed it.

        The little that stations say of their own is counted and paid for with the rest.
        """
        running, drop = self._running, self._drop
        speak(running)  # it forgets stations that are silent for a minute
        pin(running.hub.pid, self._cores.measured)
        drop.set_egress(True)
        try:
            copies, arrivals = drop.copies(), drop.arrivals()
            before = running.hub_time()
            target = mac_of(running.network.plan, running.network.plan.node(self._target))
            sent = send_frames(running, self._source, target, load)
            spent = running.hub_time_at_rest(SETTLE_SECONDS) - before
            came = drop.arrivals().since(arrivals).packets
            out = drop.copies().since(copies).packets
        finally:
            drop.set_egress(False)
            pin(running.hub.pid, self._cores.others)
        return Measured(
            Window(
                server=HUB,
                load=load,
                seconds=sent.seconds,
                sent=sent.frames,
                frames_in=came,
                copies_out=out,
                lost=max(0, sent.frames + sent.refused - came),
                cpu_ns=spent,
                schedstat_ns=spent,
                steal_ns=0,
                saturated=sent.saturated,
                latest_ns=0,
            )
        )


@contextlib.contextmanager
def hub_up(cores: Cores) -> Iterator[HubWay]:
    """Brings OpenVPN up in a network of its own; DeploymentError, EmulationError."""
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="hub-", dir="/run"))
        network = stack.enter_context(emulate(single(clients=3, terminals=1, second_group=0)))
        running = stack.enter_context(up(OpenVpn(), network, Path(name)))
        yield HubWay(running, cores)
