"""Cuts links that frames flow over, and measures how long none arrives.

A cut is *seen* when both interfaces go down, as when a cable is pulled, and *unseen* when packets
vanish while the interfaces stay up: then only missing greetings tell the routers.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from experiments.traffic.probing import ProbingError
from experiments.traffic.steady import RESUME_SECONDS, poll_until, streaming
from topologies.emulate import EmulationError, Network
from topologies.kernel_trees import Tree, follow, read_routes
from topologies.plan import Link, Node
from topologies.trees import with_a_way_round

BEFORE_FRAMES = 100
AFTER_FRAMES = 100
_COMMAND_SECONDS = 30.0
_DROP = """table netdev cut {{
    chain ingress {{
        type filter hook ingress device "{}" priority 0
        policy drop
    }}
}}
"""
PROGRAMS = {"nft": "nftables"}
"""Programs that cutting runs, and the Debian packages that have them."""


@dataclass(frozen=True)
class LinkCut:
    """What one cut showed; gaps are the longest intervals without a frame at any receiver, in s."""

    link: str
    seen: bool
    resumed: bool
    gap_before: float
    gap: float

    def describe(self) -> str:
        """Says in a few words what happened."""
        how = "seen" if self.seen else "unseen"
        after = f"{self.gap:.2f} s without a frame" if self.resumed else "no frames any more"
        return f"{self.link} ({how}): {after}"


@dataclass
class _Stage:
    """Who sends to whom while links are cut."""

    network: Network
    folder: Path
    source: Node
    receivers: Sequence[str]
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def tree(self) -> Tree:
        """Follows the source's packets through the kernels as they are now."""
        plan = self.network.plan
        return follow(plan, self.source.name, read_routes(plan, self.network.pid))

    def links(self, tree: Tree) -> list[Link]:
        """Lists the tree's links between routers that packets can pass by."""
        plan = self.network.plan
        return [
            link
            for link in with_a_way_round(plan.links, plan.multicast_routers)
            if tree.interfaces.issuperset(interface.name for interface in link.interfaces)
        ]


def cut_links(
    network: Network, folder: Path, chance: random.Random, seen: int, unseen: int
) -> list[LinkCut]:
    """Cuts a link of a client's tree so many times, each time mending it again.

    It is the first tree that has links with a way round; when none has, nothing is cut. Ends early
    after a cut that frames do not get over. ``folder`` is made for the records.
    """
    stages = [_stage(network, folder, source) for source in network.plan.clients()]
    trees = [(stage, stage.tree()) for stage in stages]
    stage, whole = next((one for one in trees if one[0].links(one[1])), trees[0])
    links = stage.links(whole)
    folder.mkdir()
    cuts: list[LinkCut] = []
    for is_seen in [True] * seen + [False] * unseen if links else []:
        cuts.append(_cut_once(stage, whole, chance.choice(links), is_seen))
        if not cuts[-1].resumed:
            break
    return cuts


def _stage(network: Network, folder: Path, source: Node) -> _Stage:
    """Has a client send to one terminal of every other member of its group."""
    plan = network.plan
    others = [client for client in plan.clients(source.vpn_id) if client != source]
    receivers = [plan.terminals_of(client.name)[0].name for client in others]
    return _Stage(network, folder, source, receivers)


def _cut_once(stage: _Stage, whole: Tree, link: Link, seen: bool) -> LinkCut:
    """Cuts one link of the ``whole`` tree until frames pass it by, and waits for the tree."""
    network = stage.network
    folder = stage.folder / str(next(stage.numbers))
    sender = network.plan.terminals_of(stage.source.name)[0].name
    with streaming(network, folder, sender, stage.receivers) as stream:
        stream.wait_for_frames(BEFORE_FRAMES)
        at = time.monotonic_ns()
        _cut(network, link, seen)
        try:
            # Some receiver is behind the link: what all of them get has come another way.
            resumed = stream.more_frames(AFTER_FRAMES)
            ended = time.monotonic_ns()
        finally:
            _mend(network, link, seen)
        deadline = time.monotonic() + RESUME_SECONDS
        # A router that was on the way round may be sent copies for some seconds more.
        if not poll_until(lambda: stage.tree().interfaces >= whole.interfaces, deadline):
            raise ProbingError(f"link {link.name}: mended, but the tree did not come back to it")
    before, after = stream.longest_gap(0, at), stream.longest_gap(at, ended)
    return LinkCut(link.name, seen, resumed, before, after)


def _cut(network: Network, link: Link, seen: bool) -> None:
    for end, interface in zip(link.ends, link.interfaces, strict=True):
        if seen:
            _run(network, end, ["ip", "link", "set", "dev", interface.name, "down"])
        else:
            _run(network, end, ["nft", "-f", "-"], _DROP.format(interface.name))


def _mend(network: Network, link: Link, seen: bool) -> None:
    for end, interface in zip(link.ends, link.interfaces, strict=True):
        if seen:
            _run(network, end, ["ip", "link", "set", "dev", interface.name, "up"])
        else:
            _run(network, end, ["nft", "delete", "table", "netdev", "cut"])


def _run(network: Network, node: str, argv: Sequence[str], text: str | None = None) -> None:
    done = network.run(node, argv, _COMMAND_SECONDS, input=text)
    if done.returncode:
        raise EmulationError(f"node {node}: {' '.join(argv)}: {done.stderr.strip()}")
