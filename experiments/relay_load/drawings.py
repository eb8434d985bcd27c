"""Draws a run's ratios of hub to relay: against group size and against frame size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from experiments.records.record import Figure
from experiments.relay_load.cells import BASE_GROUP, BASE_SIZE, Cell, parse
from experiments.reports import plots
from experiments.reports.drawing import Drawing

RATIO = "hub_over_relay"
Y_LABEL = "CPU time per frame, hub / relay"


def draw(figures: Mapping[str, Figure], folder: Path) -> list[Drawing]:
    """Writes the pictures for which there are figures, as SVG and PNG, into a run's folder."""
    ratios: dict[Cell, Figure] = {}
    for name, figure in figures.items():
        parsed = parse(name)
        if parsed is not None and parsed[0] == RATIO:
            ratios[parsed[1]] = figure
    drawings = []
    by_group = _series(ratios, _members, lambda cell: cell.size == BASE_SIZE)
    if by_group:
        svg, _ = plots.ratios(by_group, folder, "ratio-by-group", "clients in the group", Y_LABEL)
        drawings.append(Drawing(svg, _caption(f"frames of {BASE_SIZE} octets", by_group)))
    by_size = _series(ratios, _size, lambda cell: cell.members == BASE_GROUP)
    if by_size:
        svg, _ = plots.ratios(by_size, folder, "ratio-by-size", "octets of a frame", Y_LABEL)
        drawings.append(Drawing(svg, _caption(f"groups of {BASE_GROUP} clients", by_size)))
    return drawings


def _series(
    ratios: Mapping[Cell, Figure], x: Callable[[Cell], int], chosen: Callable[[Cell], bool]
) -> dict[str, list[plots.Point]]:
    """Returns the chosen cells' points, a series for each cast."""
    series: dict[str, list[plots.Point]] = {}
    for cell, figure in ratios.items():
        if chosen(cell):
            point = plots.Point(x(cell), figure.value, figure.low, figure.high)
            series.setdefault(cell.cast, []).append(point)
    return series


def _members(cell: Cell) -> int:
    return cell.members


def _size(cell: Cell) -> int:
    return cell.size


def _caption(of_what: str, series: Mapping[str, list[plots.Point]]) -> str:
    """Says the values in words; the bars are 95 % intervals."""
    values = "; ".join(
        f"{name} " + ", ".join(f"{point.value:.2f} at {point.x:g}" for point in points)
        for name, points in series.items()
    )
    return f"Hub over relay with {of_what}, 95 % intervals; above 1 the relay costs less. {values}."
