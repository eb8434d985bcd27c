"""What administrators change, in their own group and in none else, and what the log says of it."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodes.portal.application import application
from nodes.users import Actor, ForbiddenError, UserRefusedError
from tests.nodes.portal.site import ORIGIN, Site, form_token, problem

OPERATIONS = ["move", "expel", "password", "add"]


def sub_ids(site: Site) -> dict[str, int]:
    return {record.user: record.sub_id for record in site.users.records()}


def last_entry(site: Site) -> tuple[str, ...]:
    entry = site.users.audit.entries(limit=1)[0]
    assert entry.vpn_id == 1001
    by = (entry.who, entry.source, entry.address)
    return (*by, entry.operation, entry.subject, entry.old, entry.new)


BY_ADA = ("ada", "page", "3ffe::99")


def test_a_user_is_moved_and_the_log_says_from_where_to_where(site: Site) -> None:
    browser = site.logged_in("ada")
    answer = browser.submit("/groups/1001/move", user="C", sub_id="1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/groups/1001")
    assert sub_ids(site)["C"] == 1
    assert last_entry(site) == (*BY_ADA, "move user", "C", "Sub ID 2", "Sub ID 1")
    assert "C is now in Sub ID 1." in browser.get("/groups/1001").text
    assert "C is now in Sub ID 1." not in browser.get("/groups/1001").text


def test_a_user_is_expelled(site: Site) -> None:
    assert site.logged_in("ada").submit("/groups/1001/expel", user="C").status_code == 303
    assert "C" not in sub_ids(site)
    assert last_entry(site) == (*BY_ADA, "expel user", "C", "Sub ID 2", "")


def test_a_user_is_added_and_can_register(site: Site) -> None:
    browser = site.logged_in("ada")
    answer = browser.submit("/groups/1001/add", user="Ü<E>", password="a pass word", sub_id="3")
    assert answer.status_code == 303
    assert site.users.verify("Ü<E>", b"a pass word")
    assert sub_ids(site)["Ü<E>"] == 3
    assert last_entry(site) == (*BY_ADA, "add user", "Ü<E>", "", "Sub ID 3")


def test_a_password_is_set_and_is_not_in_the_log(site: Site) -> None:
    browser = site.logged_in("ada")
    secret = "entirely new words"
    assert browser.submit("/groups/1001/password", user="A", password=secret).status_code == 303
    assert site.users.verify("A", secret.encode())
    assert last_entry(site) == (*BY_ADA, "set password", "A", "", "")
    octets = b"".join(path.read_bytes() for path in site.users.path.parent.glob("users*"))
    assert secret.encode() not in octets


@pytest.mark.parametrize(
    ("operation", "fields", "sentence"),
    [
        ("move", {"user": "A", "sub_id": "0"}, "Sub ID 0: expected 1 to 4294967295."),
        ("move", {"user": "A", "sub_id": "x"}, "Sub ID: expected a whole number from 1 to 429496"),
        ("move", {"user": "Z", "sub_id": "1"}, "User Z: does not exist in group 1001."),
        ("move", {"user": "D", "sub_id": "2"}, "User D: does not exist in group 1001."),
        ("expel", {"user": "D"}, "User D: does not exist in group 1001."),
        ("expel", {}, "User : does not exist in group 1001."),
        ("password", {"user": "A", "password": "7 ch4rs"}, "Password: expected at least 8 octets."),
        ("password", {"user": "D", "password": "long enough"}, "User D: does not exist in group"),
        ("add", {"user": "A", "password": "long enough", "sub_id": "1"}, "User A: exists already."),
        ("add", {"user": "a b", "password": "long enough", "sub_id": "1"}, "User 'a b': expected"),
        ("add", {"user": "E", "password": "long enough", "sub_id": ""}, "Sub ID: expected a whole"),
    ],
)
def test_what_makes_no_sense_is_said_on_the_page_and_changes_nothing(
    site: Site, operation: str, fields: dict[str, str], sentence: str
) -> None:
    browser = site.logged_in("ada")
    before = site.state()
    answer = browser.submit(f"/groups/1001/{operation}", **fields)
    assert answer.status_code == 422
    assert problem(answer).startswith(sentence)
    assert fields.get("password", "long enough") not in answer.text
    assert site.state() == before


def test_a_wrong_name_stays_in_the_field_and_the_password_does_not(site: Site) -> None:
    browser = site.logged_in("ada")
    answer = browser.submit("/groups/1001/add", user="a b", password="long enough", sub_id="7")
    assert 'value="a b"' in answer.text
    assert 'value="7"' in answer.text
    assert 'aria-invalid="true"' in answer.text


@pytest.mark.parametrize("operation", [*OPERATIONS, "logout"])
@pytest.mark.parametrize(
    ("token", "origin"),
    [
        ("", ORIGIN),
        ("A" * 43, ORIGIN),
        (None, "https://evil.test"),
        (None, "null"),
        (None, None),
    ],
    ids=["no token", "made-up token", "another site", "hidden site", "unknown site"],
)
def test_a_forged_form_is_refused_and_changes_nothing(
    site: Site, operation: str, token: str | None, origin: str | None
) -> None:
    browser = site.logged_in("ada")
    own = form_token(browser.get("/groups/1001").text)
    before = site.state()
    fields = {"user": "A", "sub_id": "2", "password": "long enough"}
    fields["form_token"] = own if token is None else token
    path = "/logout" if operation == "logout" else f"/groups/1001/{operation}"
    assert browser.post(path, fields, origin).status_code == 403
    assert site.state() == before
    assert browser.get("/groups/1001").status_code == 200


def test_another_administrators_form_token_is_refused(site: Site) -> None:
    bobs = form_token(site.logged_in("bob").get("/groups/1002").text)
    fields = {"form_token": bobs, "user": "A"}
    assert site.logged_in("ada").post("/groups/1001/expel", fields).status_code == 403
    assert "A" in sub_ids(site)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_change_is_no_link(site: Site, operation: str) -> None:
    browser = site.logged_in("ada")
    assert browser.get(f"/groups/1001/{operation}?user=A&sub_id=2").status_code == 405


def test_a_form_of_another_kind_or_size_is_refused(site: Site) -> None:
    browser = site.logged_in("ada")
    json = site.run(
        browser.client.post("/groups/1001/expel", json={"user": "A"}, headers={"origin": ORIGIN})
    )
    assert json.status_code == 415
    assert browser.post("/groups/1001/expel", {"user": "A" * 20_000}).status_code == 413
    many = {str(number): "x" for number in range(9)}
    assert browser.post("/groups/1001/expel", many).status_code == 400


@pytest.mark.parametrize("name", ["bob", "ada"])
def test_a_foreign_groups_administrator_sees_and_changes_nothing(site: Site, name: str) -> None:
    foreign, user = (1001, "A") if name == "bob" else (1002, "D")
    browser = site.logged_in(name)
    before = site.state()
    for path in (f"/groups/{foreign}", f"/groups/{foreign}/log", f"/groups/{foreign}/events"):
        answer = browser.get(path)
        assert answer.status_code == 403
        assert f"Group {foreign} is not yours to administer." in answer.text
    for operation in OPERATIONS:
        fields = {"user": user, "sub_id": "2", "password": "long enough"}
        assert browser.submit(f"/groups/{foreign}/{operation}", **fields).status_code == 403
    assert site.state() == before


def test_the_database_itself_refuses_what_a_route_might_forget(site: Site) -> None:
    ada = Actor("ada", "page", "3ffe::99")
    before = site.state()
    with pytest.raises(ForbiddenError):
        site.users.set_sub_id("D", 2, by=ada)
    with pytest.raises(ForbiddenError):
        site.users.remove("D", by=ada)
    with pytest.raises(ForbiddenError):
        site.users.set_password("D", b"long enough", 1002, by=ada)
    with pytest.raises(ForbiddenError):
        site.users.add("E", b"long enough", 1002, by=ada)
    with pytest.raises(ForbiddenError):
        site.users.add_group(1003, by=ada)
    with pytest.raises(ForbiddenError):
        site.users.administrators.grant("ada", 1002, by=ada)
    with pytest.raises(UserRefusedError):
        site.users.remove("D", 1001, by=ada)
    assert site.state() == before


NAMES = st.sampled_from(["A", "C", "D", "E", "ada", "", "D' OR '1'='1"])
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "user": NAMES,
        "sub_id": st.sampled_from(["1", "2", "9", "-1", "x"]),
        "password": st.sampled_from(["long enough", "x"]),
        "vpn_id": st.sampled_from(["1001", "1002"]),
    },
)
PATHS = st.tuples(
    st.sampled_from(["1001", "1002", "01002", "1003"]), st.sampled_from([*OPERATIONS, "log", ""])
).map(lambda pair: f"/groups/{pair[0]}/{pair[1]}")


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(requests=st.lists(st.tuples(st.booleans(), PATHS, FIELDS), min_size=1, max_size=4))
def test_no_route_lets_the_administrator_of_one_group_change_another(
    site: Site, requests: list[tuple[bool, str, dict[str, str]]]
) -> None:
    browser = site.logged_in("ada")
    token = form_token(browser.get("/groups/1001").text)

    def of_other_group() -> object:
        with site.users._store.connection() as connection:
            rows = connection.execute("SELECT * FROM users WHERE vpn_id <> 1001").fetchall()
        return rows, site.users.audit.entries(1002), site.users.administrators.rows()

    before = of_other_group()
    for is_form, path, fields in requests:
        if is_form:
            browser.post(path, {"form_token": token, **fields})
        else:
            browser.get(path)
    assert of_other_group() == before


def test_the_routes_that_the_property_tries_are_all_there_are(site: Site) -> None:
    routed = application(site.desk)._application.routes  # type: ignore[attr-defined]
    changing = {route.path for route in routed if "POST" in (getattr(route, "methods", None) or ())}
    group = {f"/groups/{{vpn_id:int}}/{operation}" for operation in OPERATIONS}
    assert changing == {"/login", "/logout"} | group


def test_names_are_escaped_wherever_they_are_shown(site: Site) -> None:
    hostile = "<script>alert(1)</script>\"'&"
    site.users.add(hostile, b"x", 1001)
    browser = site.logged_in("ada")
    for path in ("/groups/1001", "/groups/1001/log"):
        text = browser.get(path).text
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;&amp;" in text
    answer = browser.submit("/groups/1001/expel", user=f"{hostile}!")
    assert "<script>alert" not in answer.text
    assert site.browser().get(f"/{quote(hostile)}").text.count("<script>") == 0
    moved = browser.submit("/groups/1001/move", user=hostile, sub_id="2")
    assert moved.status_code == 303
    assert "<script>alert" not in browser.get("/groups/1001").text
