"""A process's tables and counters, readable by its owner through a Unix socket.

Whoever connects gets one JSON object and the end of the stream. Its keys are ``tables`` (each with
``columns`` and ``rows``, named with the patent's number), ``counters`` and ``process``.

    python -m nodes.status SOCKET [--json]

Patent: tables 308, 309, 311, 506-509.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from nodes.command_line import Parser, print_text
from nodes.unix_socket import ANSWER_SECONDS, UnixSocketError, connect, listen
from nodes.unix_socket import close as close_status

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "Snapshot",
    "StatusError",
    "close_status",
    "encode",
    "fetch_status",
    "print_status",
    "print_table",
    "serve_status",
]

Snapshot = dict[str, Any]

PLAIN_WIDTH = 200
"""Columns of a table that does not go to a terminal."""


StatusError = UnixSocketError
"""A status socket that cannot be served or read: names it and what was expected."""


async def serve_status(path: Path | str, snapshot: Callable[[], Snapshot]) -> asyncio.Server:
    """Serves ``snapshot()`` at ``path`` (mode 0600) until the server that it returns is closed.

    Replaces the socket file of a process that has died; raises StatusError when one still answers
    there, or when the path is no place for a socket. :func:`close_status` also removes the file.
    """
    listener = listen(Path(path), "status socket")

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(encode(snapshot()))
            await asyncio.wait_for(writer.drain(), ANSWER_SECONDS)
        except (asyncio.TimeoutError, ConnectionError):
            writer.transport.abort()
        finally:
            writer.close()

    return await asyncio.start_unix_server(answer, sock=listener)


def encode(snapshot: Snapshot) -> bytes:
    """Returns the snapshot as JSON; addresses and the like become their text."""
    return msgspec.json.encode(snapshot, enc_hook=str)


def fetch_status(path: Path | str) -> Snapshot:
    """Returns what the process at ``path`` tells; raises StatusError when none answers."""
    octets = bytearray()
    try:
        with connect(Path(path)) as connection:
            while piece := connection.recv(65536):
                octets += piece
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        message = f"status socket {path}: expected a process that answers, got {reason}"
        raise StatusError(message) from None
    try:
        return msgspec.json.decode(bytes(octets), type=Snapshot)
    except msgspec.DecodeError:
        raise StatusError(f"status socket {path}: expected one JSON object, got none") from None


def print_status(path: Path | str, as_json: bool = False) -> int:
    """Prints what the process at ``path`` tells, as tables or JSON; returns the exit code."""
    try:
        snapshot = fetch_status(path)
    except StatusError as error:
        print(error, file=sys.stderr)
        return 1
    if as_json:
        print_text(msgspec.json.format(encode(snapshot), indent=2).decode())
        return 0
    for name, table in snapshot.get("tables", {}).items():
        print_table(name, table["columns"], table["rows"])
    for name in ("counters", "process"):
        if name in snapshot:
            print_table(name, ("name", "value"), list(_flat(snapshot[name]).items()))
    return 0


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Prints one table on stdout; no cell is cut short."""
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    console = _console()
    console.print(Text(title, style="bold"))  # a title of the table's own would wrap at its width
    console.print(table)


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(_cell(entry) for entry in value)
    return str(value)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested objects as one, with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs ``python -m nodes.status``; returns the exit code."""
    parser = Parser(
        prog="python -m nodes.status", description="Shows a process's tables and counters."
    )
    parser.add_argument("socket", type=Path, help="the status_socket of its configuration file")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args(arguments)
    return print_status(options.socket, options.json)


if __name__ == "__main__":
    sys.exit(main())
