"""NT hashes: right, there only when asked for, and gone with their password."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from nodes.database.nt_hash import md4, nt_hash
from nodes.users import UserDatabase


@pytest.fixture
def database(tmp_path: Path) -> UserDatabase:
    database = UserDatabase(tmp_path / "users.sqlite")
    database.add_group(1001)
    return database


def _kept(database: UserDatabase) -> dict[str, str]:
    return {user: secret.reveal().hex() for user, secret in database.nt_hashes().items()}


@pytest.mark.parametrize(
    ("message", "digest"),
    [
        (b"", "31d6cfe0d16ae931b73c59d7e0c089c0"),
        (b"a", "bde52cb31de33e46245e05fbdbd6fb24"),
        (b"abc", "a448017aaf21d8525fc10ae87aa6729d"),
        (b"message digest", "d9130a8164549fe818874806e1c7014b"),
        (b"1234567890" * 8, "e33b4ddc9c38f2199c3e7b164fcc0536"),
    ],
)
def test_md4_is_that_of_rfc_1320(message: bytes, digest: str) -> None:
    assert md4(message).hex() == digest


def test_the_nt_hash_is_that_of_rfc_2759() -> None:
    hashed = nt_hash(b"clientPass")
    assert hashed is not None
    assert hashed.reveal().hex() == "44ebba8d5312b8d611474411f56989ae"


def test_a_password_that_is_no_text_has_no_nt_hash() -> None:
    assert nt_hash(b"\xff\xfe\xfd") is None


def test_nt_hashes_are_kept_only_from_when_they_are_asked_for(database: UserDatabase) -> None:
    database.add("A", b"one", 1001)
    assert _kept(database) == {}
    database.keep_nt_hashes()
    database.keep_nt_hashes()
    assert _kept(database) == {}
    database.add("B", b"clientPass", 1001)
    assert _kept(database) == {"B": "44ebba8d5312b8d611474411f56989ae"}
    assert stat.S_IMODE(database.path.stat().st_mode) == 0o600


def test_a_new_password_replaces_the_nt_hash_and_an_expelled_user_has_none(
    database: UserDatabase,
) -> None:
    database.keep_nt_hashes()
    database.add("A", b"one", 1001)
    before = _kept(database)
    database.set_password("A", b"clientPass")
    assert _kept(database) == {"A": "44ebba8d5312b8d611474411f56989ae"} != before
    database.set_password("A", b"\xff no text")
    assert _kept(database) == {}
    database.set_password("A", b"one")
    database.remove("A")
    assert _kept(database) == {}
