"""Draws the scale model's figures with matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from experiments.reports.plots import STYLE, Point, save

LOOKS: dict[str, tuple[str, Any, str]] = {
    "hub": ("#888888", (0, (1, 1)), "v"),
    "single": ("#0072B2", "solid", "o"),
    "multicast": ("#009E73", "dotted", "^"),
    "multiserver": ("#D55E00", "dashed", "s"),
    "cascade": ("#AA4499", "dashdot", "D"),
}
"""Colour, line and marker of each way: each tells by itself."""
EQUAL = "equal"
"""The winner where there is none."""
_LETTERS = {"single": "S", "multicast": "M", "multiserver": "D", "cascade": "C", EQUAL: "="}
_FILLS = ("#A9D5F0", "#BFE5D8", "#F5C88A", "#EBCBDD", "#FFFFFF")
_MAP_COLOURS = ListedColormap(matplotlib.colormaps["viridis_r"](np.linspace(0.1, 1.0, 256)))
"""The more a link carries the darker it is: on white, light lines are the ones that are not seen."""
_MAP_DECADES = 1e5
_PLAIN = 1000.0
_FEW = 100.0
"""Below it a map's scale has equal steps, above it steps of equal ratio down to so small a share."""


@dataclass(frozen=True)
class Curve:
    """One line of a picture, or with ``measured`` points with their intervals."""

    name: str
    way: str
    points: Sequence[Point]
    measured: bool = False


def loads(
    curves: Sequence[Curve], folder: Path, stem: str, x_label: str, y_label: str
) -> tuple[Path, Path]:
    """Draws loads against numbers, both axes in steps of equal ratio; the paths of SVG and PNG."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.8, 4.0), layout="constrained")
        axes = figure.add_subplot()
        for curve in curves:
            colour, line, marker = LOOKS[curve.way]
            ordered = sorted(curve.points, key=lambda point: point.x)
            x, y = [point.x for point in ordered], [point.value for point in ordered]
            if curve.measured:
                reach = [
                    [point.value - point.low for point in ordered],
                    [point.high - point.value for point in ordered],
                ]
                axes.errorbar(
                    x,
                    y,
                    yerr=reach,
                    color=colour,
                    marker=marker,
                    markerfacecolor="white",
                    capsize=3,
                    linestyle="none",
                    label=curve.name,
                    zorder=4,
                )
            else:
                width = 4.0 if curve.way == "hub" else 1.8
                axes.plot(x, y, color=colour, linestyle=line, linewidth=width, label=curve.name)
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis, values in (
            (axes.xaxis, [point.x for curve in curves for point in curve.points]),
            (axes.yaxis, [point.value for curve in curves for point in curve.points]),
        ):
            _number(axis, values)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        figure.legend(loc="outside right upper", frameon=False, handlelength=3.5)
        return save(figure, folder, stem)


def _number(axis: Axis, values: Sequence[float]) -> None:
    """Writes plain numbers at an axis of few decades, where powers of ten are too few to read it by."""
    if max(values) <= _PLAIN * min(values):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axis.set_minor_formatter(NullFormatter())


@dataclass(frozen=True)
class Segment:
    """A link on the map: both ends (degrees), and what it carries; below 1 nothing."""

    one: tuple[float, float]
    other: tuple[float, float]
    value: float


def maps(
    panels: Mapping[str, Sequence[Segment]],
    sites: Mapping[str, Sequence[tuple[float, float]]],
    folder: Path,
    stem: str,
    label: str,
) -> tuple[Path, Path]:
    """Draws links by what they carry, a map for each way, all on one scale; servers are squares."""
    most = max(segment.value for segments in panels.values() for segment in segments)
    norm: Normalize = LogNorm(max(1.0, most / _MAP_DECADES), max(most, 10.0))
    if most < _FEW:
        norm = Normalize(1.0, max(most, 2.0))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10.0, 6.4), layout="constrained")
        places = np.atleast_1d(figure.subplots(2, 2)).ravel()
        drawn: LineCollection | None = None
        for axes, (way, segments) in zip(places, panels.items(), strict=False):
            drawn = _map(axes, segments, norm)
            for x, y in sites.get(way, ()):
                axes.plot(
                    x, y, "s", color="#CC0000", markeredgecolor="white", markersize=6, zorder=5
                )
            axes.set_title(f"{way}: at most {_short(max(one.value for one in segments))}")
        for axes in places[len(panels) :]:
            axes.axis("off")
        if drawn is not None:
            figure.colorbar(drawn, ax=list(places), label=label, shrink=0.7)
        return save(figure, folder, stem)


def _short(value: float) -> str:
    """Writes a number with three digits, or a large one without a fraction."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _map(axes: Axes, segments: Sequence[Segment], norm: Normalize) -> LineCollection:
    lines, copies = [], []
    for segment in sorted(segments, key=lambda one: one.value):
        (x, y), (u, v) = segment.one, segment.other
        if abs(x - u) > 180:  # over the date line: to the map's edge on both sides
            shift = 360 if x > u else -360
            lines += [[(x, y), (u + shift, v)], [(x - shift, y), (u, v)]]
            copies += [segment.value] * 2
        else:
            lines.append([(x, y), (u, v)])
            copies.append(segment.value)
    values = np.array(copies)
    used = values >= 1
    idle = [one for one, here in zip(lines, used, strict=True) if not here]
    axes.add_collection(LineCollection(idle, colors="#dddddd", linewidths=0.4, rasterized=True))
    shown = LineCollection(
        [one for one, here in zip(lines, used, strict=True) if here],
        array=values[used],
        norm=norm,
        cmap=_MAP_COLOURS,
        linewidths=0.4 + 1.8 * np.clip(np.asarray(norm(values[used])), 0, 1) ** 2,
    )
    # Thousands of lines would make a picture of megabytes.
    shown.set_rasterized(True)
    axes.add_collection(shown)
    ends = np.array([end for segment in segments for end in (segment.one, segment.other)])
    for set_limits, column in ((axes.set_xlim, 0), (axes.set_ylim, 1)):
        low, high = ends[:, column].min(), ends[:, column].max()
        set_limits(max(low - 3, -183) if column == 0 else low - 3, min(high + 3, 183))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    return shown


@dataclass(frozen=True)
class Regions:
    """Who is best where, and how much worse the next is: rows by group size, entries by number of servers."""

    title: str
    groups: Sequence[int]
    servers: Sequence[int]
    winners: Sequence[Sequence[tuple[str, float]]]


def regions(panels: Sequence[Regions], folder: Path, stem: str) -> tuple[Path, Path]:
    """Draws which way is best, a panel for each criterion; the paths of SVG and PNG."""
    names = list(_LETTERS)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 6.6), layout="constrained")
        for axes, panel in zip(figure.subplots(2, 2).ravel(), panels, strict=False):
            values = [[names.index(name) for name, _ in row] for row in panel.winners]
            axes.imshow(
                values,
                cmap=ListedColormap(list(_FILLS)),
                vmin=-0.5,
                vmax=len(names) - 0.5,
                aspect="auto",
                origin="lower",
            )
            for row, line in enumerate(panel.winners):
                for column, (name, factor) in enumerate(line):
                    text = _LETTERS[name] if name == EQUAL else f"{_LETTERS[name]} {factor:.3g}"
                    axes.text(column, row, text, ha="center", va="center", fontsize=8)
            axes.set_xticks(range(len(panel.servers)), [str(one) for one in panel.servers])
            axes.set_yticks(range(len(panel.groups)), [str(one) for one in panel.groups])
            axes.set_xlabel("VPN servers")
            axes.set_ylabel("clients of a group")
            axes.set_title(panel.title)
            axes.grid(visible=False)
        key = ", ".join(f"{letter}: {name}" for name, letter in _LETTERS.items())
        figure.supxlabel(f"{key}; and how many times the next best takes", fontsize=9)
        return save(figure, folder, stem)


_ROW = 0.17
"""Inches of a row of errors."""
_ERRORS = ("#0072B2", "#D55E00", "#009E73", "#AA4499", "#666666")
_WIDEST = 0.2
"""The axis of errors reaches so far at least."""


@dataclass(frozen=True)
class ErrorRow:
    """A prediction: of what, by how much it is wrong, and the measured figure's half-width (shares)."""

    name: str
    error: float
    half_width: float


def errors(
    kinds: Mapping[str, Sequence[ErrorRow]], allowed: float, folder: Path, stem: str
) -> tuple[Path, Path]:
    """Draws each prediction's error as a row, kind by kind; the paths of SVG and PNG."""
    rows = [(kind, row) for kind, some in kinds.items() for row in some]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 1.0 + _ROW * (len(rows) + len(kinds))), layout="constrained")
        axes = figure.add_subplot()
        axes.axvspan(-100 * allowed, 100 * allowed, color="#EEEEEE", zorder=0)
        axes.axvline(0, color="#444444", linewidth=0.8)
        names: dict[int, str] = {}
        place = 0
        for (kind, some), colour in zip(kinds.items(), _ERRORS * 3, strict=False):
            names[place] = f"{kind}:"
            place += 1
            for row in some:
                names[place] = row.name
                axes.errorbar(
                    100 * row.error,
                    place,
                    xerr=100 * row.half_width,
                    color=colour,
                    marker="o",
                    markersize=4,
                    linewidth=1.0,
                )
                place += 1
        reach = 110 * max(_WIDEST, *(abs(row.error) for _, row in rows))
        axes.set_xlim(-reach, reach)
        axes.set_ylim(place - 0.5, -0.7)
        axes.set_yticks(list(names), list(names.values()), fontsize=7)
        for label in axes.get_yticklabels():
            if label.get_text().endswith(":"):
                label.set_fontweight("bold")
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("predicted above what was measured, %")
        return save(figure, folder, stem)
