"""Cuts links that frames flow over, and measures how long none arrives.

A cut is *seen* when both interfaces go down, as when a cable is pulled, and *unseen* when packets
vanish while the interfaces stay up: then only missing greetings tell the routers.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from experiments.probe import MARKER_LENGTH, ReceivedFrame, SendPlan, Stream
from experiments.probe_program import read_received
from experiments.probing import (
    BROADCAST,
    ProbingError,
    expect_ready,
    mac_of,
    record_path,
    start_receiver,
    start_sender,
)
from experiments.standing_trees import poll_until
from topologies.emulate import EmulationError, Network
from topologies.kernel_trees import Tree, follow, read_routes
from topologies.plan import Link, Node
from topologies.trees import with_a_way_round

RATE = 100.0
"""Frames a second: gaps are told to 10 ms."""
FRAME_OCTETS = 64
BEFORE_FRAMES = 100
AFTER_FRAMES = 100
RESUME_SECONDS = 30.0
"""The longest wait for frames to flow again, and for the link's return."""
_STREAM_SECONDS = 4 * RESUME_SECONDS
_COMMAND_SECONDS = 10.0
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
    folder = stage.folder / str(next(stage.numbers))
    folder.mkdir()
    with _streaming(stage, folder):
        _wait_for_frames(stage, folder, BEFORE_FRAMES)
        at = time.monotonic_ns()
        _cut(stage.network, link, seen)
        try:
            # Some receiver is behind the link: what all of them get has come another way.
            deadline = time.monotonic() + RESUME_SECONDS
            resumed = _more_frames(stage, folder, AFTER_FRAMES, deadline)
            ended = time.monotonic_ns()
        finally:
            _mend(stage.network, link, seen)
        deadline = time.monotonic() + RESUME_SECONDS
        # A router that was on the way round may be sent copies for some seconds more.
        if not poll_until(lambda: stage.tree().interfaces >= whole.interfaces, deadline):
            raise ProbingError(f"link {link.name}: mended, but the tree did not come back to it")
    records = [read_received(record_path(folder, name)) for name in stage.receivers]
    times = [[one.at for one in lines if isinstance(one, ReceivedFrame)] for lines in records]
    before = max(longest_gap(one, 0, at) for one in times)
    after = max(longest_gap(one, at, ended) for one in times)
    return LinkCut(link.name, seen, resumed, before, after)


def longest_gap(arrivals: Sequence[int], begin: int, end: int) -> float:
    """Returns the longest interval between arrivals that ends in [begin, end].

    Times are in ns, the interval is in s: 0 when there is none.
    """
    return max(
        (
            (later - earlier) / 1e9
            for earlier, later in itertools.pairwise(arrivals)
            if begin <= later <= end
        ),
        default=0.0,
    )


@contextmanager
def _streaming(stage: _Stage, folder: Path) -> Iterator[None]:
    """Has the source's first terminal send a steady stream, and records it at the receivers."""
    network, plan = stage.network, stage.network.plan
    terminal = plan.terminals_of(stage.source.name)[0]
    stream = Stream(BROADCAST, FRAME_OCTETS, int(RATE * _STREAM_SECONDS), RATE)
    sent = SendPlan(bytes(MARKER_LENGTH).hex(), 0, mac_of(plan, terminal), (stream,))
    running = []
    try:
        for name in stage.receivers:
            running.append(start_receiver(network, folder, name))
            expect_ready(running[-1], name)
        running.append(start_sender(network, folder, terminal.name, sent))
        yield
    finally:
        for process in reversed(running):
            process.terminate()
            process.communicate()


def _wait_for_frames(stage: _Stage, folder: Path, count: int) -> None:
    if not _more_frames(stage, folder, count, time.monotonic() + RESUME_SECONDS):
        raise ProbingError(f"{stage.source.name}: no steady stream before a link is cut")


def _more_frames(stage: _Stage, folder: Path, count: int, deadline: float) -> bool:
    """Waits until every receiver has recorded ``count`` frames more than now."""
    first = _recorded(stage, folder)
    return poll_until(
        lambda: all(now >= first[name] + count for name, now in _recorded(stage, folder).items()),
        deadline,
    )


def _recorded(stage: _Stage, folder: Path) -> Mapping[str, int]:
    return {name: record_path(folder, name).read_bytes().count(b"\n") for name in stage.receivers}


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
