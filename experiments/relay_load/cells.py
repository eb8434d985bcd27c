"""The cells of a load measurement: which frames, to whom, in how large a group; and their names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from experiments.instrument.window import Cast
from experiments.traffic.probe import SIZES

CASTS: tuple[Cast, ...] = ("unicast", "broadcast")
GROUPS = (3, 8, 16)
BASE_GROUP = 3
BASE_SIZE = 512

_NAME = re.compile(
    r"(?P<what>\w+)\.(?P<cast>unicast|broadcast)\.n(?P<members>\d+)\.(?P<size>\d+)"
    r"(?:\.x(?P<burst>\d+))?"
)


@dataclass(frozen=True)
class Cell:
    """Frames of ``size`` octets, unicast or broadcast, in a group of ``members`` clients.

    ``burst`` of one sender come right behind each other.
    """

    cast: Cast
    members: int
    size: int
    burst: int = 1

    @property
    def copies(self) -> int:
        """Copies that leave the server for each frame that comes in."""
        return 1 if self.cast == "unicast" else self.members - 1

    def name(self, what: str) -> str:
        """Names a figure of this cell."""
        name = f"{what}.{self.cast}.n{self.members}.{self.size}"
        return name if self.burst == 1 else f"{name}.x{self.burst}"

    def describe(self) -> str:
        """Says it for a person."""
        words = f"{self.cast}, {self.members} clients, {self.size} octets"
        return words if self.burst == 1 else f"{words}, runs of {self.burst}"


def parse(name: str) -> tuple[str, Cell] | None:
    """Reads a figure's name; None when it is not one of a cell."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    cast: Cast = "unicast" if found["cast"] == "unicast" else "broadcast"
    cell = Cell(cast, int(found["members"]), int(found["size"]), int(found["burst"] or 1))
    return found["what"], cell


def cells(quick: bool) -> Iterator[Cell]:
    """Yields the cells, smallest groups first: all, or a few along each dimension."""
    for members in GROUPS:
        for cast in CASTS:
            for size in SIZES:
                cell = Cell(cast, members, size)
                if not quick or _is_on_a_line(cell):
                    yield cell


def _is_on_a_line(cell: Cell) -> bool:
    if cell.cast == "unicast":
        return cell.members == BASE_GROUP and cell.size != BASE_SIZE
    return cell.size == BASE_SIZE and cell.members != BASE_GROUP
