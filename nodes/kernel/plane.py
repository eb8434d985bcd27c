"""The kernel data plane: stands beside a socket plane and takes decided flows off it.

A flow's first datagram comes up to the socket; the relay decides, and tells this plane, which copies the
decision into the kernel. What the relay forgets leaves the kernel in the same call.

Patent: Fig. 7-2 steps 709, 719.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from nodes.kernel import layout
from nodes.kernel.library import KernelPlaneError
from nodes.kernel.program import KernelProgram
from protocol.relay import Destination, Relay, Strip
from protocol.relay.flow_table import FlowEntry, FlowKey
from protocol.relay.tables import Sender
from protocol.relay.upkeep import SWEEP_INTERVAL
from protocol.types import IpAddress

LEASE = 3 * SWEEP_INTERVAL
"""How long the program serves without a sign of life, in ns: a relay that died forgets nothing more."""

Destinations = tuple[Destination, ...]


class Program(Protocol):
    """What the plane needs of `nodes.kernel.program:KernelProgram`."""

    version: int

    def put_flow(self, key: bytes, list_number: int, slot: int, hop_key: bytes) -> bool: ...
    def remove_flow(self, key: bytes) -> None: ...
    def put_list(self, number: int, destinations: bytes) -> bool: ...
    def remove_list(self, number: int) -> None: ...
    def passed(self, slot: int) -> tuple[int, int]: ...
    def passed_up(self) -> int: ...
    def renew(self, lease: int) -> None: ...
    def detach(self) -> None: ...
    def close(self) -> None: ...


class KernelCounters(NamedTuple):
    """Flows that are in the kernel, and how often something of the relay's went up to the process."""

    flows: int
    passed_up: int


@dataclass
class _List:
    """A list of destinations in the kernel, and how many flows share it."""

    number: int
    flows: int = 0


@dataclass
class _Installed:
    """A flow that is in the kernel: its counters' slot, and what of them has been read."""

    entry: FlowEntry
    key: bytes
    slot: int
    read: tuple[int, int]


class KernelPlane:
    """Copies a relay's decisions into the kernel; an observer of its flow table."""

    def __init__(self, relay: Relay, program: Program) -> None:
        """Begins with the decisions that are in force already."""
        self._relay = relay
        self._program = program
        self._installed: dict[FlowKey, _Installed] = {}
        self._lists: dict[Destinations, _List] = {}
        self._next_list = 1
        self._free = deque(range(1, layout.SLOTS))
        self._retired: list[_Installed] = []
        for key, entry in relay.flows.items():
            self.flow_kept(key, entry)
        relay.flows.observer = self

    def close(self) -> None:
        """Takes the program off the interface, and reads its counters for the last time."""
        self._relay.flows.observer = None
        try:
            self._program.detach()
            self._read_all()
        finally:
            self._program.close()

    def counters(self) -> KernelCounters:
        """Returns what the plane shows of itself."""
        return KernelCounters(len(self._installed), self._program.passed_up())

    # -- what the flow table says

    def flow_kept(self, key: FlowKey, entry: FlowEntry) -> None:
        """Copies a decision into the kernel if the program can carry it out, and there is room."""
        octets = layout.flow_key(key, self._program.version)
        hop_key = self._hop_key(entry.sender)
        if octets is None or hop_key is None or not self._free:
            return
        destinations = entry.verdict.destinations
        shared = self._list_of(destinations)
        if shared is None:
            return
        slot = self._free.popleft()
        installed = _Installed(entry, octets, slot, self._program.passed(slot))
        if not self._program.put_flow(octets, shared.number, slot, hop_key):
            self._free.append(slot)
            self._leave_list(destinations)
            return
        self._installed[key] = installed
        self._program.renew(LEASE)

    def flow_forgotten(self, key: FlowKey) -> None:
        """Takes a decision out of the kernel, and adds to its entry what passed by it."""
        installed = self._installed.pop(key, None)
        if installed is None:
            return
        self._program.remove_flow(installed.key)
        self._leave_list(installed.entry.verdict.destinations)
        self._add_news(installed)
        self._retired.append(installed)

    def read_counters(self) -> None:
        """Adds to the entries what has passed by the kernel since the last time."""
        self._read_all()
        self._program.renew(LEASE)

    def _read_all(self) -> None:
        for installed in self._installed.values():
            self._add_news(installed)
        # what another CPU had under way while its flow was forgotten
        for installed in self._retired:
            packets, octets = self._news(installed)
            if packets:
                self._relay.flows.add_late(installed.entry, packets, octets)
            self._free.append(installed.slot)
        self._retired.clear()

    # -- keys, lists and slots

    def _hop_key(self, sender: Sender) -> bytes | None:
        """Returns what the program checks the sender's tags with; None when it cannot.

        That is the key in use: a datagram with the tag of an earlier one goes up to the process.
        """
        if not self._relay.requires_hop_tags:
            return b""
        return sender.hop_keys[0].reveal() if sender.hop_keys else None

    def _list_of(self, destinations: Destinations) -> _List | None:
        """Returns the list in the kernel, which many flows share, and counts one flow more."""
        shared = self._lists.get(destinations)
        if shared is None:
            octets = layout.destination_list(destinations, self._program.version)
            if octets is None or not self._program.put_list(self._next_list, octets):
                return None
            shared = self._lists[destinations] = _List(self._next_list)
            # a number is never used twice: a program under way must not meet another list under it
            self._next_list += 1
        shared.flows += 1
        return shared

    def _leave_list(self, destinations: Destinations) -> None:
        shared = self._lists[destinations]
        shared.flows -= 1
        if not shared.flows:
            del self._lists[destinations]
            self._program.remove_list(shared.number)

    def _news(self, installed: _Installed) -> tuple[int, int]:
        """Returns the packets and octets that have passed since the last reading."""
        (packets, octets), (packets_read, octets_read) = (
            self._program.passed(installed.slot),
            installed.read,
        )
        installed.read = packets, octets
        return packets - packets_read, octets - octets_read

    def _add_news(self, installed: _Installed) -> None:
        packets, octets = self._news(installed)
        installed.entry.packets += packets
        installed.entry.octets += octets


def open_kernel_plane(relay: Relay, address: IpAddress, port: int) -> KernelPlane:
    """Loads and attaches the program for a relay; raises KernelPlaneError, naming what is missing."""
    if relay.strip is not Strip.KEEP:
        raise KernelPlaneError('strip = "patent": the kernel cannot cut a header off a batch')
    return KernelPlane(relay, KernelProgram(address, port, relay.requires_hop_tags))
