"""Reads claims.toml: the one place that says what is claimed, which run shows it, and what is expected."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from experiments.records.record import CLAIMS, Claim

SOURCE = Path(__file__).with_name("claims.toml")
Expected = Literal["confirmed", "refuted"]


class TableError(ValueError):
    """Says what is wrong with the table of claims."""


class Measurement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One run: what a user types, the same as arguments of ``python -m experiments``, and its minutes."""

    make: str
    arguments: tuple[str, ...]
    minutes: float
    quick_make: str = ""
    quick_arguments: tuple[str, ...] = ()
    quick_minutes: float = 0.0

    def argv(self, quick: bool) -> tuple[str, ...]:
        """Returns the arguments of a quick run, or of a full one; where there is one kind, of that."""
        return self.quick_arguments if quick and self.quick_arguments else self.arguments

    def time(self, quick: bool) -> float:
        """Returns how many minutes it takes."""
        return self.quick_minutes if quick and self.quick_arguments else self.minutes

    def command(self, quick: bool) -> str:
        """Returns what a user types."""
        return self.quick_make if quick and self.quick_make else self.make


class Verdicts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="verdicts"):
    """Confirmed when every run's own verdict is: the invariants that show the claim held."""

    def words(self) -> str:
        """Says the rule."""
        return "every run's invariants for it hold"


class Exactly(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="exactly"):
    """Confirmed when a count is ``value``, refuted when it is another."""

    figure: str
    value: float
    found: float
    """What is expected to be found, which may be another value."""

    def words(self) -> str:
        """Says the rule."""
        return f"`{self.figure}` is {self.value:g}"


class Beyond(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="beyond"):
    """Confirmed when all intervals are on the claimed side of ``limit``, refuted when one is beyond it.

    ``figures`` is a pattern; with ``over`` each is divided by the figure of that name, in which ``*``
    stands for the same text. ``found`` is the range of values expected, ``tolerance`` how far outside
    of it a value may be, as a share.
    """

    figures: str
    side: Literal["above", "below"]
    limit: float
    found: tuple[float, float]
    tolerance: float
    over: str = ""

    def words(self) -> str:
        """Says the rule."""
        of_what = f"`{self.figures}` / `{self.over}`" if self.over else f"`{self.figures}`"
        return f"95 % interval of {of_what} {self.side} {self.limit:.4g}"


Rule = Verdicts | Exactly | Beyond


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One claim, or a part of one: what it says, how it is judged, and what is expected."""

    name: str
    says: str
    runs: tuple[str, ...]
    rule: Rule
    expected: Expected = "confirmed"
    source: str = ""
    """Where the expected figures come from."""
    why: str = ""
    """What a reader has to know of the verdict."""

    @property
    def claim(self) -> str:
        """The claim that this is, or is a part of."""
        return self.name.partition(".")[0]


class Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of it."""

    runs: dict[str, Measurement]
    rows: tuple[Row, ...]

    def __post_init__(self) -> None:
        names = [row.name for row in self.rows]
        if len(set(names)) != len(names):
            raise ValueError("rows: expected each name once")
        if missing := [name for name in CLAIMS if name not in names]:
            raise ValueError(f"rows: expected one for each claim and effect; missing {missing}")
        for row in self.rows:
            if row.claim not in CLAIMS:
                raise ValueError(f"row {row.name}: expected a name such as E1 or E1.cipher")
            if not row.runs or not set(row.runs) <= self.runs.keys():
                raise ValueError(f"row {row.name}: runs: expected some of {', '.join(self.runs)}")
            if not isinstance(row.rule, Verdicts) and not row.source:
                raise ValueError(f"row {row.name}: source: expected where its figures come from")

    def chosen(self, names: tuple[str, ...]) -> tuple[Row, ...]:
        """Returns the rows of these names, all without any; a claim's name means its parts, too."""
        known = {row.name for row in self.rows} | {row.claim for row in self.rows}
        if unknown := [name for name in names if name not in known]:
            raise TableError(f"{unknown[0]}: expected {', '.join(row.name for row in self.rows)}")
        return tuple(
            row for row in self.rows if not names or row.name in names or row.claim in names
        )


def load(path: Path = SOURCE) -> Claims:
    """Reads the table; raises TableError."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Claims)
    except (OSError, msgspec.DecodeError) as error:
        raise TableError(f"{path.name}: {error}") from None


def contradictions(verdicts: Mapping[str, Claim]) -> dict[str, Claim]:
    """Returns the verdicts on whole claims and effects that are the opposite of what is expected.

    One that is inconclusive, or not there, contradicts nothing.
    """
    return {
        name: claim
        for name, claim in verdicts.items()
        if claim.verdict in ("confirmed", "refuted") and claim.verdict != _expected_verdicts()[name]
    }


@cache
def _expected_verdicts() -> dict[str, Expected]:
    return {row.name: row.expected for row in load().rows if row.name in CLAIMS}
