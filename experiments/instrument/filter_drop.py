"""Counts, and on request drops, what passes the interface of a server that forwards in the kernel.

Such a server's copies pass by nftables, and what it serves never comes to the ingress hook behind it.
Here traffic control filters drop, at egress what is UDP, at ingress what the generator has marked to
go no further, or all, before the relay's program sees it; the clsact qdisc counts single datagrams, also
those of a batch, in both directions together.
"""

from __future__ import annotations

from typing import NamedTuple

from experiments.instrument.clsact import Clsact
from experiments.instrument.commands import FLOOR_CLASS
from experiments.instrument.interface_drop import HEADER_OCTETS, Copies, InterfaceDrop
from experiments.instrument.settings import run
from topologies.emulate import Network

_PRIORITY, _NEXT_PRIORITY = "1", "2"
_SHOT_ALL = "1,6 0 0 2"
_SHOT_UDP = "4,48 0 0 20,21 0 1 17,6 0 0 2,6 0 0 0"
"""Classic BPF: octet 20 is IPv6's next header; TC_ACT_SHOT for UDP, else TC_ACT_OK."""
_SHOT_MARKED = f"5,40 0 0 14,84 0 0 {0x0FF0},21 0 1 {FLOOR_CLASS << 4},6 0 0 2,6 0 0 {0xFFFFFFFF}"
"""Octets 14 and 15 hold IPv6's traffic class; TC_ACT_SHOT for that one, else the next filter is asked."""


class Passed(NamedTuple):
    """Datagrams that have passed, in or out."""

    packets: int

    def since(self, earlier: Copies | Passed) -> Passed:
        """Returns what came after ``earlier``."""
        return Passed(self.packets - earlier.packets)

    def datagrams(self, payload: int, headers: int = HEADER_OCTETS) -> int:
        """Returns how many that is: a batch counts as many already."""
        return self.packets


class FilterDrop(InterfaceDrop):
    """The two directions of one interface; it goes with its node."""

    def __init__(self, network: Network, node: str, interface: str) -> None:
        """Makes the qdisc, so that the relay finds it, drops at egress and what is marked; EmulationError."""
        self._network, self._node, self._interface = network, node, interface
        self.at_egress = self.at_ingress = False
        self._run_tc("qdisc", "add", "dev", interface, "clsact")
        self.set_egress(True)
        self._set("ingress", True, _SHOT_MARKED)
        self._passed = Clsact(network.pid(node), interface)

    def set_egress(self, drop: bool) -> None:
        """Drops UDP that leaves, or lets it pass; it is counted either way."""
        if drop != self.at_egress:
            self._set("egress", drop, _SHOT_UDP)
        self.at_egress = drop

    def set_ingress(self, drop: bool) -> None:
        """Drops all that arrives, or lets it pass; it is counted either way."""
        if drop != self.at_ingress:
            self._set("ingress", drop, _SHOT_ALL, _NEXT_PRIORITY)
        self.at_ingress = drop

    def copies(self) -> Passed:  # type: ignore[override]
        """Reads the counter of what has come in and left."""
        return Passed(self._passed.packets())

    def arrivals(self) -> Passed:  # type: ignore[override]
        """Reads the same counter: who asks for arrivals alone has to know what has left."""
        return self.copies()

    def _set(self, direction: str, drop: bool, code: str, priority: str = _PRIORITY) -> None:
        at = ("dev", self._interface, direction, "protocol", "all", "prio", priority)
        if drop:
            self._run_tc("filter", "add", *at, "bpf", "da", "bytecode", code)
        else:
            self._run_tc("filter", "del", *at)

    def _run_tc(self, *words: str) -> None:
        run(self._network, self._node, ["tc", *words])
