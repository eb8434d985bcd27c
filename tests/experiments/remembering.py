"""Makes the checks of captures quick: what tshark and scapy have said of a file is remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from experiments.embodiments import invariants_outside, seen

READERS = (
    (seen, "decode_frames"),
    (invariants_outside, "scapy_opens"),
    (invariants_outside, "scapy_seals"),
    (invariants_outside, "contains_run_of"),
)


@contextmanager
def each_file_is_read_once() -> Iterator[None]:
    """Reads each capture once while the block runs: most controls leave the captures alone."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in READERS:
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
