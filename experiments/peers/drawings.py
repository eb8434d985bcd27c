"""Draws how late frames come through our ways and through the peers: a distribution for each."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from pathlib import Path

from experiments.peers.catalog import PEERS
from experiments.peers.own import OWN
from experiments.peers.results import LATENCY
from experiments.records.record import Sample
from experiments.reports import plots
from experiments.reports.drawing import Drawing

_NS_PER_MS = 1e6


def draw(samples: Iterable[Sample], folder: Path) -> list[Drawing]:
    """Writes the picture, if there are samples for it, as SVG and PNG into a run's folder."""
    found: dict[str, dict[float, list[float]]] = {}
    for sample in samples:
        if sample.name == LATENCY:
            of_system = found.setdefault(sample.labels["system"], {})
            of_system.setdefault(float(sample.labels["quantile"]), []).append(sample.value)
    if not found:
        return []
    titles = {one.name: one.title for one in OWN}
    titles |= {one.name: one.title for one in PEERS.values()}
    curves = [
        plots.Curve(
            titles.get(name, name),
            sorted(found[name]),
            [statistics.median(found[name][share]) / _NS_PER_MS for share in sorted(found[name])],
        )
        for name in (*(name for name in titles if name in found), *(found.keys() - titles.keys()))
    ]
    svg, _ = plots.distributions(curves, folder, "latency", "ms from LAN to LAN, one way")
    medians = "; ".join(
        f"{curve.name} {curve.values[curve.shares.index(0.5)]:.3g}"
        for curve in curves
        if 0.5 in curve.shares
    )
    caption = (
        "Latency of frames of 1360 octets at half of the highest load that each system bears, so "
        "that loads differ. Each point is the median over all windows of what so many frames stayed "
        f"below. In ms, the middle frame: {medians}."
    )
    return [Drawing(svg, caption)]
