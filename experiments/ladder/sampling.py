"""Samples the stages of a server's loop in windows of their own, and puts them beside its whole cost."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.instrument.programs import InstrumentError
from experiments.instrument.rig import Rig
from experiments.instrument.window import Load
from experiments.ladder.server import START, STOP, SUFFIX

ANSWER_SECONDS = 10.0
_POLL_SECONDS = 0.002

STAGES = {
    "receive": "receive",
    "tag": "hop tag",
    "decide": "look up, headers",
    "reseal": "look up, headers",
    "open": "open: ESP, window",
    "open_cipher": "open: cipher",
    "seal": "seal: ESP",
    "seal_cipher": "seal: cipher",
    "send": "send",
}
"""What the stopwatch's stages are called; a hub looks up beside opening and sealing, and makes headers."""
PROGRAM = "kernel program"
"""The eBPF program's run time, in place of all stages of a process."""
REST = "not attributed"
"""What the sum of the stages is less than the whole: wake-ups, the loop, moving between the stages."""


@dataclass(frozen=True)
class StageWindow:
    """What one window with the stopwatch on has shown: ns per frame in, by stage."""

    flow: str
    server: str
    stages: Mapping[str, float]


def sample(rig: Rig, flow: str, server: str, load: Load, windows: int) -> list[StageWindow]:
    """Measures some windows with the stopwatch on; InstrumentError when the server does not answer."""
    found = []
    for _ in range(windows):
        _tell(rig, server, START, on=True)
        window = rig.measure(server, load)
        spent = _tell(rig, server, STOP, on=False)["stages"]
        if window.frames_in:
            found.append(StageWindow(flow, server, _by_name(spent, window.frames_in)))
    return found


def _by_name(spent: Mapping[str, float], frames: int) -> dict[str, float]:
    named: dict[str, float] = {}
    for stage, ns in spent.items():
        named[STAGES[stage]] = named.get(STAGES[stage], 0.0) + ns / frames
    return named


def _tell(rig: Rig, server: str, what: signal.Signals, on: bool) -> dict[str, Any]:
    """Signals a server and waits for its word that it has done so."""
    file = (rig.folder / server).with_suffix(SUFFIX)
    file.unlink(missing_ok=True)
    os.kill(rig.process(server), what)
    return _answer(file, server, on)


def _answer(file: Path, server: str, on: bool) -> dict[str, Any]:
    deadline = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < deadline:
        if file.exists():
            said: dict[str, Any] = json.loads(file.read_bytes())
            if said["on"] is on:
                return said
        time.sleep(_POLL_SECONDS)
    raise InstrumentError(f"{server}: no word of its stopwatch within {ANSWER_SECONDS:.0f} s")


def means(windows: Sequence[StageWindow]) -> dict[str, list[float]]:
    """Returns each stage's values, one for each window."""
    names = dict.fromkeys(name for window in windows for name in window.stages)
    return {name: [window.stages.get(name, 0.0) for window in windows] for name in names}
