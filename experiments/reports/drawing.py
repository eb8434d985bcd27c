"""A picture of a report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Drawing:
    """A picture with its caption, which says in words what it shows."""

    svg: Path
    caption: str
