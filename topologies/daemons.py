"""What the ways to run multicast routers have in common: starting a daemon, and its failure."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Any, Protocol


class MulticastRoutingError(RuntimeError):
    """Says which router is not ready, and its daemons' words."""


class Start(Protocol):
    """Starts a command in a node: ``start(node, argv, **popen_arguments)``."""

    def __call__(
        self, node: str, argv: Sequence[str], **popen_arguments: Any
    ) -> subprocess.Popen[Any]: ...
