"""Draws what the busiest VPN server carries, costs and holds, a line for each way and number of servers.

Patent: effects E4, E5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from experiments.embodiments.vpn_servers.points import Telling
from experiments.records.record import Figure
from experiments.reports import plots
from experiments.reports.drawing import Drawing

WAYS = ("single", "multiserver", "cascade")
_NAME = re.compile(
    rf"(?P<what>\w+)\.(?P<way>{'|'.join(WAYS)})\.(?P<servers>\d+)x(?P<clients>\d+)"
    rf"(?:\.(?P<telling>{'|'.join(get_args(Telling))}))?"
)
_MEANINGS = {
    "unreported": "Unreported: servers do not tell each other of stations.",
    "whole": "Whole: with each change servers are told all rows anew.",
}


@dataclass(frozen=True)
class Quantity:
    """A kind of figure: how its names begin, the picture's name, what its axis and caption say."""

    figure: str
    stem: str
    label: str


QUANTITIES = (
    Quantity("busiest_datagrams", "servers-datagrams", "datagrams in and out a second"),
    Quantity("busiest_cpu", "servers-processor", "ms of processor time a second"),
    Quantity("most_rows_507", "servers-rows", "rows of table 507"),
)


@dataclass(frozen=True)
class _Line:
    """What the points of one line have in common."""

    way: str
    servers: int
    telling: str
    """``usual``, or a key of ``_MEANINGS``."""

    @property
    def name(self) -> str:
        noun = "server" if self.servers == 1 else "servers"
        if self.way == "single":
            return "single"
        return f"{self.way}, {self.servers} {noun}" + (
            f", {self.telling}" if self.telling in _MEANINGS else ""
        )


def draw(figures: Mapping[str, Figure], folder: Path) -> list[Drawing]:
    """Writes the pictures for which there are figures, as SVG and PNG, into a run's folder."""
    drawings = []
    for quantity in QUANTITIES:
        series = _series(figures, quantity.figure)
        if not series:
            continue
        clients = sorted({point.x for one in series for point in one.points})
        if len(clients) == 1:
            svg, _ = plots.bars(series, folder, quantity.stem, quantity.label)
        else:
            svg, _ = plots.lines(series, folder, quantity.stem, "clients", quantity.label)
        drawings.append(Drawing(svg, _caption(quantity, series, clients)))
    return drawings


def _series(figures: Mapping[str, Figure], what: str) -> list[plots.Series]:
    """Returns the lines of one quantity: one server first, then by way and number of servers."""
    found: dict[_Line, list[plots.Point]] = {}
    for name, figure in figures.items():
        parsed = _NAME.fullmatch(name)
        if parsed is None or parsed["what"] != what:
            continue
        line = _Line(parsed["way"], int(parsed["servers"]), parsed["telling"] or "usual")
        point = plots.Point(int(parsed["clients"]), figure.value, figure.low, figure.high)
        found.setdefault(line, []).append(point)
    ordered = sorted(found, key=lambda one: (WAYS.index(one.way), one.servers, one.telling))
    return [
        plots.Series(
            line.name,
            sorted(found[line], key=lambda point: point.x),
            WAYS.index(line.way),
            _shape(line),
        )
        for line in ordered
    ]


def _shape(line: _Line) -> int:
    """Returns the number of its shape: four for numbers of servers, then one for each other telling."""
    return line.servers - 1 if line.telling == "usual" else 4 + list(_MEANINGS).index(line.telling)


def _caption(quantity: Quantity, series: list[plots.Series], clients: list[float]) -> str:
    """Says the values in words, of several numbers of clients those with most."""
    most = clients[-1]
    values = "; ".join(
        f"{one.name}: {point.value:.4g}"
        for one in series
        for point in one.points
        if point.x == most
    )
    many = f"{most:g}" if len(clients) == 1 else f"{clients[0]:g} to {most:g}"
    meaning = "".join(
        f" {said}"
        for telling, said in _MEANINGS.items()
        if any(one.name.endswith(telling) for one in series)
    )
    return (
        f"The busiest server with {many} clients, the same frames offered to all: "
        f"{quantity.label}. With {most:g} clients {values}.{meaning}"
    )
