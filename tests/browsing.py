"""A real browser at the group administrators' page: what its tests have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import (
    Browser,
    BrowserContext,
    Locator,
    Page,
    ViewportSize,
    expect,
    sync_playwright,
)

from tests.conftest import CHROMIUM
from tests.namespaces import inside
from tests.nodes.running import DEADLINE

DESKTOP: ViewportSize = {"width": 1200, "height": 860}
PHONE: ViewportSize = {"width": 390, "height": 844}

# Playwright itself would wait for five seconds.
expect.set_options(timeout=DEADLINE * 1000)


@contextmanager
def browser_at(pid: int) -> Iterator[Browser]:
    """Gives a browser in a process's network namespace; it and its driver end with the block."""
    with inside(pid), sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield started
        finally:
            started.close()


@contextmanager
def window(browser: Browser, url: str, **options: Any) -> Iterator[BrowserContext]:
    """Gives a fresh window, with no cookies, that takes the run's own certificate."""
    opened = browser.new_context(
        ignore_https_errors=True, base_url=url, viewport=DESKTOP, **options
    )
    opened.set_default_timeout(DEADLINE * 1000)
    try:
        yield opened
    finally:
        opened.close()


def log_in(context: BrowserContext, name: str, password: str) -> Page:
    """Opens the page and fills the log-in form in."""
    page = context.new_page()
    page.goto("/")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    return page


def users_in(page: Page, sub_id: int) -> Locator:
    """Finds the rows of a Sub ID's users."""
    return page.locator(f'.card.lane[data-sub-id="{sub_id}"] .user')


def tab_to(page: Page, label: str) -> None:
    """Presses Tab until the field of this label has the focus."""
    for _ in range(60):
        focused = page.evaluate("document.activeElement.getAttribute('aria-label')")
        if focused == label:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"no way by Tab to {label}")


def shoot(page: Page, folder: Path | None, name: str) -> None:
    """Keeps a picture of the whole page, when pictures are wanted."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=folder / f"{name}.png", full_page=True)
