"""Says what keeps this machine from tests of the program in the kernel."""

from __future__ import annotations

import pytest

from nodes.kernel.library import KernelPlaneError, Library
from nodes.kernel.program import COMPILED


@pytest.fixture(autouse=True)
def kernel_program(request: pytest.FixtureRequest) -> None:
    """Skips an emulated test where the program cannot be had, or fails it under --require-emulated."""
    if request.node.get_closest_marker("emulated") is None:
        return
    missing = None if COMPILED.exists() else f"{COMPILED.name}: not compiled, scripts/setup does it"
    try:
        Library()
    except KernelPlaneError as error:
        missing = str(error)
    if missing is None:
        return
    if request.config.getoption("--require-emulated"):
        pytest.fail(f"this machine cannot forward in the kernel: {missing}", pytrace=False)
    pytest.skip(f"this machine cannot forward in the kernel: {missing}")
