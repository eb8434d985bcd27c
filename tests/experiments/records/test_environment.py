"""Shows what is said of the checkout and the machine."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import msgspec
import pytest

from experiments.records.environment import (
    Checkout,
    describe_checkout,
    describe_environment,
    utc_now,
)


def git(folder: Path, *arguments: str) -> None:
    """Runs git for a test."""
    who = ["-c", "user.name=tester", "-c", "user.email=tester@example.org"]
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


def test_the_commit_is_that_of_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert describe_checkout(tmp_path) == Checkout("nogit", False)
    git(tmp_path, "init", "--quiet")
    assert describe_checkout(tmp_path) == Checkout("nogit", False)
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    clean = describe_checkout(tmp_path)
    assert len(clean.commit) == 12
    assert not clean.dirty
    (tmp_path / "offices.graphml").write_text("a graph of a user's")
    assert describe_checkout(tmp_path) == clean
    (tmp_path / "file").write_text("two")
    assert describe_checkout(tmp_path) == Checkout(clean.commit, True)


def test_the_environment_describes_the_machine_without_naming_it() -> None:
    environment = describe_environment()
    assert environment.cores >= 1
    assert environment.packages["msgspec"][0].isdigit()
    assert "net.core.rmem_max" in environment.settings
    assert socket.gethostname().encode() not in msgspec.json.encode(environment)
    assert utc_now().endswith("Z")
