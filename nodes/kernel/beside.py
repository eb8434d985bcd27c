"""What a server has besides its sockets: a kernel plane, unless it is unwanted or cannot be had."""

from __future__ import annotations

from collections.abc import Callable

from nodes.kernel.library import KernelPlaneError
from nodes.kernel.plane import KernelPlane
from nodes.process import complain
from nodes.sections import DataPlaneName


class Beside:
    """A kernel plane, or none: what keeps it away is said once, and sockets serve alone.

    Where nothing is said of the data plane it is the kernel's if it can be had.
    """

    def __init__(
        self, wanted: DataPlaneName | None, program: str, open_plane: Callable[[], KernelPlane]
    ) -> None:
        """Takes what the configuration wants, who complains, and what makes the plane."""
        self._plane: KernelPlane | None = None
        self._missing = ""
        if wanted not in (None, "kernel"):
            return
        try:
            self._plane = open_plane()
        except KernelPlaneError as error:
            if wanted is None:
                self._missing = f"; not in the kernel: {error}"
            else:
                complain(program, f"this machine cannot forward in the kernel: {error}")

    def name(self, sockets: DataPlaneName) -> DataPlaneName:
        """Names the data plane of a server with these sockets."""
        return sockets if self._plane is None else "kernel"

    def say(self, sockets: DataPlaneName) -> str:
        """Names the data plane, and what kept a better one away where none was asked for."""
        return f"data plane {self.name(sockets)}{self._missing}"

    def counters(self) -> dict[str, int]:
        """Returns what the status shows of it."""
        if self._plane is None:
            return {}
        counters = self._plane.counters()
        return {"kernel_flows": counters.flows, "kernel_passed_up": counters.passed_up}

    def close(self) -> None:
        """Takes the program off the interface."""
        if self._plane is not None:
            self._plane.close()
            self._plane = None
