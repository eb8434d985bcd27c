"""The runs that claims are judged by."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from experiments.records.record import Invariant, Summary, load_summary

CANNOT = 3
"""The exit code of a run for which this machine lacks something."""


@dataclass
class Made:
    """What there is of each run: summary and folder, or why there is none; seconds and exit codes."""

    summaries: dict[str, Summary] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    gone: dict[str, str] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)

    def take(self, name: str, folder: Path) -> None:
        """Takes a run that is there; RecordError when its summary cannot be read."""
        self.summaries[name] = load_summary(folder)
        self.folders[name] = folder

    def invariants(self) -> dict[str, Invariant]:
        """Returns every run's invariants; a run that broke off is one that did not hold."""
        found = {
            f"{name}.{invariant}": one
            for name, summary in self.summaries.items()
            for invariant, one in summary.invariants.items()
        }
        for name, why in self.gone.items():
            if name in self.codes and self.codes[name] != CANNOT:
                found[f"{name}.run"] = Invariant(False, why)
        return found

    def broken(self) -> list[str]:
        """Lists what did not hold."""
        return [f"{name}: {one.detail}" for name, one in self.invariants().items() if not one.held]
