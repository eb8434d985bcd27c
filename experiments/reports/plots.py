"""Draws charts as SVG and PNG; only this, network_plot and scale.plots import matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure
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


def shorten(value: float) -> str:
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
            axes.yaxis.set_major_formatter(lambda value, _: shorten(value))
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
        axes.bar_label(drawn, [shorten(point.value) for point in points], padding=6)
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
        shorten(round(whole.value)),
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
