"""What charon is told and what its words mean, without charon."""

from __future__ import annotations

from ipaddress import IPv6Address
from pathlib import Path

import pytest

from nodes.channel import ChannelError, CredentialsError
from nodes.ike import inner_network, view
from nodes.ike.connector import WRONG_CREDENTIALS, read_certificate, reason_of
from nodes.ike.conversation import UnicastAssociation
from nodes.ike.daemon import plugins, settings, written
from nodes.ike.gateway import owner_of
from nodes.ike.identity import identity_of, user_of

INNER = IPv6Address("fd62:6c64:7200::1")


def _association(user: str, peer: str, age: int) -> UnicastAssociation:
    return UnicastAssociation(
        user, "3ffe::1", peer, str(INNER), 0x100, 0x200, "aes_gcm_16-128", age
    )


@pytest.mark.parametrize("user", ["A", "a", "a@b", "10.0.0.1", "CN=x", "*", "%any", "u41", "ü €"])
def test_an_identity_is_plain_and_gives_its_user_back(user: str) -> None:
    identity = identity_of(user)
    assert identity.isalnum()
    assert identity.isascii()
    assert identity == identity.lower()
    assert user_of(identity) == user


@pytest.mark.parametrize("identity", ["A", "41", "u4A", "U41", "u4", "u 41", "uff", "3ffe::1000"])
def test_what_is_nobodys_identity_gives_no_user(identity: str) -> None:
    assert user_of(identity) is None


def test_users_who_differ_in_case_alone_have_identities_that_charon_tells_apart() -> None:
    assert identity_of("A").lower() != identity_of("a").lower()


def test_no_address_is_given_again_after_charon_has_died() -> None:
    pools = [inner_network.pool(INNER, generation) for generation in range(1, 50)]
    assert len(set(pools)) == len(pools)
    assert all(one.subnet_of(inner_network.site(INNER)) for one in pools)
    assert not any(INNER in one for one in pools)


def test_settings_are_written_as_nested_sections() -> None:
    assert (
        written({"a": {"b": "1", "c": {"d": "x y"}}})
        == "a {\n  b = 1\n  c {\n    d = x y\n  }\n}\n"
    )


def test_charon_logs_at_no_level_that_shows_keys() -> None:
    text = written(settings("user space", Path("/run/charon.vici")))
    levels = [line.split("=")[1].strip() for line in text.splitlines() if "default =" in line]
    assert levels == ["0"]
    assert "ike = 1" in text


def test_libipsec_is_not_loaded_where_the_kernel_has_esp() -> None:
    assert "kernel-libipsec" not in plugins("kernel").split()


def test_the_newest_sa_of_an_inner_address_says_whose_it_is() -> None:
    found = [_association("old", "fd62::2", 90), _association("new", "fd62::2", 1)]
    owner = owner_of([*found, _association("other", "fd62::3", 0)], "fd62::2")
    assert owner is not None
    assert owner.user == "new"
    assert owner_of(found, "fd62::9") is None


def test_the_table_shows_spis_algorithm_and_age() -> None:
    (row,) = view.association_table([_association("A", "fd62::2", 7)])["rows"]
    assert row == ["A", "3ffe::1", "fd62::2", "0x00000100", "0x00000200", "aes_gcm_16-128", 7]


@pytest.mark.parametrize(
    ("log", "kind", "words"),
    [
        ("EAP_MSCHAPV2 method failed\nestablishing failed", CredentialsError, WRONG_CREDENTIALS),
        ("XAuth authentication of 'u41' (myself) failed", CredentialsError, WRONG_CREDENTIALS),
        ("no trusted ECDSA public key found for 'x'", ChannelError, "certificate authority"),
        ("constraint check failed: identity 'x' required", ChannelError, "another server"),
        ("giving up after 4 retransmits", OSError, "giving up"),
        ("", OSError, "no SA by IKE"),
    ],
)
def test_charons_words_become_one_clear_line(log: str, kind: type[Exception], words: str) -> None:
    reason = reason_of(log)
    assert type(reason) is kind
    assert words in str(reason)
    assert "\n" not in str(reason)


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    path = tmp_path / "authority.pem"
    with pytest.raises(ChannelError, match=r"authority\.pem: expected a certificate"):
        read_certificate(path)
    path.write_text("nothing of the kind")
    with pytest.raises(ChannelError, match="something else"):
        read_certificate(path)
