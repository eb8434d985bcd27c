"""Counts, and on request drops, the UDP that passes a server's own interface (nftables, netdev).

What is dropped at egress costs the server nothing behind its interface; what is dropped at ingress
never reaches it. TCP and neighbour discovery pass. It goes with the server's namespace.
"""

from __future__ import annotations

from typing import NamedTuple

from experiments.instrument.nftables import Nftables
from experiments.isolation import MachineError
from topologies.emulate import EmulationError, Network

HEADER_OCTETS = 14 + 40 + 8
"""Ethernet, IPv6 and UDP: what is counted at egress of a datagram beside its payload."""
ARRIVED_OCTETS = 40 + 8
"""The same at ingress, where the kernel has taken off the Ethernet header."""


class Copies(NamedTuple):
    """What has passed one way since the rig is up: packets as the kernel has them, and octets."""

    packets: int
    octets: int

    def since(self, earlier: Copies) -> Copies:
        """Returns what came after ``earlier``."""
        return Copies(self.packets - earlier.packets, self.octets - earlier.octets)

    def datagrams(self, payload: int, headers: int = HEADER_OCTETS) -> int:
        """Returns how many datagrams with ``payload`` octets that was; a batch counts as many."""
        return (self.octets - self.packets * headers) // payload if payload else 0


class InterfaceDrop:
    """The two hooks of one node's interface."""

    def __init__(self, network: Network, node: str, interface: str) -> None:
        """Makes a table for this interface; MachineError when this kernel has no egress hook."""
        self._nftables = Nftables(network.pid(node), node)
        self._table = f"netdev instrument-{interface}"
        self.at_egress = self.at_ingress = False
        text = (
            f"table {self._table} {{\n"
            "counter copies { }\n"
            "counter arrivals { }\n"
            f'chain egress {{ type filter hook egress device "{interface}" priority 0; }}\n'
            f'chain ingress {{ type filter hook ingress device "{interface}" priority 0; }}\n'
            "}\n"
        )
        try:
            self._nftables.do(text)
            self.set_egress(True)
            self.set_ingress(False)
        except EmulationError as error:
            reason = f"netdev egress hook of nftables: needs Linux 5.16: {error}"
            raise MachineError(reason) from None

    def set_egress(self, drop: bool) -> None:
        """Drops UDP that leaves, or lets it pass; counts it either way."""
        verdict = "drop" if drop else "accept"
        self._replace("egress", f'meta l4proto udp counter name "copies" {verdict}')
        self.at_egress = drop

    def set_ingress(self, drop: bool) -> None:
        """Drops UDP that arrives, or lets it pass; counts what passes."""
        rule = "drop" if drop else 'counter name "arrivals" accept'
        self._replace("ingress", f"meta l4proto udp {rule}")
        self.at_ingress = drop

    def copies(self) -> Copies:
        """Reads the counter of what has left."""
        return Copies(*self._nftables.counter(self._table, "copies"))

    def arrivals(self) -> Copies:
        """Reads the counter of what has come in."""
        return Copies(*self._nftables.counter(self._table, "arrivals"))

    def _replace(self, chain: str, rule: str) -> None:
        change = f"flush chain {self._table} {chain}\nadd rule {self._table} {chain} {rule}\n"
        self._nftables.do(change)
