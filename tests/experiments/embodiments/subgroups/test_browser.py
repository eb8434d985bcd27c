"""Embodiment 2 as its administrator sees it: a real browser, and what real terminals get meanwhile.

The browser stands at client A and reaches the page over the emulated network.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from experiments.deployment import Deployment, Settings, deploy
from experiments.embodiments.subgroups.page import password_file, serving_page
from experiments.traffic.steady import Steady, streaming
from nodes.users import UserDatabase
from tests import browsing
from tests.browsing import PHONE, browser_at, shoot, tab_to, users_in, window
from tests.nodes.running import eventually
from topologies.catalog import subgroups
from topologies.emulate import emulate

pytestmark = [pytest.mark.emulated, pytest.mark.browser]

SENDER, STAYS, MOVES = "t1a", "t2a", "t3a"
ADMINISTRATORS = {"ada": 1001, "bob": 1002}
FRAMES = 50
SILENT_FRAMES = 100
"""As many as come in a second: a user who was moved away has heard of it when he gets none of them."""


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    """Gives the network with server and clients up: A, B and D in Sub ID 1, C in 2; E in 1002."""
    # not pytest's folder: a Unix socket's path has room for 107 octets only
    with (
        tempfile.TemporaryDirectory(prefix="blindrelay-test-") as folder,
        emulate(subgroups(terminals=1, second_group=1)) as network,
        deploy(network, Path(folder), Settings()) as deployed,
    ):
        yield deployed


@pytest.fixture(scope="module")
def url(deployment: Deployment) -> Iterator[str]:
    """Gives the URL of the page, which runs beside the server."""
    with serving_page(deployment, ADMINISTRATORS) as served:
        yield served


@pytest.fixture(scope="module")
def browser(deployment: Deployment) -> Iterator[Browser]:
    """Gives a browser at client A."""
    with browser_at(deployment.network.pid("c1")) as started:
        yield started


@pytest.fixture
def context(browser: Browser, url: str) -> Iterator[BrowserContext]:
    """Gives a fresh browser window."""
    with window(browser, url) as opened:
        yield opened


@pytest.fixture
def stream(deployment: Deployment, tmp_path: Path) -> Iterator[Steady]:
    """Gives a stream from A's terminal to all, heard by those of B and C."""
    with streaming(deployment.network, tmp_path / "stream", SENDER, [STAYS, MOVES]) as steady:
        Steady(steady.folder, [STAYS]).wait_for_frames(FRAMES)
        yield steady


def log_in(deployment: Deployment, context: BrowserContext, name: str) -> Page:
    password = password_file(deployment, name).read_text().strip()
    page = browsing.log_in(context, name, password)
    vpn_id = ADMINISTRATORS[name]
    expect(page.get_by_role("heading", name=f"Group {vpn_id}")).to_be_visible()
    expect(page.locator("#pulse")).to_have_text("live")
    return page


def state_of(page: Page, user: str) -> str:
    return page.locator(f'[data-user="{user}"] .state').inner_text()


def sub_ids(deployment: Deployment) -> dict[str, int]:
    records = UserDatabase(deployment.folder / "users.sqlite").records()
    return {record.user: record.sub_id for record in records}


def begins_to_receive(stream: Steady) -> bool:
    return Steady(stream.folder, [MOVES]).more_frames(FRAMES)


def receives_none(stream: Steady) -> bool:
    """Tells whether at last nothing more comes, while frames come to who stays, and then never again."""

    def silent() -> bool:
        before = len(stream.frames(MOVES))
        Steady(stream.folder, [STAYS]).wait_for_frames(SILENT_FRAMES)
        return len(stream.frames(MOVES)) == before

    return eventually(silent) and silent()


def test_a_member_goes_and_comes_back_before_the_administrators_eyes(
    deployment: Deployment, context: BrowserContext
) -> None:
    page = log_in(deployment, context, "ada")
    expect(page.locator(".state")).to_have_text(["on line"] * 4)
    page.evaluate("window.sameDocument = true")
    deployment.end("c2")
    row = page.locator('[data-user="B"]')
    expect(row.locator(".state")).to_have_text("off line")
    deployment.start(deployment.plan.node("c2"))
    expect(row.locator(".state")).to_have_text("on line")
    expect(row).to_contain_text(f"[{deployment.plan.data_address('c2')}]:4790")
    assert page.evaluate("window.sameDocument") is True


def test_a_user_who_is_moved_begins_to_receive_and_moved_back_receives_none(
    deployment: Deployment, context: BrowserContext, stream: Steady, pictures: Path | None
) -> None:
    page = log_in(deployment, context, "ada")
    assert stream.frames(MOVES) == []
    page.get_by_label("Sub ID of C").select_option("1")
    page.get_by_role("button", name="Move C").click()
    expect(page.locator("#notice")).to_have_text("C is now in Sub ID 1.")
    expect(users_in(page, 1)).to_have_count(4)
    assert state_of(page, "C") == "on line"
    assert begins_to_receive(stream)
    expect(page.locator('[data-user="A"]')).to_contain_text(re.compile(r"Sent\s*[1-9][\d,]* f"))

    page.locator("body").press("Tab")
    tab_to(page, "Sub ID of C")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#notice")).to_have_text(re.compile("^C is now in Sub ID [23].$"))
    assert state_of(page, "C") == "on line"
    assert receives_none(stream)
    shoot(page, pictures, "portal-desktop")
    page.set_viewport_size(PHONE)
    shoot(page, pictures, "portal-phone")
    stayed = Steady(stream.folder, [STAYS])
    assert (stayed.missing(), stayed.repeated()) == (0, 0)


def test_an_expelled_user_goes_from_every_open_page_and_his_process_ends(
    deployment: Deployment, browser: Browser, context: BrowserContext, url: str
) -> None:
    page = log_in(deployment, context, "ada")
    process = deployment.processes["c4"]
    with window(browser, url) as elsewhere:
        watching = log_in(deployment, elsewhere, "ada")
        expect(watching.locator('[data-user="D"] .state')).to_have_text("on line")
        page.locator('[data-user="D"] summary').click()
        page.get_by_role("button", name="Expel D").click()
        expect(page.locator("#notice")).to_have_text("D is expelled.")
        for each in (page, watching):
            expect(each.locator('[data-user="D"]')).to_have_count(0)
            expect(each.locator('[data-live="lingering"]')).to_have_text("")
    assert eventually(lambda: process.poll() is not None)
    assert process.returncode == 1
    assert "refused: user D is no longer in VPN 1001" in deployment.log("c4")
    deployment.forget("c4")


def test_a_wrong_password_opens_nothing(context: BrowserContext) -> None:
    page = browsing.log_in(context, "ada", "wrong password")
    expect(page.get_by_role("alert")).to_have_text("Name or password is wrong.")
    page.goto("/groups/1001")
    expect(page.get_by_role("button", name="Log in")).to_be_visible()


def test_another_groups_administrator_neither_sees_nor_changes_this_one(
    deployment: Deployment, context: BrowserContext
) -> None:
    page = log_in(deployment, context, "bob")
    before = sub_ids(deployment)
    page.evaluate("document.querySelector('form.move').action = '/groups/1001/move'")
    page.evaluate("document.querySelector('form.move input[name=user]').value = 'A'")
    page.get_by_label("Sub ID of E").select_option("2")
    page.get_by_role("button", name="Move E").click()
    expect(page.get_by_role("alert")).to_have_text("Group 1001 is not yours to administer.")
    page.goto("/groups/1001")
    expect(page.get_by_role("alert")).to_have_text("Group 1001 is not yours to administer.")
    assert sub_ids(deployment) == before


def test_a_form_that_another_page_sends_changes_nothing(
    deployment: Deployment, context: BrowserContext, url: str
) -> None:
    log_in(deployment, context, "ada")
    before = sub_ids(deployment)
    other = context.new_page()
    form = f'<form method="post" action="{url}/groups/1001/move"><input name="user" value="A">'
    other.set_content(f'{form}<input name="sub_id" value="2"><button>Win</button></form>')
    other.get_by_role("button").click()
    expect(other.get_by_text("This form did not come from this page.")).to_be_visible()
    assert sub_ids(deployment) == before
