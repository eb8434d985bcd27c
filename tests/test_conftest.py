"""What becomes of tests that this machine cannot run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tests import conftest

FAILED, SKIPPED = pytest.fail.Exception, pytest.skip.Exception


def set_up(*, required: bool) -> None:
    """Does what pytest does before a test that needs a browser and nothing else."""
    item = SimpleNamespace(
        get_closest_marker=lambda name: name if name == "browser" else None,
        config=SimpleNamespace(getoption=lambda name: required),
    )
    conftest.pytest_runtest_setup(cast(pytest.Item, item))


@pytest.mark.parametrize(
    ("required", "distribution", "expected"),
    [
        (True, "debian", FAILED),
        (True, "ubuntu", SKIPPED),
        (False, "debian", SKIPPED),
        (False, "ubuntu", SKIPPED),
    ],
)
def test_a_missing_browser_fails_where_it_is_required_and_a_package(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    required: bool,
    distribution: str,
    expected: type[BaseException],
) -> None:
    monkeypatch.setattr(conftest, "CHROMIUM", str(tmp_path / "chromium"))
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: {"ID": distribution})
    with pytest.raises(expected, match="missing program: .*chromium; Debian has the package"):
        set_up(required=required)


def test_a_browser_that_is_there_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "chromium").touch()
    monkeypatch.setattr(conftest, "CHROMIUM", str(tmp_path / "chromium"))
    set_up(required=True)
