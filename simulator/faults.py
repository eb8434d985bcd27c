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
    "port",
    "split",
    "pause",
)
"""The first six impair a link, ``cut`` breaks a control channel, ``replay`` sends old datagrams again.

After ``port`` a client's datagrams leave by another port, and those to the one before reach nobody: as
behind a NAT that has forgotten it. ``split`` cuts a LAN with several clients in two; after
``pause`` a client's process does nothing for a while, and then takes what has waited for it.
"""
LINK_KINDS = KINDS[:6]
LONGEST_MS = 20_000
CHOICES: dict[str, tuple[str | bool, ...]] = {
    "rekey": ("on-leave", "on-change", "never"),
    "member_delivery": ("patent", "spi"),
    "distribution": ("delta", "full"),
    "mac_reports": (True, False),
    "strip": ("keep", "patent"),
    "hop_tags": (False, True),
}
"""What a script may choose about the processes, the default first: fields of the world's settings."""
SHARING = (0, 2, 3)
"""How many clients may be on one LAN; 0: each has one of its own."""


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
    """A topology of the catalog, a seed, what goes wrong, and which of CHOICES are not the default.

    ``sharing`` clients are on the LAN of the first, itself among them, if it is not 0. Raises ValueError
    for a choice that there is not.
    """

    topo: str
    seed: int
    faults: tuple[Fault, ...] = ()
    choices: tuple[tuple[str, str | bool], ...] = ()
    sharing: int = 0

    def __post_init__(self) -> None:
        if self.sharing not in SHARING:
            expected = ", ".join(map(str, SHARING))
            raise ValueError(f"script: sharing {self.sharing}: expected one of {expected}")
        for name, value in self.choices:
            if name not in CHOICES:
                raise ValueError(f"script: choice {name!r}: expected one of {', '.join(CHOICES)}")
            if not any(type(value) is type(one) and value == one for one in CHOICES[name]):
                expected = ", ".join(json.dumps(one) for one in CHOICES[name])
                raise ValueError(f"script: {name} {value!r}: expected one of {expected}")

    def to_text(self) -> str:
        """Writes the script in one line."""
        faults = [astuple(fault) for fault in self.faults]
        sharing = [self.sharing] if self.sharing else []
        return json.dumps([self.topo, self.seed, faults, dict(self.choices), *sharing])

    @classmethod
    def from_text(cls, text: str) -> Script:
        """Reads what :meth:`to_text` has written; raises ValueError for anything else."""
        try:
            topo, seed, faults, choices, *sharing = json.loads(text)
            (clients,) = sharing or (0,)
            chosen = tuple(sorted(dict(choices).items()))
            faults = tuple(_fault(row) for row in faults)
            return cls(str(topo), int(seed), faults, chosen, int(clients))
        except (TypeError, ValueError) as error:
            raise ValueError(f"script: {error}".replace("script: script:", "script:")) from error


def _fault(row: Sequence[int | str]) -> Fault:
    at_ms, kind, target, duration_ms, share = row
    return Fault(int(at_ms), str(kind), int(target), int(duration_ms), int(share))
