"""Draws figures as SVG and PNG; the only module that imports matplotlib."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import LogLocator, NullFormatter

# Okabe and Ito's colours, told apart with every kind of colour vision; fills are light enough for
# black text, and shapes and line widths repeat what the colours say, for print in grey.
STYLE: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "svg.fonttype": "none",
    "svg.hashsalt": "blindrelay",
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "axes.edgecolor": "#444444",
    "axes.grid": True,
    "grid.color": "#dddddd",
    "lines.linewidth": 1.6,
}
PIXELS_PER_INCH = 150

Pair = tuple[str, str]


@dataclass(frozen=True)
class RoleStyle:
    """Says how nodes of a role look: name in the legend, fill, edge, corner radius, edge width."""

    title: str
    fill: str
    edge: str
    rounding: float
    width: float


ROLES = {
    "server": RoleStyle("server (relay, key server)", "#F5C88A", "#B35900", 0.0, 2.4),
    "relay": RoleStyle("VPN server (relay)", "#EBCBDD", "#A8447A", 0.23, 2.4),
    "router": RoleStyle("Internet, routers", "#EEEEEE", "#666666", 0.2, 1.2),
    "client": RoleStyle("VPN client", "#A9D5F0", "#0072B2", 0.08, 1.8),
    "lan": RoleStyle("LAN", "#FFFFFF", "#444444", 0.0, 0.8),
    "terminal": RoleStyle("terminal", "#BFE5D8", "#007A59", 0.16, 1.0),
}
REPRESENTATIVE = "representative (key server)"
"""What the server is called where other nodes relay."""
_BOX = (0.86, 0.46)
"""The smallest box of a node, inches; it grows with the longest name."""
_INCHES_A_CHARACTER = 0.1
_LINK_LABEL_WIDTH = 0.66
_LINK_LABEL_HEIGHT = 0.24
_MARGIN = 0.35
_LEGEND_HEIGHT = 0.4
_LEGEND_LINE = 0.24
_LEGEND_GAP = 0.5
"""Of the legend, inches: its first line and each further one; what an entry has beside its words."""
_MAXIMUM_INCHES = 40.0
_GROUP_LINES = ("solid", (0, (4, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2)))
"""How the edges of the first, second, … VPN group's nodes are drawn."""


def topology(
    plan: Mapping[str, Any],
    folder: Path,
    node_loads: Mapping[str, float] | None = None,
    link_loads: Mapping[Pair, float] | None = None,
    stem: str = "topology",
) -> tuple[Path, Path]:
    """Draws a plan with counts at nodes and links; gives the paths of the SVG and the PNG.

    ``plan`` is what a Plan's ``to_json()`` gives; a link's load is keyed by its two ends in either
    order. The picture is as large as its labels need, so that none overlaps another.
    """
    loads = {frozenset(ends): load for ends, load in (link_loads or {}).items()}
    nodes = {node["name"]: node for node in plan["nodes"]}
    links = [tuple(link["ends"]) for link in plan["links"]]
    longest = max((len(_label(node)) for node in nodes.values()), default=0)
    box = max(_BOX[0], longest * _INCHES_A_CHARACTER), _BOX[1]
    places = _places(nodes, links, box)
    width = max(x for x, _ in places.values()) + box[0] / 2 + _MARGIN
    lines = _group_lines(plan)
    legend = _legend_entries({node["role"] for node in nodes.values()}, lines)
    columns = _legend_columns(legend, width)
    height = max(y for _, y in places.values()) + box[1] / 2 + _MARGIN + _LEGEND_HEIGHT
    height += (-(-len(legend) // columns) - 1) * _LEGEND_LINE
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, width)
        axes.set_ylim(0, height)
        axes.axis("off")
        for ends in links:
            _draw_link(axes, places[ends[0]], places[ends[1]], loads.get(frozenset(ends)))
        for name, place in places.items():
            line = lines.get(nodes[name].get("vpn_id"), "solid")
            _draw_node(axes, nodes[name], place, box, (node_loads or {}).get(name), line)
        axes.legend(
            handles=legend,
            loc="upper center",
            ncols=columns,
            frameon=False,
            fontsize=9.5,
            handletextpad=0.2,
            columnspacing=1.2,
        )
        return save(figure, folder, stem)


@dataclass(frozen=True)
class Point:
    """One value of a series with its 95 % interval."""

    x: float
    value: float
    low: float
    high: float


_MARKERS = (
    ("#0072B2", "o", "solid"),
    ("#D55E00", "s", "dashed"),
    ("#009E73", "^", "dotted"),
    ("#CC79A7", "D", "dashdot"),
)
"""Colour, marker and line of the first, second, … series: each tells by itself."""
_FIT_INSIDE = 2
"""Series whose legend finds room between the lines."""


def ratios(
    series: Mapping[str, Sequence[Point]],
    folder: Path,
    stem: str,
    x_label: str,
    y_label: str,
) -> tuple[Path, Path]:
    """Draws ratios with their intervals against x, and the line at 1; the paths of SVG and PNG.

    Each x that occurs is a place of its own on the axis: sizes and numbers of clients are few.
    """
    places = sorted({point.x for points in series.values() for point in points})
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 3.4), layout="constrained")
        axes = figure.add_subplot()
        axes.axhline(1.0, color="#444444", linewidth=1.2)
        for index, (name, points) in enumerate(series.items()):
            colour, marker, line = _MARKERS[index % len(_MARKERS)]
            ordered = sorted(points, key=lambda point: point.x)
            shift = 0.06 * (index - (len(series) - 1) / 2)
            axes.errorbar(
                [places.index(point.x) + shift for point in ordered],
                [point.value for point in ordered],
                yerr=[
                    [point.value - point.low for point in ordered],
                    [point.high - point.value for point in ordered],
                ],
                color=colour,
                marker=marker,
                linestyle=line,
                capsize=4,
                label=name,
            )
        axes.set_xticks(range(len(places)), [f"{place:g}" for place in places])
        axes.set_xlim(-0.4, len(places) - 0.6)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.set_ylim(bottom=min(0.9, axes.get_ylim()[0]))
        if len(series) > _FIT_INSIDE:
            figure.legend(loc="outside lower center", ncols=2, frameon=False, handlelength=3.5)
        else:
            axes.legend(frameon=False)
        return save(figure, folder, stem)


@dataclass(frozen=True)
class Series:
    """Points that belong together, and what they look like: colour and shape numbers, from 0."""

    name: str
    points: Sequence[Point]
    colour: int
    shape: int


_SHAPES = (
    ("o", "solid"),
    ("s", "dashed"),
    ("^", "dashdot"),
    ("D", "dotted"),
    ("v", "dashed"),
    ("P", "dotted"),
)
"""Marker and line of the first, second, … shape."""
_COLOURS = (("#AAAAAA", 5.0), ("#0072B2", 2.8), ("#D55E00", 1.3), ("#009E73", 0.8))
"""Colour and width of the first, second, … line: one that lies on another leaves its edges to be seen."""
_BAR_INCHES = 0.42
_TICKS_OF_ONE_DECADE = (1, 2, 3, 5)


def lines(
    series: Sequence[Series], folder: Path, stem: str, x_label: str, y_label: str
) -> tuple[Path, Path]:
    """Draws series against x, both axes in steps of equal ratio; gives the paths of SVG and PNG.

    A value of 0, which has no place on such an axis, makes the upright one linear.
    """
    places = sorted({point.x for one in series for point in one.points})
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.6, 3.8), layout="constrained")
        axes = figure.add_subplot()
        for one in series:
            ordered = sorted(one.points, key=lambda point: point.x)
            marker, line = _SHAPES[one.shape % len(_SHAPES)]
            colour, width = _COLOURS[one.colour % len(_COLOURS)]
            axes.errorbar(
                [point.x for point in ordered],
                [point.value for point in ordered],
                yerr=_reaches(ordered),
                color=colour,
                marker=marker,
                markersize=4 + width,
                linestyle=line if len(ordered) > 1 else "none",
                linewidth=width,
                elinewidth=1.2,
                capsize=3,
                label=one.name,
            )
        axes.set_xscale("log", base=2)
        axes.set_xticks(places, [f"{place:g}" for place in places])
        axes.minorticks_off()
        if all(point.low > 0 for one in series for point in one.points):
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=_TICKS_OF_ONE_DECADE))
            axes.yaxis.set_major_formatter(lambda value, _: _count(value))
            axes.yaxis.set_minor_formatter(NullFormatter())
        else:
            axes.set_ylim(bottom=0)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        figure.legend(loc="outside right center", frameon=False, handlelength=4)
        return save(figure, folder, stem)


def bars(series: Sequence[Series], folder: Path, stem: str, x_label: str) -> tuple[Path, Path]:
    """Draws the one value of each series as a bar with its name; gives the paths of SVG and PNG."""
    points = [one.points[0] for one in series]
    colours = [one.colour for one in series]
    with matplotlib.rc_context(STYLE):
        size = (6.6, 0.8 + _BAR_INCHES * len(series))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        drawn = axes.barh(
            range(len(series)),
            [point.value for point in points],
            height=0.62,
            xerr=_reaches(points),
            color=[_COLOURS[colour % len(_COLOURS)][0] for colour in colours],
            hatch=["///" if colour in colours[:at] else "" for at, colour in enumerate(colours)],
            edgecolor="white",
            error_kw={"capsize": 4, "ecolor": "#222222"},
        )
        axes.bar_label(drawn, [_count(point.value) for point in points], padding=6)
        axes.set_yticks(range(len(series)), [one.name for one in series])
        axes.invert_yaxis()
        axes.set_axisbelow(True)
        axes.set_xlim(0, 1.15 * max([*(point.high for point in points), 1e-9]))
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel(x_label)
        return save(figure, folder, stem)


@dataclass(frozen=True)
class Stack:
    """A bar of parts that follow each other, and the whole that was measured apart from them."""

    name: str
    parts: Mapping[str, float]
    whole: Point | None = None


_FILLS = (
    ("#56B4E9", ""),
    ("#CC79A7", ""),
    ("#009E73", ""),
    ("#E69F00", ""),
    ("#D55E00", ""),
    ("#E69F00", "////"),
    ("#D55E00", "////"),
    ("#0072B2", ""),
    ("#F0E442", ""),
    ("#DDDDDD", "...."),
)
"""Fill and hatch of the first, second, … part: neighbours differ in grey, too."""


def stacks(
    rows: Sequence[Stack], parts: Sequence[str], folder: Path, stem: str, x_label: str
) -> tuple[Path, Path]:
    """Draws bars of parts, in the order and the fills of ``parts``; gives the paths of SVG and PNG.

    The whole stands as a diamond with its interval, and as a number behind the bar.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 1.5 + 0.34 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        ends = [0.0] * len(rows)
        for place, part in enumerate(parts):
            widths = [max(0.0, row.parts.get(part, 0.0)) for row in rows]
            if not any(widths):
                continue
            fill, hatch = _FILLS[place % len(_FILLS)]
            axes.barh(
                range(len(rows)),
                widths,
                left=ends,
                height=0.66,
                color=fill,
                hatch=hatch,
                edgecolor="white",
                linewidth=0.6,
                label=part,
            )
            ends = [end + width for end, width in zip(ends, widths, strict=True)]
        for at, row in enumerate(rows):
            if row.whole is not None:
                _draw_whole(axes, at, row.whole, ends[at])
        axes.set_yticks(range(len(rows)), [row.name for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_axisbelow(True)
        axes.set_xlim(0, 1.14 * max([*ends, *(row.whole.high for row in rows if row.whole), 1e-9]))
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel(x_label)
        figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8.5)
        return save(figure, folder, stem)


def _draw_whole(axes: Axes, at: int, whole: Point, end: float) -> None:
    axes.errorbar(
        [whole.value],
        [at],
        xerr=[[whole.value - whole.low], [whole.high - whole.value]],
        color="#111111",
        marker="D",
        markersize=4,
        capsize=3,
        linestyle="none",
    )
    axes.annotate(
        _count(round(whole.value)),
        (max(whole.high, end), at),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        fontsize=8.5,
    )


def _reaches(points: Sequence[Point]) -> Any:
    """Gives how far each interval reaches below and above its value; None where all are exact."""
    if all(point.low == point.high for point in points):
        return None
    return [
        [point.value - point.low for point in points],
        [point.high - point.value for point in points],
    ]


def _places(
    nodes: Mapping[str, Any], links: list[Any], box: tuple[float, float]
) -> dict[str, tuple[float, float]]:
    """Gives each node's middle in inches, so far apart that boxes and link labels have room."""
    raw = {name: (float(x), float(y)) for name, (x, y) in _positions(nodes)}
    joined = {frozenset(ends) for ends in links}
    names = sorted(raw)
    scale = 0.0
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            across = abs(raw[one][0] - raw[other][0])
            along = abs(raw[one][1] - raw[other][1])
            label = frozenset((one, other)) in joined
            wide = box[0] + (_LINK_LABEL_WIDTH + 0.1 if label else 0.12)
            tall = box[1] + (_LINK_LABEL_HEIGHT + 0.12 if label else 0.12)
            scale = max(scale, min(_ratio(wide, across), _ratio(tall, along)))
    left = min((x for x, _ in raw.values()), default=0.0)
    bottom = min((y for _, y in raw.values()), default=0.0)
    extent = max((max(x - left, y - bottom) for x, y in raw.values()), default=1.0)
    scale = min(scale, _MAXIMUM_INCHES / max(extent, 1e-9))
    return {
        name: (
            (x - left) * scale + box[0] / 2 + _MARGIN,
            (y - bottom) * scale + box[1] / 2 + _MARGIN,
        )
        for name, (x, y) in raw.items()
    }


def _positions(nodes: Mapping[str, Any]) -> list[tuple[str, tuple[float, float]]]:
    """Gives the plan's positions; nodes without one go round a circle."""
    placed = []
    for index, (name, node) in enumerate(nodes.items()):
        angle = 2 * math.pi * index / len(nodes)
        x, y = node.get("position") or (3 * math.cos(angle), 3 * math.sin(angle))
        placed.append((name, (x, y)))
    return placed


def _ratio(wanted: float, given: float) -> float:
    return wanted / given if given > 1e-9 else math.inf


def _group_lines(plan: Mapping[str, Any]) -> dict[Any, Any]:
    """Gives each VPN ID that a node has its kind of line; beyond four groups they repeat."""
    drawn = {node.get("vpn_id") for node in plan["nodes"]}
    groups = [group["vpn_id"] for group in plan.get("groups", ()) if group["vpn_id"] in drawn]
    return {group: _GROUP_LINES[i % len(_GROUP_LINES)] for i, group in enumerate(groups)}


def _draw_link(
    axes: Axes, one: tuple[float, float], other: tuple[float, float], load: float | None
) -> None:
    carries = bool(load)
    axes.plot(
        (one[0], other[0]),
        (one[1], other[1]),
        color="#555555" if carries else "#aaaaaa",
        linewidth=1.8 if carries else 1.0,
        zorder=1,
        solid_capstyle="round",
    )
    if load is not None:
        axes.text(
            *_visible_middle(one, other),
            _count(load),
            ha="center",
            va="center",
            fontsize=9,
            color="#222222",
            bbox={"boxstyle": "square,pad=0.15", "facecolor": "white", "edgecolor": "none"},
            zorder=2,
        )


def _visible_middle(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """Gives the middle between two boxes of equal size, which is that of their middles."""
    return (one[0] + other[0]) / 2, (one[1] + other[1]) / 2


def _draw_node(
    axes: Axes,
    node: Mapping[str, Any],
    place: tuple[float, float],
    box: tuple[float, float],
    load: float | None,
    line: Any,
) -> None:
    style = ROLES[node["role"]]
    x, y = place
    axes.add_patch(
        FancyBboxPatch(
            (x - box[0] / 2, y - box[1] / 2),
            *box,
            boxstyle=f"round,pad=0,rounding_size={style.rounding}"
            if style.rounding
            else "square,pad=0",
            facecolor=style.fill,
            edgecolor=style.edge,
            linewidth=style.width,
            linestyle=line,
            zorder=3,
        )
    )
    shift = 0.09 if load is not None else 0.0
    axes.text(x, y + shift, _label(node), ha="center", va="center", fontsize=10.5, zorder=4)
    if load is not None:
        axes.text(x, y - 0.11, _count(load), ha="center", va="center", fontsize=9, zorder=4)


def _label(node: Mapping[str, Any]) -> str:
    """Gives a node's name, and the user's at a client."""
    if node["role"] == "client" and node.get("user"):
        return f"{node['name']} ({node['user']})"
    return str(node["name"])


def _legend_entries(present: set[str], lines: Mapping[Any, Any]) -> list[Line2D]:
    """Returns an entry for each role that is there, and for each group where there are several."""
    entries = [
        Line2D(
            [],
            [],
            marker="s",
            linestyle="none",
            markersize=9,
            markerfacecolor=style.fill,
            markeredgecolor=style.edge,
            markeredgewidth=style.width * 0.7,
            label=REPRESENTATIVE if role == "server" and "relay" in present else style.title,
        )
        for role, style in ROLES.items()
        if role in present
    ]
    if len(lines) > 1:
        entries += [
            Line2D([], [], color="#444444", linewidth=1.6, linestyle=line, label=f"VPN {group}")
            for group, line in lines.items()
        ]
    return entries


def _legend_columns(entries: Sequence[Line2D], width: float) -> int:
    """Returns how many entries stand side by side in ``width`` inches."""
    longest = max((len(str(entry.get_label())) for entry in entries), default=1)
    one = longest * _INCHES_A_CHARACTER * 0.75 + _LEGEND_GAP
    beside = sum(
        len(str(e.get_label())) * _INCHES_A_CHARACTER * 0.75 + _LEGEND_GAP for e in entries
    )
    return len(entries) if beside <= width else max(1, int(width / one))


def _count(value: float) -> str:
    """Writes a load short enough for its place: 1234567 as 1.23 M, 45678 as 45.7 k."""
    for limit, divisor, unit in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e5, 1e3, "k")):
        if abs(value) >= limit:
            return f"{value / divisor:.3g} {unit}"
    return f"{value:,.0f}".replace(",", "\u202f") if value == round(value) else f"{value:.3g}"


def save(figure: Figure, folder: Path, stem: str) -> tuple[Path, Path]:
    """Writes a figure as SVG and PNG, the same octets for the same figure."""
    paths = folder / f"{stem}.svg", folder / f"{stem}.png"
    figure.savefig(paths[0], metadata={"Date": None})
    drawing = paths[0].read_text(encoding="utf-8")
    # Verdana is as wide as DejaVu Sans, which not every reader has.
    drawing = drawing.replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")
    paths[0].write_text(drawing, encoding="utf-8")
    figure.savefig(paths[1], dpi=PIXELS_PER_INCH, metadata={"Software": None})
    return paths


@dataclass(frozen=True)
class Curve:
    """A distribution: at each share of all (0 to 1) the value below which so many are."""

    name: str
    shares: Sequence[float]
    values: Sequence[float]


_CURVES = (
    *(("#0072B2", "solid"), ("#0072B2", "dashed"), ("#0072B2", "dotted"), ("#444444", "solid")),
    *(("#D55E00", "solid"), ("#E69F00", "dashed"), ("#009E73", "dashdot"), ("#CC79A7", "solid")),
    ("#56B4E9", (0, (5, 1, 1, 1, 1, 1))),
)
"""Colour and line of the first, second, … curve."""
_CURVE_MARKERS = "os^DvP*X<"


def distributions(
    curves: Sequence[Curve], folder: Path, stem: str, x_label: str
) -> tuple[Path, Path]:
    """Draws cumulative distributions over values above 0, in steps of equal ratio; SVG and PNG."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.0), layout="constrained")
        axes = figure.add_subplot()
        for index, curve in enumerate(curves):
            colour, line = _CURVES[index % len(_CURVES)]
            axes.plot(
                curve.values,
                curve.shares,
                color=colour,
                linestyle=line,
                marker=_CURVE_MARKERS[index % len(_CURVE_MARKERS)],
                markevery=(index % 4, 5),
                markersize=4.5,
                label=curve.name,
            )
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(0, 1)
        axes.set_yticks((0, 0.25, 0.5, 0.75, 0.95, 1), ("0", "25 %", "50 %", "75 %", "95 %", ""))
        axes.set_xlabel(x_label)
        axes.set_ylabel("frames that came sooner")
        figure.legend(loc="outside right center", frameon=False, handlelength=4)
        return save(figure, folder, stem)
