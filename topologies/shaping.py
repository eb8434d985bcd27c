"""Delay and rate of links: by the kernel's netem where it has it, by our own forwarder where not.

Both hold the same number of frames for each direction of a link and drop the newest beyond it.
"""

from __future__ import annotations

import functools
import json
import select
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from topologies import delay_line
from topologies.plan import Link, Plan

QUEUE_FRAMES = 200
"""Frames that wait for a link with a rate; those under way come on top."""
MAXIMUM_FRAMES = 10_000
"""Frames that one direction of a link holds at most, waiting and under way."""

_FRAME_BITS = 1514 * 8
_NANOSECONDS = 1_000_000_000
_ANSWER_SECONDS = 30.0
_PROBE = ("unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")


class ShapingError(RuntimeError):
    """Says why links with delay or rate could not be had."""


@functools.cache
def has_netem() -> bool:
    """Asks the kernel, in a network namespace for this alone, whether it has netem. Needs root."""
    if shutil.which("tc") is None:
        return False
    tried = subprocess.run(_PROBE, capture_output=True, check=False, timeout=_ANSWER_SECONDS)
    return tried.returncode == 0


def means(plan: Plan) -> Literal["none", "netem", "user space"]:
    """Says what delays frames on the Plan's links when it is emulated here."""
    if not any(link.shaped for link in plan.links):
        return "none"
    return "netem" if has_netem() else "user space"


def held_frames(link: Link) -> int:
    """Returns how many frames one direction of a link holds."""
    if link.rate_bits is None:
        return MAXIMUM_FRAMES
    under_way = link.rate_bits * (link.delay_ns or 0) // (_FRAME_BITS * _NANOSECONDS)
    return min(QUEUE_FRAMES + under_way, MAXIMUM_FRAMES)


def netem_script(plan: Plan, name: str) -> str:
    """Returns the `sh` script that has the kernel delay what a node sends over such links."""
    lines = ["set -e\n"]
    for link in plan.links_of(name):
        if link.shaped:
            rate = "" if link.rate_bits is None else f" rate {link.rate_bits}bit"
            lines.append(
                f"tc qdisc replace dev {link.interface_of(name).name} root netem "
                f"limit {held_frames(link)} delay {(link.delay_ns or 0) // 1000}us{rate}\n"
            )
    return "".join(lines)


def netem_losses(
    plan: Plan, run: Callable[[str, Sequence[str]], subprocess.CompletedProcess[str]]
) -> dict[tuple[str, str], int]:
    """Reads how many frames netem has dropped, by sending and receiving node.

    `run` runs a command in a node. ShapingError when a queue does not say.
    """
    losses = {}
    for link in plan.links:
        for end in link.ends if link.shaped else ():
            interface = link.interface_of(end).name
            shown = run(end, ["tc", "-s", "-json", "qdisc", "show", "dev", interface])
            queues = json.loads(shown.stdout or "[]")
            dropped = [queue["drops"] for queue in queues if queue.get("kind") == "netem"]
            if not dropped:
                raise ShapingError(f"link {link.name}: expected netem on {interface}")
            losses[end, link.other_end(end)] = dropped[0]
    return losses


class Forwarder:
    """The process that carries frames over links with delay; see `delay_line`."""

    def __init__(
        self,
        links: Sequence[Link],
        processes: Mapping[str, int],
        start: Callable[..., subprocess.Popen[Any]],
        deadline_s: float,
    ) -> None:
        """Starts it by `start`, which ends it too, and waits until all its devices are there.

        `processes` maps each node to the ID of a process in its namespaces. ShapingError when the
        process ends or takes longer than `deadline_s` seconds.
        """
        self._links = links
        self._process = start(
            [sys.executable, "-I", "-S", str(Path(delay_line.__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        settings = [_settings(link, processes) for link in links]
        if self._ask(json.dumps(settings), deadline_s) != "ready":
            raise ShapingError("links with delay: expected their forwarder to be ready")

    def losses(self) -> dict[tuple[str, str], int]:
        """Returns how many frames were dropped, by sending and receiving node; ShapingError."""
        answer = json.loads(self._ask("", _ANSWER_SECONDS))
        return {
            ends: way["dropped"]
            for link, ways in zip(self._links, answer, strict=True)
            for ends, way in zip((link.ends, link.ends[::-1]), ways, strict=True)
        }

    def ended(self) -> str:
        """Returns why there are no links any more, nothing while there are."""
        code = self._process.poll()
        if code is None:
            return ""
        assert self._process.stderr is not None
        words = "" if self._process.stderr.closed else self._process.stderr.read().strip()
        return f"links with delay: their forwarder ended with exit code {code} {words}".strip()

    def _ask(self, question: str, seconds: float) -> str:
        """Writes one line and returns the next one that the process says; ShapingError."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(f"{question}\n")
            process.stdin.flush()
        except BrokenPipeError:
            process.wait(seconds)
            raise ShapingError(self.ended()) from None
        ready, _, _ = select.select([process.stdout], [], [], seconds)
        if not ready:
            raise ShapingError(f"links with delay: no answer within {seconds:g} s")
        answer: str = process.stdout.readline()
        if not answer:
            process.wait(seconds)
            raise ShapingError(self.ended())
        return answer.strip()


def _settings(link: Link, processes: Mapping[str, int]) -> dict[str, Any]:
    return {
        "delay_ns": link.delay_ns or 0,
        "rate_bits": link.rate_bits,
        "held_frames": held_frames(link),
        "ends": [
            {"pid": processes[end], "name": interface.name}
            for end, interface in zip(link.ends, link.interfaces, strict=True)
        ],
    }
