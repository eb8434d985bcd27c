"""The page in a real browser, over a real server with real clients, on an emulated network."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from nodes import admin
from nodes.administration import announce
from nodes.users import UserDatabase
from tests import browsing
from tests.browsing import PHONE, browser_at, shoot, tab_to, users_in, window
from tests.nodes.portal.site import PASSWORDS
from tests.nodes.running import CHECKOUT, DEADLINE, Crew, crew_on, eventually, toml
from topologies.emulate import Network

pytestmark = [pytest.mark.emulated, pytest.mark.browser]

ADDRESS = "[3ffe::1000]:4793"
URL = f"https://{ADDRESS}"


@pytest.fixture(scope="module")
def crew(network: Network, files: Path) -> Iterator[Crew]:
    """Gives a server and its page, with ada for group 1001 and bob for 1002."""
    with crew_on(network, files) as gathered:
        users = UserDatabase(gathered.folder / "users.sqlite")
        for name, vpn_id in (("ada", 1001), ("bob", 1002)):
            users.administrators.add(name, PASSWORDS[name].encode(), [vpn_id])
        users.set_sub_id("C", 2)
        gathered.up("server")
        with PageProcess(gathered):
            yield gathered


class PageProcess:
    """The page's process on the server's node."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        section = {"server": "server.toml", "address": "3ffe::1000"}
        (crew.folder / "portal.toml").write_text(toml({"portal": section}))

    def __enter__(self) -> subprocess.Popen[bytes]:
        folder = self._crew.folder
        argv = [sys.executable, "-m", "nodes.portal", "--config", str(folder / "portal.toml")]
        with (folder / "portal.stdout").open("wb") as out:
            self.process = self._crew.network.popen(
                "server", argv, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        assert eventually(lambda: "serving" in (folder / "portal.stdout").read_text())
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        assert self.process.wait(timeout=DEADLINE) == 0
        said = (self._crew.folder / "portal.stdout").read_text()
        assert said == f"blindrelay portal: serving at https://{ADDRESS}\n"


@pytest.fixture(scope="module")
def browser(network: Network, crew: Crew) -> Iterator[Browser]:
    """Gives a browser on the server's node; it and its driver end with the module."""
    with browser_at(network.pid("server")) as started:
        yield started


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Gives a fresh browser window."""
    with window(browser, URL) as opened:
        yield opened


def log_in(context: BrowserContext, name: str, password: str | None = None) -> Page:
    return browsing.log_in(context, name, PASSWORDS[name] if password is None else password)


def sub_id_of(crew: Crew, user: str) -> int:
    rows = crew.rows("server", "506")
    return next(int(row[2]) for row in rows if row[0] == user)


def states_after_reload(page: Page) -> list[str]:
    """Loads a page anew that does not follow by itself; returns what it says of each user."""
    page.get_by_role("link", name="Reload").click()
    return page.locator(".state").all_text_contents()


MEMBERS = {"A": ("c1", 1), "B": ("c2", 1), "C": ("c3", 2)}
"""The users of group 1001: the client and the Sub ID of each."""


@pytest.fixture(autouse=True)
def _in_their_places(crew: Crew) -> None:
    """Puts A and B into Sub ID 1 and C into 2, and nobody else, whatever an earlier test has left."""
    users = UserDatabase(crew.folder / "users.sqlite")
    found = {record.user: record.sub_id for record in users.records(1001)}
    for user, (client, sub_id) in MEMBERS.items():
        if user not in found:
            users.add(user, crew.password(client).encode(), 1001, sub_id)
        elif found[user] != sub_id:
            users.set_sub_id(user, sub_id)
    for user in found.keys() - MEMBERS.keys():
        users.remove(user)
    assert announce(crew.folder / "server.admin")


@pytest.fixture
def on_line(crew: Crew) -> None:
    """Has the clients of A, B and C in their group."""
    crew.up(*(client for client, _ in MEMBERS.values() if client not in running(crew)))
    for client, _ in MEMBERS.values():
        crew.wait(client, "registered")


@pytest.fixture
def off_line(crew: Crew) -> None:
    """Has no client in its group."""
    crew.end(*running(crew))
    assert eventually(lambda: crew.members() == [])


def running(crew: Crew) -> list[str]:
    """Names the clients whose process is there."""
    return [name for name, one in crew.processes.items() if name != "server" and one.poll() is None]


class TestTheOpenPage:
    """One administrator's page, with members that come, talk, are moved and expelled."""

    @pytest.mark.usefixtures("off_line")
    def test_members_come_on_line_without_a_reload(
        self, crew: Crew, context: BrowserContext
    ) -> None:
        page = log_in(context, "ada")
        expect(page.get_by_role("heading", name="Group 1001")).to_be_visible()
        expect(page.locator(".state")).to_have_text(["off line"] * 3)
        page.evaluate("window.sameDocument = true")
        crew.up("c1", "c2", "c3")
        expect(page.locator(".state")).to_have_text(["on line"] * 3)
        assert crew.reach("t1a", "t2a")
        row = page.locator('[data-user="A"]')
        expect(row).to_contain_text(crew.member("c1"))
        expect(row).to_contain_text(re.compile(r"Sent\s*[1-9][0-9]* frames"))
        assert page.evaluate("window.sameDocument") is True
        page.set_viewport_size(PHONE)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

    def test_a_user_is_moved_by_select_and_button_and_the_server_follows(
        self, crew: Crew, context: BrowserContext
    ) -> None:
        page = log_in(context, "ada")
        page.get_by_label("Sub ID of C").select_option("1")
        page.get_by_role("button", name="Move C").click()
        expect(page.locator("#notice")).to_have_text("C is now in Sub ID 1.")
        expect(users_in(page, 1)).to_have_count(3)
        assert sub_id_of(crew, "C") == 1

    def test_a_user_is_dragged_to_a_new_sub_id(self, crew: Crew, context: BrowserContext) -> None:
        page = log_in(context, "ada")
        expect(page.locator("#pulse")).to_have_text("live")
        fresh = page.locator("#new-lane").get_attribute("data-sub-id")
        page.locator('[data-user="C"] .grip').hover()
        page.mouse.down()
        page.mouse.move(600, 400, steps=4)
        page.locator("#new-lane").hover()
        page.locator("#new-lane").hover()  # a browser sees a drag only at its second step
        page.mouse.up()
        expect(page.locator("#notice")).to_have_text(f"C is now in Sub ID {fresh}.")
        assert sub_id_of(crew, "C") == int(fresh or 0) > 2

    def test_without_a_mouse_the_keyboard_suffices(
        self, crew: Crew, context: BrowserContext
    ) -> None:
        page = log_in(context, "ada")
        expect(page.locator("#pulse")).to_have_text("live")
        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_focused()
        page.keyboard.press("Enter")
        tab_to(page, "Sub ID of C")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("#notice")).to_have_text("C is now in Sub ID 1.")
        expect(page.locator("#notice")).to_be_focused()
        assert sub_id_of(crew, "C") == 1

    @pytest.mark.usefixtures("on_line")
    def test_without_javascript_every_change_can_be_made(
        self, crew: Crew, browser: Browser, pictures: Path | None
    ) -> None:
        with window(browser, URL, java_script_enabled=False, color_scheme="dark") as context:
            page = log_in(context, "ada")
            assert eventually(lambda: states_after_reload(page) == ["on line"] * 3)
            add = page.locator("#add")
            add.get_by_label("Name").fill("E")
            add.get_by_label("Password").fill("long enough")
            add.get_by_role("button").click()
            expect(page.locator("#notice")).to_have_text("E is added to Sub ID 1.")
            page.get_by_label("Sub ID of E").select_option("2")
            page.get_by_role("button", name="Move E").click()
            expect(users_in(page, 2)).to_have_count(2)
            page.locator('[data-user="E"] summary').click()
            page.get_by_label("New password of E").fill("other words")
            page.get_by_role("button", name="Set password").locator("visible=true").click()
            expect(page.locator("#notice")).to_have_text("E has a new password.")
            page.locator('[data-user="E"] summary').click()
            shoot(page, pictures, "portal-dark")
            page.get_by_role("button", name="Expel E").click()
            expect(page.locator("#notice")).to_have_text("E is expelled.")
            page.get_by_role("link", name="Reload").click()
            expect(page.locator("[data-user]")).to_have_count(3)

    def test_a_change_made_elsewhere_appears_and_what_is_being_typed_stays(
        self, crew: Crew, context: BrowserContext
    ) -> None:
        page = log_in(context, "ada")
        page.locator('[data-user="A"] summary').click()
        field = page.get_by_label("New password of A")
        field.fill("half a pass")
        config = str(crew.folder / "server.toml")
        assert admin.main(["--config", config, "move", "C", "3"]) == 0
        expect(users_in(page, 3)).to_have_count(1)
        expect(field).to_have_value("half a pass")
        expect(field).to_be_focused()

    @pytest.mark.usefixtures("on_line")
    def test_an_expelled_user_is_gone_from_page_and_server(
        self, crew: Crew, context: BrowserContext, pictures: Path | None
    ) -> None:
        page = log_in(context, "ada")
        page.locator('[data-user="B"] summary').click()
        page.get_by_role("button", name="Expel B").click()
        expect(page.locator("#notice")).to_have_text("B is expelled.")
        expect(page.locator("[data-user]")).to_have_count(2)
        assert [row[0] for row in crew.rows("server", "506")] == ["A", "C", "D"]
        assert crew.code("c2") == 1
        page.get_by_role("link", name="Changes").click()
        expect(page.locator("tbody tr").first).to_contain_text("expel user")
        shoot(page, pictures, "portal-changes")


class TestRefusals:
    def test_a_wrong_password_is_said_and_read_aloud(
        self, crew: Crew, context: BrowserContext, pictures: Path | None
    ) -> None:
        page = log_in(context, "ada", "wrong password")
        expect(page.get_by_role("alert")).to_have_text("Name or password is wrong.")
        shoot(page, pictures, "portal-login")

    def test_another_groups_administrator_is_refused(
        self, crew: Crew, context: BrowserContext
    ) -> None:
        page = log_in(context, "bob")
        expect(page.get_by_role("heading", name="Group 1002")).to_be_visible()
        page.goto("/groups/1001")
        expect(page.get_by_role("alert")).to_have_text("Group 1001 is not yours to administer.")

    def test_a_form_on_another_page_changes_nothing(
        self, crew: Crew, context: BrowserContext
    ) -> None:
        page = log_in(context, "bob")
        expect(page.get_by_role("heading", name="Group 1002")).to_be_visible()
        other = context.new_page()
        form = f'<form method="post" action="https://{ADDRESS}/groups/1002/expel">'
        other.set_content(f'{form}<input name="user" value="D"><button>Win</button></form>')
        other.get_by_role("button").click()
        expect(other.get_by_text("This form did not come from this page.")).to_be_visible()
        assert sub_id_of(crew, "D") == 1

    def test_the_page_breaks_none_of_its_own_rules(
        self, crew: Crew, context: BrowserContext
    ) -> None:
        said: list[str] = []
        context.on("console", lambda message: said.append(message.text))
        page = log_in(context, "bob")
        expect(page.locator("#pulse")).to_have_text("live")
        page.get_by_role("link", name="Changes").click()
        expect(page.get_by_role("heading", name="Changes in group 1002")).to_be_visible()
        assert said == []
