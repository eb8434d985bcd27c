"""Unix sockets that are their owner's alone, and that outlive no process for long."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from pathlib import Path

ANSWER_SECONDS = 5.0
"""How long either side waits for the other."""


class UnixSocketError(Exception):
    """A socket that cannot be served or reached: names it and what was expected."""


def listen(path: Path, kind: str) -> socket.socket:
    """Returns a socket bound to ``path`` (mode 0600); ``kind`` names it in errors.

    Replaces the socket file of a process that has died; raises UnixSocketError when one still answers
    there, or when the path is no place for a socket.
    """
    _make_room(path, kind)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    previous_mask = os.umask(0o177)  # the file must at no time be open to others
    try:
        listener.bind(os.fspath(path))
    except OSError as error:
        listener.close()
        raise _unusable(path, kind, error) from None
    finally:
        os.umask(previous_mask)
    return listener


def connect(path: Path) -> socket.socket:
    """Returns a connection to whoever serves ``path``, with a time limit; raises OSError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(ANSWER_SECONDS)
    try:
        connection.connect(os.fspath(path))
    except OSError:
        connection.close()
        raise
    return connection


async def close(server: asyncio.Server) -> None:
    """Ends a service and removes its socket file."""
    paths = [Path(listener.getsockname()) for listener in server.sockets]
    server.close()
    for path in paths:
        path.unlink(missing_ok=True)


def _make_room(path: Path, kind: str) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unusable(path, kind, error) from None
    if not stat.S_ISSOCK(mode):
        raise UnixSocketError(f"{kind} {path}: expected a free path, got another file")
    try:
        connect(path).close()
    except ConnectionRefusedError:
        path.unlink(missing_ok=True)
        return
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unusable(path, kind, error) from None
    raise UnixSocketError(f"{kind} {path}: expected a free path, got a process that answers")


def _unusable(path: Path, kind: str, error: OSError) -> UnixSocketError:
    reason = (error.strerror or str(error)).lower()
    return UnixSocketError(f"{kind} {path}: expected a path for a socket, got {reason}")
