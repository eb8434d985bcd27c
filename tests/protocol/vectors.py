"""Reads the test vectors: octets as hexadecimal digits, written without this project's code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "vectors"


def vectors(name: str) -> dict[str, dict[str, Any]]:
    """Returns the vectors of one header: name to fields, ``octets`` among them."""
    loaded: dict[str, dict[str, Any]] = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    return loaded


def octets_of(vector: dict[str, Any]) -> bytes:
    """Returns the octets as they stand on the wire."""
    return bytes.fromhex(vector["octets"])
