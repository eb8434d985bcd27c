"""Draws a network with what its nodes and links have carried, as SVG and PNG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch

from experiments.reports.plots import STYLE, save, shorten

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


def draw(
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
            shorten(load),
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
        axes.text(x, y - 0.11, shorten(load), ha="center", va="center", fontsize=9, zorder=4)


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
