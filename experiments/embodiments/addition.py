"""What an embodiment adds to the course of all experiments, before and after it."""

from __future__ import annotations

from pathlib import Path

from experiments.deployment import Deployment
from experiments.progress import Progress
from experiments.records.record import Invariant


class Addition:
    """What an embodiment adds to the common course; this one adds nothing."""

    def before(
        self, deployment: Deployment, private: Path, progress: Progress
    ) -> dict[str, dict[str, int]]:
        """Prepares the traffic; returns the counters of nodes from which on all is counted."""
        return {}

    def after(
        self, deployment: Deployment, private: Path, progress: Progress
    ) -> dict[str, Invariant]:
        """Does more once everything common was seen; returns what must hold of it."""
        return {}
