"""Files that only their owner may read: passwords, and keys set by hand."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from nodes.toml_document import ConfigurationError
from protocol.types import Secret

PRIVATE_FILE = "a file that only its owner can read (chmod 600)"
PASSWORD_LENGTH = 1024
"""Octets of the longest password."""


def private_file_problem(path: Path) -> str | None:
    """Returns what is wrong with a file that must be readable by its owner alone, or None."""
    try:
        return _problem(path.stat())
    except OSError as error:
        return (error.strerror or str(error)).lower()


def read_password(path: Path | str) -> Secret:
    """Returns a file's password, without the newline that ends it; raises ConfigurationError.

    Refuses what ssh refuses: a file that anybody but its owner can read.
    """
    try:
        with open(path, "rb") as file:
            problem = _problem(os.fstat(file.fileno()))
            octets = file.read(PASSWORD_LENGTH + 3) if problem is None else b""
    except OSError as error:
        problem = (error.strerror or str(error)).lower()
    if problem is not None:
        raise ConfigurationError(path, None, "password", PRIVATE_FILE, problem)
    return parse_password(octets, path)


def parse_password(octets: bytes, source: Path | str) -> Secret:
    """Returns the password in what a file or a pipe held; raises ConfigurationError naming it."""
    password = octets.removesuffix(b"\n").removesuffix(b"\r")
    if not 1 <= len(password) <= PASSWORD_LENGTH:
        got = "none" if not password else "more"
        raise ConfigurationError(source, None, "password", f"1 to {PASSWORD_LENGTH} octets", got)
    return Secret(password)


def _problem(status: os.stat_result) -> str | None:
    if stat.S_ISDIR(status.st_mode):
        return "a directory"
    mode = stat.S_IMODE(status.st_mode)
    return f"mode {mode:04o}" if mode & 0o077 else None
