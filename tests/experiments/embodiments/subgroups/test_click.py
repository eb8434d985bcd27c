"""The administrator of a run, at the real page over TLS."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest

from experiments.credentials import CertificateAuthority
from experiments.embodiments.subgroups import click
from experiments.embodiments.subgroups.click import Administrator, ClickError
from nodes.users import UserDatabase
from tests.nodes.portal.site import PASSWORDS, fill
from tests.nodes.portal.test_main import PORTAL, SERVER
from tests.programs import started


@dataclass(frozen=True)
class Served:
    """A page that is up, and the folder with its files."""

    folder: Path
    url: str

    def sub_id(self, user: str) -> int | None:
        """Returns a user's Sub ID in the database; None for who is not in it."""
        records = UserDatabase(self.folder / "users.sqlite").records()
        return next((record.sub_id for record in records if record.user == user), None)

    def administrator(self) -> Administrator:
        """Returns a browser without cookies."""
        return Administrator(self.url, self.folder / "authority.pem")


def free_port() -> int:
    """Finds a port that nobody has, below those that the kernel gives to others meanwhile."""
    for port in range(20_000 + os.getpid() % 10_000, 32_000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Gives the page of users A, B, C and D; ada administers group 1001."""
    folder = tmp_path_factory.mktemp("page")
    port = free_port()
    authority = CertificateAuthority()
    authority.write(folder / "authority.pem")
    authority.issue(ip_address("127.0.0.1"), folder / "server.pem", folder / "server.key")
    (folder / "server.toml").write_text(SERVER)
    (folder / "portal.toml").write_text(f"{PORTAL}port = {port}\n")
    (folder / "ada.password").write_text(PASSWORDS["ada"])
    fill(folder / "users.sqlite")
    with started("nodes.portal", "--config", "portal.toml", folder=folder) as process:
        assert process.stdout is not None
        assert "serving" in process.stdout.readline()
        yield Served(folder, f"https://127.0.0.1:{port}")
        process.terminate()
        process.communicate(timeout=60)


def run(served: Served, monkeypatch: pytest.MonkeyPatch, lines: str) -> int:
    argv = ["click", "--url", served.url, "--authority", str(served.folder / "authority.pem")]
    argv += ["--administrator", "ada", "--password-file", str(served.folder / "ada.password")]
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    return click.main()


def test_each_line_is_a_form_and_its_answer_says_when_it_left(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = time.monotonic_ns()
    lines = "/groups/1001/move user=C sub_id=1\n/groups/1001/expel user=B sure=yes\n"
    assert run(served, monkeypatch, lines) == 0
    ready, *answers = capsys.readouterr().out.splitlines()
    assert ready == "ready"
    moved, expelled = (json.loads(answer) for answer in answers)
    assert (moved["status"], expelled["status"]) == (200, 200)
    assert before < moved["at"] < moved["at"] + moved["took"] <= expelled["at"]
    assert (served.sub_id("C"), served.sub_id("B")) == (1, None)


def test_a_foreign_groups_user_is_not_moved_and_the_program_says_so(
    served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(served, monkeypatch, "/groups/1002/move user=D sub_id=2\n") == 1
    assert "/groups/1002/move: answered 403" in capsys.readouterr().err
    assert served.sub_id("D") == 1


def test_a_wrong_password_logs_nobody_in(served: Served) -> None:
    with pytest.raises(ClickError, match="/login: answered 4"):
        served.administrator().log_in("ada", "wrong password")


def test_a_form_without_a_session_changes_nothing(served: Served) -> None:
    stranger = served.administrator()
    before = served.sub_id("A")
    with pytest.raises(ClickError, match="nobody is logged in"):
        stranger.submit("/groups/1001/move", {"user": "A", "sub_id": "7"})
    assert served.sub_id("A") == before
