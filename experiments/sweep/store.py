"""Results as files, one for each case, under the name that its content gives it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from experiments.records.record import write_atomically
from experiments.sweep.cases import Case


class _Kept(msgspec.Struct, forbid_unknown_fields=True):
    case: dict[str, Any]
    fields: list[dict[str, Any]]
    version: str


class Store:
    """A folder of results. A file is there whole or not at all, so a sweep that was killed goes on."""

    def __init__(self, folder: Path, version: str) -> None:
        """Takes the version of the code whose results are wanted."""
        self.folder = folder
        self._version = version

    def path(self, case: Case) -> Path:
        """Returns where a case's result is, or will be."""
        name = case.name(self._version)
        return self.folder / name[:2] / f"{name}.json"

    def get(self, case: Case) -> list[dict[str, Any]] | None:
        """Returns a case's fields; None when they are not there, or what is there is not whole."""
        try:
            kept = msgspec.json.decode(self.path(case).read_bytes(), type=_Kept)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        same = kept.case == case.to_json() and kept.version == self._version
        return kept.fields if same else None

    def put(self, case: Case, octets: bytes) -> None:
        """Keeps a case's result."""
        path = self.path(case)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, octets)
