"""What can go wrong in a world, as data: a script of faults shrinks, is printed, and is played again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass

KINDS = (
    "lose",
    "double",
    "reorder",
    "corrupt",
    "delay",
    "down",
    "cut",
    "crash",
    "replay",
    "move",
    "expel",
    "leave",
)
"""The first six impair a link, ``cut`` breaks a control channel, ``replay`` sends old datagrams again."""
LINK_KINDS = KINDS[:6]
LONGEST_MS = 20_000


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong: when (ms from the start), what, to whom, for how long, how much.

    ``target`` counts through what can be hit and begins again behind the last. ``share`` is in hundredths.
    Raises ValueError for a kind that there is not and for numbers out of range.
    """

    at_ms: int
    kind: str
    target: int = 0
    duration_ms: int = 1_000
    share: int = 30

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"fault {self.kind!r}: expected one of {', '.join(KINDS)}")
        for name in ("at_ms", "duration_ms"):
            if not 0 <= getattr(self, name) <= LONGEST_MS:
                raise ValueError(f"fault {self.kind}: {name}: expected 0 to {LONGEST_MS}")
        if not self.target >= 0 or not 0 <= self.share <= 100:
            raise ValueError(f"fault {self.kind}: target, share: expected 0 or more, 0 to 100")


@dataclass(frozen=True)
class Script:
    """A topology of the catalog, a seed, and what goes wrong."""

    topo: str
    seed: int
    faults: tuple[Fault, ...] = ()

    def to_text(self) -> str:
        """Writes the script in one line."""
        return json.dumps([self.topo, self.seed, [astuple(fault) for fault in self.faults]])

    @classmethod
    def from_text(cls, text: str) -> Script:
        """Reads what :meth:`to_text` has written; raises ValueError for anything else."""
        try:
            topo, seed, faults = json.loads(text)
            return cls(str(topo), int(seed), tuple(_fault(row) for row in faults))
        except (TypeError, ValueError) as error:
            raise ValueError(f"script: {error}") from error


def _fault(row: Sequence[int | str]) -> Fault:
    at_ms, kind, target, duration_ms, share = row
    return Fault(int(at_ms), str(kind), int(target), int(duration_ms), int(share))
