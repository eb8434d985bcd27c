"""The attributes of a node, an edge or the graph in a GraphML file, read as what they should be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from topologies.parts import PlanError

_TRUTH = {"true": True, "1": True, "false": False, "0": False}
_ALIKE = 4
"""So many first letters make an unknown name a misspelling of a known one."""


@dataclass(frozen=True)
class Attributes:
    """Attributes of one thing; `place` names it in errors. Values may be of any type or texts."""

    place: str
    values: Mapping[str, Any]

    def choice(self, name: str, choices: Sequence[str], required: bool = True) -> str:
        """Returns one of `choices`; empty when it is missing and not required. PlanError."""
        value = str(self.values.get(name, ""))
        if value not in choices and (required or name in self.values):
            self.wrong(name, f"one of {', '.join(choices)}")
        return value

    def truth(self, name: str) -> bool:
        """Returns a truth value, false when it is missing; PlanError when it is none."""
        value = str(self.values.get(name, False)).lower()
        if value not in _TRUTH:
            self.wrong(name, "true or false")
        return _TRUTH[value]

    def number(self, name: str, lowest: float, highest: float) -> float | None:
        """Returns a number in a range, None when it is missing; PlanError when it is none."""
        if name not in self.values:
            return None
        try:
            value = float(self.values[name])
        except (TypeError, ValueError):
            self.wrong(name, f"{lowest:g} to {highest:.0f}")
        if not lowest <= value <= highest:
            self.wrong(name, f"{lowest:g} to {highest:.0f}")
        return value

    def whole(self, name: str, lowest: int, highest: int) -> int | None:
        """Returns a whole number in a range, None when it is missing; PlanError when it is none."""
        value = self.number(name, lowest, highest)
        if value is not None and not value.is_integer():
            self.wrong(name, f"{lowest} to {highest}")
        return None if value is None else int(value)

    def wrong(self, name: str, expected: str) -> NoReturn:
        """Raises the PlanError that says what was expected of an attribute, and what there is."""
        got = repr(self.values[name]) if name in self.values else "nothing"
        raise PlanError(f"{self.place}: {name}: expected {expected}, got {got}")


def check_known(attributes: Attributes, names: Sequence[str]) -> None:
    """Raises PlanError for an attribute that looks like one of `names` misspelt.

    Others are let pass: drawing programs and collections of networks have many of their own.
    """
    for given in attributes.values:
        letters = "".join(letter for letter in str(given).lower() if letter.isalnum())
        for name in names:
            alike = name.replace("_", "").startswith(letters[:_ALIKE]) and len(letters) >= 3
            if given not in names and alike:
                raise PlanError(f"{attributes.place}: {given}: expected the name {name}")
