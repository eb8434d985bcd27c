"""Moves a user between Sub IDs while frames flow, and expels one.

A and B, in one Sub ID, send to all all the time; C hears them only while it is in theirs.

Patent: Figs. 11, 12-2; claim 2; effect E2.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from experiments.deployment import Deployment, until
from experiments.embodiments.subgroups.page import Click, Page
from experiments.observation.capture import Capture
from experiments.observation.decoding import DecodingKey, decode_frames
from experiments.traffic.probe import ReceivedFrame
from experiments.traffic.steady import RESUME_SECONDS, Steady, poll_until, streaming
from topologies.plan import Kind, Plan

FLOWING_FRAMES = 50
OPENED_SECONDS = 30.0
SILENT_SECONDS = 1.5
"""How long nothing may come to a user who was moved away, beginning when the server has told it."""
TOLD_SECONDS = 1.0
"""How long frames may be under way to a user who was moved away, once its client has been told."""
WITHDRAWN_SECONDS = 3.0
"""After this an expelled user's keys open nothing: the activation delay, and a second for frames."""


@dataclass(frozen=True)
class Move:
    """One move there and back: what the moved user's terminal got, and when. Times in ns."""

    opened_after: int | None
    """From the click to the first frame; None when none came."""
    answer_took: int
    heard_after_leaving: int
    """Frames that came later than they may once it was moved back."""


@dataclass(frozen=True)
class Delivered:
    """What a relay has sent while one member cannot read: copies out, and those in vain."""

    copies: int
    unreadable: int
    octets_unreadable: int

    def since(self, earlier: Delivered) -> Delivered:
        """Returns what has been sent later than another reading."""
        return Delivered(
            self.copies - earlier.copies,
            self.unreadable - earlier.unreadable,
            self.octets_unreadable - earlier.octets_unreadable,
        )


@dataclass(frozen=True)
class Moves:
    """All moves, and what those who stayed together saw meanwhile."""

    delivered: Delivered
    """What the relay sent before the first move."""
    before: int
    """Frames that the other Sub ID's terminal had got before the first move."""
    moves: Sequence[Move]
    missing: int
    repeated: int
    sent: int


@dataclass(frozen=True)
class Expulsion:
    """What became of an expelled user, and what its keys still opened. Counts of frames."""

    code: int | None
    words: str
    opened_before: int
    opened_after: int
    opened_by_member: int
    """What a member's keys open of the same capture: that there was something to open."""


def move_there_and_back(deployment: Deployment, folder: Path, page: Page, times: int) -> Moves:
    """Has the third client moved to the first one's Sub ID and back, under load."""
    plan = deployment.plan
    a, b, c = plan.clients(plan.groups[0].vpn_id)[:3]
    terminals = [plan.terminals_of(client.name)[0].name for client in (a, b, c)]
    user = c.user
    assert user is not None
    at_first = delivered(deployment)
    with ExitStack() as streams:
        ways = [
            streams.enter_context(
                streaming(deployment.network, folder / sender, sender, [listener, terminals[2]])
            )
            for sender, listener in ((terminals[0], terminals[1]), (terminals[1], terminals[0]))
        ]
        for way, listener in zip(ways, (terminals[1], terminals[0]), strict=True):
            _wait_for(way, listener, FLOWING_FRAMES)
        apart = delivered(deployment).since(at_first)
        before = sum(len(way.frames(terminals[2])) for way in ways)
        moves = [
            _move(
                ways,
                terminals[2],
                lambda: _share_no_key(deployment, a.name, c.name),
                lambda: page.move(user, a.sub_id),
                lambda: page.move(user, c.sub_id),
            )
            for _ in range(times)
        ]
        for way, listener in zip(ways, (terminals[1], terminals[0]), strict=True):
            _wait_for(way, listener, FLOWING_FRAMES)
    stayed = [
        Steady(way.folder, [listener])
        for way, listener in zip(ways, (terminals[1], terminals[0]), strict=True)
    ]
    return Moves(
        apart,
        before,
        moves,
        sum(way.missing() for way in stayed),
        sum(way.repeated() for way in stayed),
        sum(len(way.frames(listener)) for way in stayed for listener in way.receivers),
    )


def delivered(deployment: Deployment) -> Delivered:
    """Reads what the server's relay has sent up to now."""
    counters = deployment.status(deployment.plan.servers[0].name)["counters"]
    names = ("copies_out", "copies_unreadable", "octets_unreadable")
    return Delivered(*(int(counters[name]) for name in names))


def expel(deployment: Deployment, folder: Path, page: Page) -> Expulsion:
    """Expels the last client of the first group; its old keys are tried on what is sent later."""
    plan = deployment.plan
    members = plan.clients(plan.groups[0].vpn_id)
    sender, victim = members[0], members[-1]
    keys = _decoding_keys(deployment, victim.name)
    assert victim.user is not None
    terminal = plan.terminals_of(sender.name)[0].name
    listener = plan.terminals_of(members[1].name)[0].name
    with streaming(deployment.network, folder / "stream", terminal, [listener]) as stream:
        _wait_for(stream, listener, FLOWING_FRAMES)
        earlier = _capture(deployment, stream, listener, folder / "before.pcapng")
        page.expel(victim.user)
        process = deployment.processes[victim.name]
        until(lambda: process.poll() is not None, f"{victim.name} was expelled and goes on")
        withdrawn = time.monotonic() + WITHDRAWN_SECONDS
        poll_until(lambda: False, withdrawn)
        later = _capture(deployment, stream, listener, folder / "after.pcapng")
        member_keys = _decoding_keys(deployment, sender.name)
    deployment.forget(victim.name)
    with ThreadPoolExecutor() as pool:  # each starts a tshark and waits for it
        tried = [(earlier, keys), (later, keys), (later, member_keys)]
        opened = list(pool.map(lambda one: len(decode_frames(*one)), tried))
    return Expulsion(process.returncode, deployment.log(victim.name).splitlines()[-1], *opened)


def _move(
    ways: Sequence[Steady],
    terminal: str,
    apart: Callable[[], bool],
    there: Callable[[], Click],
    home: Callable[[], Click],
) -> Move:
    click = there()
    end = time.monotonic() + OPENED_SECONDS
    poll_until(lambda: any(_since(way, terminal, click.at) for way in ways), end)
    came = [frame.at for way in ways for frame in _since(way, terminal, click.at)]
    # Both streams are heard, and the roll-over of those who are joined is over, before it goes back.
    for way in ways:
        _wait_for(way, terminal, FLOWING_FRAMES)
    told = _left(home().at, apart) + round(TOLD_SECONDS * 1e9)
    poll_until(lambda: False, time.monotonic() + TOLD_SECONDS + SILENT_SECONDS)
    late = sum(len(_since(way, terminal, told)) for way in ways)
    return Move(min(came) - click.at if came else None, click.took, late)


def _left(click: int, apart: Callable[[], bool]) -> int:
    """Returns when a user had left: with the click, or, where that is later, when it had no key any more."""
    if apart():
        return click
    poll_until(apart, time.monotonic() + RESUME_SECONDS)
    return time.monotonic_ns()


def _share_no_key(deployment: Deployment, one: str, other: str) -> bool:
    """Tells whether two clients hold no SA in common, by their own word."""
    held = [{key["spi"] for key in deployment.keys(client)} for client in (one, other)]
    return held[0].isdisjoint(held[1])


def _since(way: Steady, terminal: str, at: int) -> list[ReceivedFrame]:
    return [frame for frame in way.frames(terminal) if frame.at >= at]


def _wait_for(way: Steady, terminal: str, count: int) -> None:
    Steady(way.folder, [terminal]).wait_for_frames(count)


def _decoding_keys(deployment: Deployment, client: str) -> list[DecodingKey]:
    return [
        DecodingKey(one["spi"], bytes.fromhex(one["key"]), bytes.fromhex(one["salt"]))
        for one in deployment.keys(client)
    ]


def _capture(deployment: Deployment, stream: Steady, listener: str, path: Path) -> Path:
    """Captures at the server's link while some frames of the stream pass."""
    plan: Plan = deployment.plan
    (server,) = plan.servers
    interfaces = [one.name for one in plan.interfaces(server.name, Kind.OUTSIDE)]
    with Capture(deployment.network.popen, server.name, interfaces, path) as capture:
        _wait_for(stream, listener, FLOWING_FRAMES)
    return capture.path
