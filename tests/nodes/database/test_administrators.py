"""The group administrators: who may what, and who is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nodes.database.administrators import Administrator
from nodes.users import UserDatabase, UserRefusedError
from protocol.types import VpnId


@pytest.fixture
def users(tmp_path: Path) -> UserDatabase:
    users = UserDatabase(tmp_path / "users.sqlite")
    users.add_group(1001)
    users.add_group(1002)
    users.administrators.add("ada", b"ada's password", [1001])
    return users


def test_only_the_own_password_is_right(users: UserDatabase) -> None:
    standing = users.administrators.verify("ada", b"ada's password")
    assert standing is not None
    assert standing.groups == (1001,)
    assert users.administrators.verify("ada", b"another password") is None
    assert users.administrators.verify("bob", b"ada's password") is None


def test_an_administrator_is_no_user_of_the_vpn(users: UserDatabase) -> None:
    assert not users.verify("ada", b"ada's password")


def test_groups_are_granted_and_revoked(users: UserDatabase) -> None:
    users.administrators.grant("ada", 1002)
    users.administrators.revoke("ada", 1001)
    assert users.administrators.rows() == [Administrator("ada", (VpnId(1002),))]


def test_a_new_password_replaces_the_old_one(users: UserDatabase) -> None:
    users.administrators.set_password("ada", b"another password")
    assert users.administrators.verify("ada", b"ada's password") is None
    assert users.administrators.verify("ada", b"another password") is not None


def test_who_is_removed_is_unknown(users: UserDatabase) -> None:
    users.administrators.remove("ada")
    assert users.administrators.standing("ada") is None
    assert users.administrators.rows() == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a: a.add("ada", b"long enough", [1001]), "administrator ada: exists already"),
        (lambda a: a.add("bob", b"7 octet", [1001]), "password: expected at least 8 octets"),
        (lambda a: a.add("bob", b"x" * 1025, [1001]), "password: expected at most 1024 octets"),
        (lambda a: a.add("a b", b"long enough", [1001]), "expected 1 to 64 printable"),
        (lambda a: a.add("bob", b"long enough", [1003]), "group 1003: does not exist"),
        (lambda a: a.remove("bob"), "administrator bob: does not exist"),
        (lambda a: a.set_password("bob", b"long enough"), "administrator bob: does not exist"),
        (lambda a: a.grant("ada", 1001), "administrator ada: has group 1001 already"),
        (lambda a: a.grant("ada", 1003), "group 1003: does not exist"),
        (lambda a: a.revoke("ada", 1002), "administrator ada: does not have group 1002"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(
    users: UserDatabase, change: Callable[[object], object], reason: str
) -> None:
    before = users.administrators.rows(), users.audit.entries()
    with pytest.raises(UserRefusedError, match=reason):
        change(users.administrators)
    assert (users.administrators.rows(), users.audit.entries()) == before
