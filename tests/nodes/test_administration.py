"""How a server learns of changes: it is told, or finds out by itself."""

from __future__ import annotations

import asyncio
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nodes.administration import POLL_SECONDS, Administration, announce
from nodes.unix_socket import UnixSocketError
from nodes.users import UserDatabase, UserDatabaseError


@pytest.fixture
def users(tmp_path: Path) -> UserDatabase:
    users = UserDatabase(tmp_path / "users.sqlite")
    users.add_group(1001)
    return users


def while_listening(
    users: UserDatabase, taken_up: Callable[[], int], work: Callable[[], Any], served: bool = True
) -> Any:
    """Does ``work`` in a thread while a server would follow the database; returns what that returns."""

    async def follow() -> Any:
        administration = Administration(users, taken_up)
        await administration.start(users.path.parent / "admin" if served else None)
        try:
            return await asyncio.to_thread(work)
        finally:
            await administration.close()

    return asyncio.run(follow())


def say(path: Path, line: bytes) -> dict[str, Any]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(path))
        connection.sendall(line)
        answered: dict[str, Any] = msgspec.json.decode(connection.makefile("rb").readline())
        return answered


def test_who_tells_of_a_change_is_answered_when_it_is_taken_up(users: UserDatabase) -> None:
    seen: list[int] = []

    def take_up() -> int:
        seen.append(len(users.records()))
        return seen[-1]

    def change() -> bool:
        users.add("A", b"secret of A", 1001)
        return announce(users.path.parent / "admin") and seen == [1]

    assert while_listening(users, take_up, change) is True


@pytest.mark.parametrize(
    "line", [b"users\n", b"{}\n", b'{"changed":"keys"}\n', b'{"changed":"users","x":1}\n', b"\n"]
)
def test_anything_else_is_refused_and_nothing_is_taken_up(users: UserDatabase, line: bytes) -> None:
    seen: list[int] = []

    def take_up() -> int:
        seen.append(1)
        return 1

    answer = while_listening(users, take_up, lambda: say(users.path.parent / "admin", line))
    assert answer["error"].startswith('expected {"changed":"users"}, got')
    assert seen == []


def test_a_line_without_end_is_cut_off(users: UserDatabase) -> None:
    def shout() -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(str(users.path.parent / "admin"))
            connection.sendall(b"x" * 4096)
            try:
                return connection.recv(100)
            except ConnectionError:
                return b""

    assert while_listening(users, lambda: 1, shout) == b""


def test_a_change_that_nobody_tells_is_found(users: UserDatabase) -> None:
    async def follow() -> int:
        found = asyncio.Event()

        def take_up() -> int:
            found.set()
            return 1

        administration = Administration(users, take_up)
        await administration.start(None)
        await asyncio.to_thread(users.add, "A", b"secret of A", 1001)
        await asyncio.wait_for(found.wait(), 10 * POLL_SECONDS)
        await administration.close()
        return len(users.records())

    assert asyncio.run(follow()) == 1


def test_a_database_that_fails_is_told_and_asked_again(
    users: UserDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    def take_up() -> int:
        raise UserDatabaseError("users.sqlite: expected a usable file")

    path = users.path.parent / "admin"
    line = b'{"changed":"users"}\n'
    assert while_listening(users, take_up, lambda: say(path, line)) == {
        "error": "users.sqlite: expected a usable file"
    }
    assert while_listening(users, take_up, lambda: announce(path)) is False


def test_nobody_there_is_no_error(tmp_path: Path) -> None:
    assert announce(None) is False
    assert announce(tmp_path / "admin") is False


def test_the_socket_is_its_owners_alone_and_gone_afterwards(users: UserDatabase) -> None:
    path = users.path.parent / "admin"
    mode = while_listening(users, lambda: 1, lambda: path.stat().st_mode)
    assert stat.S_IMODE(mode) == 0o600
    assert not path.exists()


def test_a_path_that_is_taken_is_named(users: UserDatabase) -> None:
    path = users.path.parent / "admin"
    path.write_text("")
    with pytest.raises(UnixSocketError, match=f"administration socket {path}: expected a free"):
        while_listening(users, lambda: 1, lambda: None)
