"""Writes the report of a run: one HTML file that needs nothing but itself.

It is made of record.json and summary.json alone, so that it can be written again at any time.
Samples of some names are shown in a way of their own:

- ``node.load``, label ``node``, and ``link.load``, labels ``a`` and ``b``: counts in the drawing of
  the topology, whose unit is named below it;
- ``map.link`` and ``map.server``: the maps of the scale model;
- ``drops``, labels ``node`` and ``reason``: the table of drops.

All others are listed by name at the end: number, smallest, median and largest value.
"""

from __future__ import annotations

import re
import statistics
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.embodiments.vpn_servers import drawings as server_drawings
from experiments.evidence.table import contradictions, load
from experiments.ladder import drawings as ladder_drawings
from experiments.peers import drawings as peer_drawings
from experiments.records.record import (
    CLAIMS,
    COUNT,
    DROPS,
    LINK_LOAD,
    NODE_LOAD,
    NOT_TESTED,
    Figure,
    Record,
    RecordError,
    Sample,
    Summary,
    load_record,
    load_summary,
    write_atomically,
)
from experiments.relay_load import drawings as ratio_drawings
from experiments.reports import network_plot
from experiments.reports.drawing import Drawing
from experiments.reports.pages import render
from experiments.scale import drawings as scale_drawings

REPORT_NAME = "report.html"


@dataclass(frozen=True)
class Headline:
    """Says in one sentence whether all is well, and lists what is not."""

    ok: bool
    text: str
    faults: tuple[str, ...]


@dataclass(frozen=True)
class SampleRow:
    """Condenses all samples of one name and unit."""

    name: str
    unit: str
    count: int
    low: float
    median: float
    high: float


def write_report(folder: Path) -> Path:
    """Writes report.html, and the drawing as SVG and PNG, into a run's folder; gives its path.

    Raises RecordError when the record or the summary is missing or broken.
    """
    record, summary = load_record(folder), load_summary(folder)
    if record.topo != summary.topo:
        raise RecordError(f"{folder.name}: record of {record.topo}, summary of {summary.topo}")
    drawing, picture = topology(record, folder)
    texts = {row.name: row.says for row in load().rows}
    judged = [name for name in CLAIMS if summary.claims[name] != NOT_TESTED]
    html = render(
        "report.html",
        record=record,
        summary=summary,
        headline=headline(summary),
        drawing=drawing,
        picture=picture,
        plots={
            title: [(inline(one), one.caption) for one in drawn]
            for title, drawn in pictures(record, summary, folder).items()
        },
        figures=_figures(summary, scripted=False),
        counts=_figures(summary, scripted=True),
        claims=[(name, texts[name], summary.claims[name]) for name in judged],
        untested=[name for name in CLAIMS if name not in judged],
        drops=[sample for sample in record.samples if sample.name == DROPS],
        load_units=load_units(record),
        rows=sample_rows(record.samples),
        title=f"{record.topo}, {record.started[:16].replace('T', ' ')} UTC",
    )
    path = folder / REPORT_NAME
    write_atomically(path, html.encode())
    return path


def pictures(record: Record, summary: Summary, folder: Path) -> dict[str, list[Drawing]]:
    """Draws all there is to draw of a run but its topology, into a folder; by heading."""
    return {
        "Relay against hub": ratio_drawings.draw(summary.figures, folder),
        "The ladder": ladder_drawings.draw(summary.figures, folder),
        "The busiest server": server_drawings.draw(summary.figures, folder),
        "Latency": peer_drawings.draw(record.samples, folder),
        "The scale model": scale_drawings.draw(summary.figures, record.samples, folder),
    }


def headline(summary: Summary) -> Headline:
    """Says what a reader wants to know first."""
    faults = [
        f"{name}: {invariant.detail}"
        for name, invariant in summary.invariants.items()
        if not invariant.held
    ]
    faults += [
        f"{name} {claim.verdict}: {claim.evidence}"
        for name, claim in contradictions(summary.claims).items()
    ]
    broken = sum(not invariant.held for invariant in summary.invariants.values())
    total = len(summary.invariants)
    if summary.ok:
        noun = "The one invariant" if total == 1 else f"All {total} invariants"
        return Headline(True, f"{noun} held.", tuple(faults))
    if broken:
        verb = "does" if broken == 1 else "do"
        return Headline(False, f"{broken} of {total} invariants {verb} not hold.", tuple(faults))
    if not total:
        return Headline(False, "No invariant was checked.", tuple(faults))
    return Headline(False, "A verdict contradicts what is expected.", tuple(faults))


def sample_rows(samples: tuple[Sample, ...]) -> list[SampleRow]:
    """Condenses the samples that have no place of their own in the report."""
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for sample in samples:
        if sample.name not in (NODE_LOAD, LINK_LOAD, DROPS):
            values[sample.name, sample.unit].append(sample.value)
    return [
        SampleRow(name, unit, len(some), min(some), statistics.median(some), max(some))
        for (name, unit), some in sorted(values.items())
    ]


def load_units(record: Record) -> str:
    """Says what the counts in the drawing count; empty where there are none."""
    parts = []
    for name, place in ((NODE_LOAD, "at nodes"), (LINK_LOAD, "at links")):
        units = sorted({sample.unit for sample in record.samples if sample.name == name})
        if units:
            parts.append(f"{place} {', '.join(units)}")
    return f"Counts: {'; '.join(parts)}." if parts else ""


def topology(record: Record, folder: Path) -> tuple[str, str]:
    """Draws the topology; gives the SVG for inlining, and the drawing in words."""
    if not record.plan.get("nodes"):
        return "", ""
    node_loads = {
        sample.labels["node"]: sample.value
        for sample in record.samples
        if sample.name == NODE_LOAD and "node" in sample.labels
    }
    link_loads = {
        (sample.labels["a"], sample.labels["b"]): sample.value
        for sample in record.samples
        if sample.name == LINK_LOAD and {"a", "b"} <= sample.labels.keys()
    }
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        for path in network_plot.draw(record.plan, Path(scratch), node_loads, link_loads):
            path.replace(folder / path.name)
    text = (folder / "topology.svg").read_text(encoding="utf-8")
    return _inline(text), _in_words(record.plan)


def _figures(summary: Summary, scripted: bool) -> dict[str, Figure]:
    """Returns the figures that are counts of scripted frames, by what is counted, or the others."""
    return {
        name.removeprefix(COUNT): figure
        for name, figure in summary.figures.items()
        if name.startswith(COUNT) is scripted
    }


def inline(drawing: Drawing) -> str:
    """Gives a picture for inlining."""
    return _inline(drawing.svg.read_text(encoding="utf-8"))


def _inline(svg: str) -> str:
    """Turns an SVG file into part of a page: no prologue, the page's size, one picture to readers."""
    start = svg.index("<svg")
    opening = re.sub(r' (width|height)="[^"]*"', "", svg[start : svg.index(">", start)])
    return f'{opening} aria-hidden="true" focusable="false"' + svg[svg.index(">", start) :]


def _in_words(plan: dict[str, Any]) -> str:
    """Says what the drawing shows, for readers who cannot see it."""
    roles: dict[str, list[str]] = defaultdict(list)
    for node in plan["nodes"]:
        roles[node["role"]].append(node["name"])
    parts = [
        f"{len(names)} {role if len(names) == 1 else role + 's'} ({', '.join(names)})"
        for role, names in roles.items()
    ]
    links = ", ".join("–".join(link["ends"]) for link in plan["links"])
    return f"Topology {plan.get('name', '')}: {'; '.join(parts)}. Links: {links}."
