"""Shows how runs' folders are named and what is said of the machine."""

from __future__ import annotations

import socket
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import msgspec
import pytest

from experiments.environment import (
    Checkout,
    create_run_folder,
    describe_checkout,
    describe_environment,
    point_latest,
    utc_now,
)

NOON = datetime(2025, 1, 2, 12, 0, 59, tzinfo=timezone.utc)


def git(folder: Path, *arguments: str) -> None:
    """Runs git for a test."""
    who = ["-c", "user.name=tester", "-c", "user.email=tester@example.org"]
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


def test_a_run_folder_tells_time_commit_and_dirt(tmp_path: Path) -> None:
    clean = create_run_folder(tmp_path, "single", Checkout("abc123", False), NOON)
    dirty = create_run_folder(tmp_path, "single", Checkout("abc123", True), NOON)
    assert clean.relative_to(tmp_path).as_posix() == "single/20250102T120059Z-abc123"
    assert dirty.name == "20250102T120059Z-abc123-dirty"


def test_two_runs_in_one_second_get_folders_of_their_own(tmp_path: Path) -> None:
    names = [
        create_run_folder(tmp_path, "single", Checkout("nogit", False), NOON).name for _ in range(2)
    ]
    assert names == ["20250102T120059Z-nogit", "20250102T120100Z-nogit"]


def test_latest_moves_on_to_the_newest_run(tmp_path: Path) -> None:
    for minute in (1, 2):
        moment = NOON.replace(minute=minute)
        folder = create_run_folder(tmp_path, "single", Checkout("nogit", False), moment)
        link = point_latest(folder)
        assert link.is_symlink()
        assert link.resolve() == folder
    assert link == tmp_path / "single" / "latest"
    assert len(list(link.parent.iterdir())) == 3


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
    (tmp_path / "file").write_text("two")
    assert describe_checkout(tmp_path) == Checkout(clean.commit, True)


def test_the_environment_describes_the_machine_without_naming_it() -> None:
    environment = describe_environment()
    assert environment.cores >= 1
    assert environment.packages["msgspec"][0].isdigit()
    assert "net.core.rmem_max" in environment.settings
    assert socket.gethostname().encode() not in msgspec.json.encode(environment)
    assert utc_now().endswith("Z")
