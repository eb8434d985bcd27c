"""What the pages show, how they stay up to date, and what every answer carries."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from nodes.portal.groups import Groups
from nodes.portal.sessions import STREAMS_EACH, Session
from nodes.status import close_status, serve_status
from protocol.types import VpnId
from tests.nodes.portal.site import IDLE, Site

SNAPSHOT: dict[str, Any] = {
    "tables": {
        "users on line": {
            "columns": [
                *("user", "VPN ID", "Sub ID", "client", "unicast address", "since"),
                *("datagrams in", "octets in", "datagrams out", "octets out"),
            ],
            "rows": [
                ["A", 1001, 1, 1, "[3ffe:aaaa::1]:4790", "2026-01-02T03:04:05Z", 1234, 5678, 1, 99],
                ["Z", 1001, 1, 3, "[3ffe:ffff::1]:4790", "2026-01-02T03:04:05Z", 0, 0, 0, 0],
                ["D", 1002, 1, 2, "[3ffe:dddd::1]:4790", "2026-01-02T03:04:05Z", 0, 0, 0, 0],
            ],
        },
        "508 multicast address": {
            "columns": ["VPN ID", "Sub ID", "SPI", "made"],
            "rows": [[1001, 1, "0x1", "2026-01-02T03:04:05Z"], [1002, 9, "0x2", "x"]],
        },
    }
}


async def first_event(stream: AsyncIterator[bytes]) -> bytes:
    """Returns what comes after the line that says when to come back."""
    assert await anext(stream) == b"retry: 2000\n\n"
    return await anext(stream)


async def while_served(site: Site, work: Any) -> Any:
    server = await serve_status(site.configuration.status_socket, lambda: SNAPSHOT)
    try:
        return await work
    finally:
        await close_status(server)


def session_of(site: Site) -> Session:
    (session,) = site.desk.sessions._by_digest.values()
    return session


@pytest.mark.parametrize(
    "path", ["/", "/login", "/groups", "/groups/1001", "/nothing", "/static/portal.css"]
)
def test_every_answer_forbids_frames_foreign_scripts_and_copies(site: Site, path: str) -> None:
    headers = site.logged_in("ada").get(path).headers
    policy = dict(
        part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


def test_no_page_has_a_script_or_style_within_or_anything_from_elsewhere(site: Site) -> None:
    browser = site.logged_in("eve")
    pages = ["/groups", "/groups/1001", "/groups/1001/log", "/nothing"]
    text = site.browser().get("/login").text + "".join(browser.get(path).text for path in pages)
    for forbidden in ("style=", "onclick", "javascript:", "http://", "https://", "<style"):
        assert forbidden not in text
    assert text.count("<script ") == text.count('<script src="/static/portal.js" defer></script>')


def test_a_page_that_is_not_there_is_said(site: Site) -> None:
    answer = site.browser().get("/nothing")
    assert answer.status_code == 404
    assert "There is no such page." in answer.text


def test_the_groups_of_an_administrator_of_several_are_listed(site: Site) -> None:
    text = site.logged_in("eve").get("/groups").text
    assert "Group 1001" in text
    assert "Group 1002" in text


def test_the_servers_state_is_shown_beside_the_databases(site: Site) -> None:
    browser = site.logged_in("ada")
    text = site.run(while_served(site, browser.client.get("/groups/1001"))).text
    for shown in (
        "[3ffe:aaaa::1]:4790",
        "1,234 frames, 5.7 kB",
        "1 of 3 on line",
        "1 of 2 on line",
    ):
        assert shown in text
    assert "Expelled, and being put off line: Z" in text
    assert "3ffe:dddd" not in text
    assert "Sub ID 9" not in text


def of_a(site: Site, *changed: object) -> str:
    """Returns the page when A alone is on line, from its Sub ID on with these cells at the server."""
    columns = SNAPSHOT["tables"]["users on line"]["columns"]
    row = ["A", 1001, *changed]
    snapshot = {"tables": {"users on line": {"columns": columns, "rows": [row]}}}

    async def shown() -> str:
        server = await serve_status(site.configuration.status_socket, lambda: snapshot)
        try:
            return (await browser.client.get("/groups/1001")).text
        finally:
            await close_status(server)

    browser = site.logged_in("ada")
    return site.run(shown())


ELSEWHERE = (1, "[3ffe:aaaa::1]:4790", "2026-01-02T03:04:05Z")
NOT_COUNTED = "This server does not relay the group&#39;s frames"


def test_where_nobody_counts_by_user_the_page_says_so(site: Site) -> None:
    assert NOT_COUNTED in of_a(site, 1, *ELSEWHERE, None, None, None, None)


def test_where_users_are_counted_the_page_says_nothing_of_it(site: Site) -> None:
    text = of_a(site, 1, *ELSEWHERE, 0, 0, 0, 0)
    assert NOT_COUNTED not in text
    assert "0 frames, 0 octets" in text


def test_a_change_that_the_server_has_yet_to_take_up_is_shown_as_one_under_way(site: Site) -> None:
    assert "on line, being moved from Sub ID 7" in of_a(site, 7, *ELSEWHERE, 0, 0, 0, 0)


def test_a_server_that_does_not_answer_is_said_and_changes_can_still_be_made(site: Site) -> None:
    browser = site.logged_in("ada")
    assert "The server does not answer." in browser.get("/groups/1001").text
    assert browser.submit("/groups/1001/move", user="A", sub_id="2").status_code == 303
    text = browser.get("/groups/1001").text
    assert "A is now in Sub ID 2. The server has not answered yet" in text


def test_the_stream_tells_what_the_page_shows(site: Site) -> None:
    site.logged_in("ada")
    stream = Groups(site.desk).stream(session_of(site), VpnId(1001))
    event = site.run(while_served(site, first_event(stream)))
    told = msgspec.json.decode(event.removeprefix(b"data: "))
    assert told["texts"]["on-line"] == ["1 of 3 on line", ""]
    assert ["on line", "on"] in told["texts"].values()
    assert b"\n" not in event.removesuffix(b"\n\n")
    site.run(stream.aclose())  # type: ignore[attr-defined]
    assert session_of(site).streams == 0


@pytest.mark.parametrize("how", ["time", "password", "group", "log-out"])
def test_the_stream_ends_with_the_right_to_see_it(site: Site, how: str) -> None:
    browser = site.logged_in("ada")
    session = session_of(site)
    stream = Groups(site.desk).stream(session, VpnId(1001))
    assert site.run(first_event(stream)).startswith(b"data: ")
    if how == "time":
        site.now += IDLE
    elif how == "password":
        site.users.administrators.set_password("ada", b"another password")
    elif how == "group":
        site.users.administrators.revoke("ada", 1001)
    else:
        browser.submit("/logout")
    assert site.run(anext(stream)) == b"event: ended\ndata:\n\n"


def test_the_stream_ends_with_the_process(site: Site) -> None:
    site.logged_in("ada")
    stream = Groups(site.desk).stream(session_of(site), VpnId(1001))

    async def rest() -> list[bytes]:
        await first_event(stream)
        site.desk.closing.set()
        return [event async for event in stream]

    assert site.run(asyncio.wait_for(rest(), 60)) == []


def test_one_session_has_so_many_streams_and_no_more(site: Site) -> None:
    browser = site.logged_in("ada")
    session_of(site).streams = STREAMS_EACH
    assert browser.get("/groups/1001/events").status_code == 429


def test_a_database_that_fails_is_said_without_details(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    browser = site.logged_in("ada")
    site.users.path.write_text("this is a text and certainly no database" * 10)
    for name in ("users.sqlite-wal", "users.sqlite-shm"):
        (site.users.path.parent / name).unlink(missing_ok=True)
    answer = browser.get("/groups/1001")
    assert answer.status_code == 503
    assert str(site.users.path) not in answer.text
    assert str(site.users.path) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "foreign"),
    [
        ("nodes.server", ("starlette", "uvicorn", "jinja2", "nodes.portal")),
        ("nodes.portal.__main__", ("cryptography", "protocol.cipher", "protocol.client")),
    ],
)
def test_the_page_holds_no_cipher_and_the_server_no_web_library(
    module: str, foreign: tuple[str, ...]
) -> None:
    program = f"import sys, {module}; print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = done.stdout.split()
    assert module in loaded
    assert [name for name in loaded if name.startswith(foreign)] == []
