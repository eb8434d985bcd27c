"""What names and numbers may be."""

from __future__ import annotations

from nodes.database.errors import UserInputError

NAME_LENGTH = 64
LARGEST_ID = 2**32 - 1


def check_name(kind: str, name: str) -> None:
    """Raises UserInputError for a name that could not be typed or shown."""
    if not 1 <= len(name) <= NAME_LENGTH or not name.isprintable() or " " in name:
        message = f"expected 1 to {NAME_LENGTH} printable characters without space"
        raise UserInputError(f"{kind} {name!r}: {message}")


def check_id(kind: str, value: int) -> None:
    """Raises UserInputError for a number that is no VPN ID or Sub ID."""
    if not 1 <= value <= LARGEST_ID:
        raise UserInputError(f"{kind} {value}: expected 1 to {LARGEST_ID}")
