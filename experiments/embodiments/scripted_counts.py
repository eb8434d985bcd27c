"""Counts of the scripted probe frames: the same in every run of the same plan, on every machine."""

from __future__ import annotations

from collections import Counter

from experiments.embodiments.seen import Seen
from experiments.records import figures as figures_of
from experiments.records.record import COUNT, Figure

COUNTERS = "clients counted"
"""A VPN server's table that has a row for whoever anything has passed by: not the scripted frames alone."""


def scripted_counts(seen: Seen) -> dict[str, Figure]:
    """Counts packets with probe frames at each captured interface, frames received, and rows of tables."""
    found: Counter[str] = Counter()
    sent = set(seen.probes.round.frames())
    for frame in seen.decoded:
        if frame.octets in sent:
            found[f"packets.{frame.interface}"] += 1
    for terminal, frames in seen.probes.received.items():
        found[f"frames.{terminal}"] = len(frames)
    for node, status in seen.statuses.items():
        for title, table in status["tables"].items():
            if title == COUNTERS:
                continue
            found[f"rows.{node}.{title.split()[0]}"] += len(table["rows"])
    return {f"{COUNT}{name}": figures_of.exact(value, "count") for name, value in found.items()}
