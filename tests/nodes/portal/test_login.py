"""Who gets in, who does not, and for how long."""

from __future__ import annotations

import pytest

from nodes.portal.sessions import LONGEST_TIME
from nodes.portal.throttle import TRIES_OF_PAIR, WINDOW
from protocol.types import SECOND
from tests.nodes.portal.site import IDLE, ORIGIN, PASSWORDS, Site, form_token, problem

PAGES = ["/groups", "/groups/1001", "/groups/1001/log", "/groups/1001/events"]


@pytest.mark.parametrize("path", PAGES)
def test_who_is_not_logged_in_is_sent_to_the_log_in_page(site: Site, path: str) -> None:
    answer = site.browser().get(path)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")


def test_the_right_password_opens_the_only_group(site: Site) -> None:
    browser = site.logged_in("ada")
    assert browser.get("/groups").headers["location"] == "/groups/1001"
    page = browser.get("/groups/1001")
    assert page.status_code == 200
    assert "Group 1001" in page.text
    assert browser.get("/login").headers["location"] == "/groups"


def test_the_session_cookie_is_for_this_host_alone_and_out_of_scripts_reach(site: Site) -> None:
    browser = site.browser()
    cookies = browser.log_in("ada").headers.get_list("set-cookie")
    (cookie,) = [line for line in cookies if line.startswith("__Host-blindrelay=")]
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert attributes == {"path=/", "secure", "httponly", "samesite=strict"}


@pytest.mark.parametrize(
    ("name", "password"),
    [("ada", "wrong password"), ("ada", ""), ("nobody", "ada's password"), ("", "")],
)
def test_a_wrong_password_and_an_unknown_name_hear_the_same(
    site: Site, name: str, password: str
) -> None:
    browser = site.browser()
    answer = browser.log_in(name, password)
    assert (answer.status_code, problem(answer)) == (401, "Name or password is wrong.")
    assert browser.get("/groups").headers["location"] == "/login"
    assert password not in answer.text or not password


def test_a_vpn_user_is_no_administrator(site: Site) -> None:
    assert site.browser().log_in("A", "secret of A").status_code == 401


def test_a_log_in_form_of_another_browser_is_refused(site: Site) -> None:
    token = form_token(site.browser().get("/login").text)
    fields = {"form_token": token, "name": "ada", "password": PASSWORDS["ada"]}
    assert site.browser().post("/login", fields).status_code == 403
    other = site.browser()
    other.get("/login")
    assert other.post("/login", fields).status_code == 403


def test_who_guesses_is_told_to_wait_and_the_right_password_too(site: Site) -> None:
    browser = site.browser()
    for _ in range(TRIES_OF_PAIR):
        assert browser.log_in("ada", "wrong password").status_code == 401
    refused = browser.log_in("ada")
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) == WINDOW // SECOND
    assert problem(refused) == "Too many tries. Come back in 5 minutes."
    site.now += WINDOW
    assert browser.log_in("ada").status_code == 303


def test_who_guesses_locks_out_nobody_elsewhere(site: Site) -> None:
    browser = site.browser("3ffe:bad::1")
    for _ in range(TRIES_OF_PAIR):
        browser.log_in("ada", "wrong password")
    assert site.browser("3ffe:bad::2").log_in("ada").status_code == 429  # the same network
    assert site.browser("3ffe:9::1").log_in("ada").status_code == 303


def test_a_session_ends_when_nobody_uses_it(site: Site) -> None:
    browser = site.logged_in("ada")
    site.now += IDLE - 1
    assert browser.get("/groups/1001").status_code == 200
    site.now += IDLE - 1
    assert browser.get("/groups/1001").status_code == 200
    site.now += IDLE
    assert browser.get("/groups/1001").status_code == 303


def test_what_the_script_asks_for_by_itself_keeps_no_session_open(site: Site) -> None:
    browser = site.logged_in("ada")
    site.now += IDLE - 1
    assert browser.get("/groups/1001", **{"x-by-itself": "1"}).status_code == 200
    site.now += 1
    assert browser.get("/groups/1001").status_code == 303


def test_a_busy_session_ends_too(site: Site) -> None:
    browser = site.logged_in("ada")
    while site.now < LONGEST_TIME:
        assert browser.get("/groups/1001").status_code == 200
        site.now += IDLE - 1
    assert browser.get("/groups/1001").status_code == 303


def test_logging_out_ends_the_session_at_the_server(site: Site) -> None:
    browser = site.logged_in("ada")
    cookie = browser.client.cookies["__Host-blindrelay"]
    assert browser.submit("/logout").headers["location"] == "/login"
    browser.client.cookies.set("__Host-blindrelay", cookie)
    assert browser.get("/groups/1001").status_code == 303


def test_another_password_or_removal_ends_all_sessions_of_a_name(site: Site) -> None:
    ada, eve = site.logged_in("ada"), site.logged_in("eve")
    site.users.administrators.set_password("ada", b"another password")
    assert ada.get("/groups/1001").status_code == 303
    assert eve.get("/groups/1001").status_code == 200
    site.users.administrators.remove("eve")
    assert eve.get("/groups/1001").status_code == 303


def test_a_revoked_group_is_closed_at_once(site: Site) -> None:
    eve = site.logged_in("eve")
    assert eve.get("/groups/1002").status_code == 200
    site.users.administrators.revoke("eve", 1002)
    assert eve.get("/groups/1002").status_code == 403
    assert eve.submit("/groups/1002/expel", user="D").status_code == 403


def test_a_made_up_cookie_opens_nothing(site: Site) -> None:
    browser = site.browser()
    browser.client.cookies.set("__Host-blindrelay", "A" * 43)
    assert browser.get("/groups").headers["location"] == "/login"


def test_a_page_asked_for_by_another_name_is_not_given(site: Site) -> None:
    answer = site.browser().get("/login", host="evil.test")
    assert answer.status_code == 421
    assert ORIGIN in answer.text
