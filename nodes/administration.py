"""How a running server learns that its users have changed: it is told, and it looks each second.

Whoever has changed the database tells the server on its administration socket with one line of JSON,
and is answered when the server has taken the change up. A change that nobody told is found by
``PRAGMA data_version``.

Patent: Fig. 11; table 506.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from nodes.unix_socket import ANSWER_SECONDS, close, connect, listen
from nodes.users import UserDatabase, UserDatabaseError

POLL_SECONDS = 1.0
LINE_LENGTH = 1024


class Changed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What whoever made a change says."""

    changed: Literal["users"]


class Administration:
    """Calls ``users_changed`` (which returns the number of users) after each change of the database."""

    def __init__(self, users: UserDatabase, users_changed: Callable[[], int]) -> None:
        self._watch = users.watch()
        self._users_changed = users_changed
        self._server: asyncio.Server | None = None
        self._poll: asyncio.TimerHandle | None = None

    async def start(self, path: Path | None) -> None:
        """Serves the socket, if there is to be one, and begins to look; raises UnixSocketError."""
        if path is not None:
            listener = listen(path, "administration socket")
            self._server = await asyncio.start_unix_server(
                self._answer, sock=listener, limit=LINE_LENGTH
            )
        self._look_later()

    async def close(self) -> None:
        """Ends both, and removes the socket file."""
        if self._poll is not None:
            self._poll.cancel()
        if self._server is not None:
            await close(self._server)
        self._watch.close()

    def _look_later(self) -> None:
        self._poll = asyncio.get_running_loop().call_later(POLL_SECONDS, self._look)

    def _look(self) -> None:
        try:
            if self._watch.changed():
                self._users_changed()
        except UserDatabaseError as error:
            print(f"blindrelay server: {error}", file=sys.stderr, flush=True)
        self._look_later()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await asyncio.wait_for(reader.readline(), ANSWER_SECONDS)
            writer.write(msgspec.json.encode(self._take_up(line)) + b"\n")
            await asyncio.wait_for(writer.drain(), ANSWER_SECONDS)
        except (asyncio.TimeoutError, ConnectionError, ValueError):
            writer.transport.abort()
        finally:
            writer.close()

    def _take_up(self, line: bytes) -> dict[str, int | str]:
        try:
            msgspec.json.decode(line, type=Changed)
            self._watch.changed()  # what is taken up now need not be found once more
            return {"users": self._users_changed()}
        except msgspec.DecodeError as error:
            return {"error": f'expected {{"changed":"users"}}, got: {error}'}
        except UserDatabaseError as error:
            return {"error": str(error)}


def announce(path: Path | None) -> bool:
    """Tells the server at ``path`` that the users have changed; False when none has taken it up."""
    if path is None:
        return False
    try:
        with connect(path) as connection, connection.makefile("rb") as answers:
            connection.sendall(msgspec.json.encode(Changed("users")) + b"\n")
            answer = answers.readline(LINE_LENGTH)
    except OSError:
        return False
    return b'"users"' in answer
