"""What a run has seen of a network: what invariants are told from, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from experiments.observation.decoding import DecodedFrame, DecodingKey, decode_frames
from experiments.traffic.probing import Outcome
from experiments.traffic.terminals import Attempt
from topologies.kernel_trees import Routes
from topologies.plan import Plan

EXAMPLES = 3


@dataclass(frozen=True)
class Seen:
    """All that a run has seen; statuses are those of the processes after the last frame."""

    plan: Plan
    strip: str
    server: str
    statuses: dict[str, dict[str, Any]]
    maps: dict[str, str]
    """Each process's /proc/PID/maps: which libraries it has loaded."""
    pings: Sequence[Attempt]
    neighbours: Sequence[Attempt]
    connections: Sequence[Attempt]
    probes: Outcome
    outside: Path
    inside: Path
    keys: dict[int, list[dict[str, Any]]]
    """The SAs of each group, by VPN ID, as a member holds them."""
    server_kernel: dict[str, int]
    """The UDP counters of the server's kernel."""
    baseline: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Counters of processes when what is counted began, where that was not at their start."""
    routes: Routes = field(default_factory=dict)
    """What multicast routers' kernels forward by, where the Plan does not say."""
    hop_tags: bool = False
    """Whether relays took datagrams with the tag of their hop alone."""

    def counter(self, node: str, name: str) -> int:
        """Returns a process's counter."""
        return int(self.statuses[node]["counters"].get(name, 0))

    def counters_since(self, node: str) -> dict[str, int]:
        """Returns a process's counters without what they were when counting began."""
        earlier = self.baseline.get(node, {})
        counters = self.statuses[node]["counters"].items()
        return {name: value - earlier.get(name, 0) for name, value in counters}

    def column(self, node: str, table: str, column: str) -> list[Any]:
        """Returns a column of a process's table, by the table's number."""
        for title, content in self.statuses[node]["tables"].items():
            if title.startswith(table):
                place = content["columns"].index(column)
                return [row[place] for row in content["rows"]]
        raise KeyError(table)

    @cached_property
    def decoded(self) -> list[DecodedFrame]:
        """The frames that tshark finds in the capture outside, given the SAs."""
        return decode_frames(self.outside, _decoding_keys(self))

    @property
    def forwarders(self) -> list[str]:
        """Names what carries datagrams: the VPN servers, or the one server that is both."""
        return [relay.name for relay in self.plan.relays] or [self.server]

    @property
    def servers(self) -> list[str]:
        """Names every server: what hands out keys, and what carries datagrams."""
        return list(dict.fromkeys((self.server, *self.forwarders)))

    @property
    def clients(self) -> list[str]:
        """Names the clients."""
        return [client.name for client in self.plan.clients()]


def _decoding_keys(seen: Seen) -> list[DecodingKey]:
    return [
        DecodingKey(key["spi"], bytes.fromhex(key["key"]), bytes.fromhex(key["salt"]))
        for keys in seen.keys.values()
        for key in keys
    ]


def examples(texts: Iterable[str]) -> str:
    """Appends the first few of what went wrong."""
    first = list(texts)[:EXAMPLES]
    return f": {'; '.join(first)}" if first else ""
