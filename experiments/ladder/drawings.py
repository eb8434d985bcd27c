"""Draws the ladder: bars by stage, where the gap comes from, ratios by group and frame size, rates."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from experiments.ladder.results import FLOW_TITLES, PART_NAMES
from experiments.ladder.rungs import (
    BASE_MEMBERS,
    BASE_SIZE,
    HUBS,
    KERNEL,
    PLANES,
    RUNGS,
    SERVERS,
    Cell,
    plane_of,
    rung_of,
    server,
)
from experiments.ladder.sampling import PROGRAM, REST, STAGES
from experiments.planes.cells import FLOWS
from experiments.records.record import Figure
from experiments.reports import plots
from experiments.reports.drawing import Drawing

Figures = Mapping[str, Figure]
PARTS = tuple(dict.fromkeys((*STAGES.values(), PROGRAM, REST)))
NS_LABEL = "ns per frame in (two copies out)"
_CELL = re.compile(r"(?P<flow>\w+)\.n(?P<members>\d+)\.(?P<size>\d+)\.(?P<server>[\w-]+)")


def draw(figures: Figures, folder: Path) -> list[Drawing]:
    """Writes the pictures for which there are figures, as SVG and PNG, into a run's folder."""
    drawings: list[Drawing] = []
    for flow in FLOWS:
        drawings += _stages(figures, folder, flow)
    drawings += _gaps(figures, folder)
    for plane in PLANES:
        for flow in FLOWS:
            drawings += _ratios(figures, folder, plane, flow)
    for flow in FLOWS:
        drawings += _rates(figures, folder, flow)
    return drawings


def _name(one: str) -> str:
    return f"{RUNGS[rung_of(one)]} · {plane_of(one)}"


def _stages(figures: Figures, folder: Path, flow: str) -> Iterator[Drawing]:
    """Draws each server's stages, and its whole cost, which was measured without the stopwatch."""
    rows = []
    for one in SERVERS:
        whole = figures.get(f"ns_per_frame_in.{Cell(flow).name}.{one}")  # type: ignore[arg-type]
        if whole is None:
            continue
        prefix = f"stage.{flow}.{one}."
        parts = {
            name.removeprefix(prefix): figure.value
            for name, figure in figures.items()
            if name.startswith(prefix)
        }
        point = plots.Point(0, whole.value, whole.low, whole.high)
        rows.append(plots.Stack(_name(one), parts, point))
    if not any(row.parts.keys() - {PROGRAM, REST} for row in rows):
        return
    svg, _ = plots.stacks(rows, PARTS, folder, f"ladder-{flow}", NS_LABEL)
    values = "; ".join(f"{row.name} {row.whole.value:.0f}" for row in rows if row.whole)
    yield Drawing(
        svg,
        f"What a frame costs by stage, datagrams {FLOW_TITLES[flow]}. Diamonds: the whole with its 95 % "
        f"interval, measured with no stopwatch; stages: sampled in windows of their own; dotted: what "
        f"they leave of the whole. In ns: {values}.",
    )


def _gaps(figures: Figures, folder: Path) -> Iterator[Drawing]:
    """Draws what a hub on sockets costs more than the relay in the kernel, part by part."""
    rows, words = [], []
    for flow in FLOWS:
        for hub in HUBS[1:]:
            whole = figures.get(f"gap.{flow}.{hub}.all")
            if whole is None:
                continue
            parts = {
                title: figures[f"gap.{flow}.{hub}.{part}"].value
                for part, title in PART_NAMES.items()
            }
            name = f"{RUNGS[hub]}\n{FLOW_TITLES[flow]}"
            rows.append(
                plots.Stack(name, parts, plots.Point(0, whole.value, whole.low, whole.high))
            )
            shares = ", ".join(
                f"{title} {figures[f'gap_share.{flow}.{hub}.{part}'].value:.0%}"
                for part, title in PART_NAMES.items()
            )
            words.append(f"{RUNGS[hub]}, {FLOW_TITLES[flow]}: {shares}")
    if not rows:
        return
    order = ["", "", "", PART_NAMES["esp"], PART_NAMES["cipher"]]
    order += ["", "", PART_NAMES["batching"], PART_NAMES["kernel"]]
    svg, _ = plots.stacks(rows, order, folder, "ladder-gap", NS_LABEL)
    yield Drawing(
        svg,
        "What a hub on sockets costs more than the blind relay in the kernel, and what that comes from; "
        f"a part below 0 is not drawn. {'; '.join(words)}.",
    )


def _ratios(figures: Figures, folder: Path, plane: str, flow: str) -> Iterator[Drawing]:
    """Draws every rung above the relay in one plane over the relay, by group and by frame size."""
    for stem, label, x, chosen in (
        ("group", "clients in the group", _members, lambda cell: cell.size == BASE_SIZE),
        ("size", "octets of a frame", _size, lambda cell: cell.members == BASE_MEMBERS),
    ):
        series = _series(figures, plane, flow, x, chosen)
        if len({point.x for points in series.values() for point in points}) < 2:
            continue
        name = f"ladder-ratio-{plane}-{flow}-by-{stem}"
        svg, _ = plots.ratios(series, folder, name, label, f"cost / blind relay's, {plane}")
        values = "; ".join(
            f"{title} " + ", ".join(f"{point.value:.2f} at {point.x:g}" for point in points)
            for title, points in series.items()
        )
        yield Drawing(
            svg,
            f"Cost of a frame over the blind relay's in the same plane ({plane}), datagrams "
            f"{FLOW_TITLES[flow]}, 95 % intervals. {values}.",
        )


def _series(
    figures: Figures,
    plane: str,
    flow: str,
    x: Callable[[Cell], int],
    chosen: Callable[[Cell], bool],
) -> dict[str, list[plots.Point]]:
    """Returns the points of each rung but null and relay, whose ratios the picture is not about."""
    found: dict[str, list[plots.Point]] = {}
    for rung, title in RUNGS.items():
        if rung in ("null", "relay") or (plane == KERNEL and rung in HUBS):
            continue
        for name, figure in figures.items():
            parsed = _CELL.fullmatch(name.removeprefix("over_relay."))
            if parsed is None or parsed["server"] != server(rung, plane) or parsed["flow"] != flow:
                continue
            cell = Cell(parsed["flow"], int(parsed["members"]), int(parsed["size"]))  # type: ignore[arg-type]
            if name.startswith("over_relay.") and chosen(cell):
                point = plots.Point(x(cell), figure.value, figure.low, figure.high)
                found.setdefault(title, []).append(point)
    return {title: sorted(points, key=lambda one: one.x) for title, points in found.items()}


def _members(cell: Cell) -> int:
    return cell.members


def _size(cell: Cell) -> int:
    return cell.size


def _rates(figures: Figures, folder: Path, flow: str) -> Iterator[Drawing]:
    """Draws the highest rate without loss of each server."""
    rows, least = [], []
    for one in SERVERS:
        figure = figures.get(f"loss_free.{flow}.{one}")
        if figure is not None:
            point = plots.Point(0, figure.value, figure.low, figure.high)
            title = _name(one)
            if "at least" in figure.unit:
                title += " (at least)"
                least.append(_name(one))
            rows.append(plots.Stack(title, {plane_of(one): point.value}, point))
    if not rows:
        return
    label = "frames a second in, two copies out"
    svg, _ = plots.stacks(rows, PLANES, folder, f"ladder-rate-{flow}", label)
    values = "; ".join(f"{row.name} {row.whole.value:,.0f}" for row in rows if row.whole)
    said = f" At least: the generator's limit ({', '.join(least)})." if least else ""
    yield Drawing(svg, f"Highest rate without loss, datagrams {FLOW_TITLES[flow]}.{said} {values}.")
