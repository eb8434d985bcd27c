"""The page without a network: a browser of few words, and a page for it to visit."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Awaitable
from html import unescape
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

import httpx

from nodes.portal.application import application
from nodes.portal.configuration import PortalConfiguration
from nodes.portal.desk import Desk
from nodes.sections import GroupSection
from nodes.users import UserDatabase
from protocol.types import SECOND

ORIGIN = "https://[3ffe::1000]:4793"
IDLE = 1800 * SECOND
PASSWORDS = {"ada": "ada's password", "bob": "bob's password", "eve": "eve's password"}
GROUPS = {"ada": [1001], "bob": [1002], "eve": [1001, 1002]}

Answer = TypeVar("Answer")


def fill(path: Path) -> None:
    """Makes a database: users A, B and C in group 1001, D in 1002; ada, bob and eve administer."""
    users = UserDatabase(path)
    for vpn_id, name in ((1001, "first"), (1002, "second")):
        users.add_group(vpn_id, name)
    for user, vpn_id, sub_id in (("A", 1001, 1), ("B", 1001, 1), ("C", 1001, 2), ("D", 1002, 1)):
        users.add(user, b"secret of " + user.encode(), vpn_id, sub_id)
    for name, groups in GROUPS.items():
        users.administrators.add(name, PASSWORDS[name].encode(), groups)


class Site:
    """A page with a clock that stands still, and the loop in which it runs."""

    def __init__(self, folder: Path, database: Path) -> None:
        shutil.copy(database, folder / "users.sqlite")
        self.now = 0
        self.loop = asyncio.new_event_loop()
        self.users = UserDatabase(folder / "users.sqlite")
        self.configuration = PortalConfiguration(
            address=ip_address("3ffe::1000"),
            port=4793,
            certificate=folder / "none",
            private_key=folder / "none",
            database=folder / "users.sqlite",
            status_socket=folder / "server.status",
            admin_socket=folder / "server.admin",
            groups={1001: GroupSection(multicast_address=ip_address("ff1e::1"))},
            origins=frozenset([ORIGIN]),
            idle_time=IDLE,
        )
        self.desk = self.run(self._desk())
        self.application = application(self.desk)

    async def _desk(self) -> Desk:
        return Desk(self.configuration, self.users, lambda: self.now)

    def run(self, work: Awaitable[Answer]) -> Answer:
        """Runs something in the page's loop."""

        async def awaited() -> Answer:
            return await work

        return self.loop.run_until_complete(awaited())

    def browser(self, peer: str = "3ffe::99") -> Browser:
        """Returns a browser with no cookies, at an address of its own."""
        return Browser(self, peer)

    def logged_in(self, name: str) -> Browser:
        """Returns the browser of an administrator."""
        browser = self.browser()
        assert browser.log_in(name).status_code == 303
        return browser

    def state(self) -> Any:
        """Returns all that a change could change."""
        with self.users._store.connection() as connection:
            rows = connection.execute("SELECT * FROM users ORDER BY user").fetchall()
        return rows, self.users.audit.entries(limit=10_000)

    def close(self) -> None:
        """Ends the loop."""
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


class Browser:
    """Keeps cookies, and sends forms as a browser does."""

    def __init__(self, site: Site, peer: str) -> None:
        self._site = site
        transport = httpx.ASGITransport(site.application, client=(peer, 40000))
        self.client = httpx.AsyncClient(transport=transport, base_url=ORIGIN)

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Gets a page."""
        return self._site.run(self.client.get(path, headers=headers))

    def post(
        self, path: str, fields: dict[str, str], origin: str | None = ORIGIN, **headers: str
    ) -> httpx.Response:
        """Sends a form."""
        if origin is not None:
            headers["origin"] = origin
        return self._site.run(self.client.post(path, data=fields, headers=headers))

    def log_in(self, name: str, password: str | None = None) -> httpx.Response:
        """Fills the log-in form in."""
        token = form_token(self.get("/login").text)
        secret = PASSWORDS[name] if password is None else password
        return self.post("/login", {"form_token": token, "name": name, "password": secret})

    def submit(self, path: str, **fields: str) -> httpx.Response:
        """Sends a form of one's own group's page, whatever path it is sent to."""
        text = self.get("/groups").text or self.get(self.get("/groups").headers["location"]).text
        return self.post(path, {"form_token": form_token(text), **fields})


def form_token(text: str) -> str:
    """Returns the token of a page's forms."""
    found = re.search(r'name="form_token" value="([^"]+)"', text)
    assert found, text
    return unescape(found[1])


def problem(answer: httpx.Response) -> str:
    """Returns the sentence that a page says of a wrong form."""
    found = re.search(r'<p class="problem"[^>]*>(.*?)</p>', answer.text, re.S)
    assert found, answer.text
    return unescape(found[1])
