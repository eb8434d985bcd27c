"""Makes the checks of captures quick: what tshark and scapy have said of a file is remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest

READERS = ("decode_frames", "scapy_opens", "scapy_seals", "contains_run_of")


@contextmanager
def each_file_is_read_once(module: ModuleType) -> Iterator[None]:
    """Reads each capture once while the block runs: most controls leave the captures alone."""
    with pytest.MonkeyPatch.context() as patch:
        for name in READERS:
            patch.setattr(module, name, _remembering(getattr(module, name)))
        yield


def _remembering(function: Callable[..., Any]) -> Callable[..., Any]:
    known: dict[str, Any] = {}

    def remembered(*arguments: Any) -> Any:
        key = repr(arguments)
        if key not in known:
            known[key] = function(*arguments)
        return known[key]

    return remembered
