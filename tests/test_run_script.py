"""`scripts/run` passes exit codes on as the project's, and says what they mean."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("module", "code", "passed_on", "reason"),
    [
        ("experiments", 0, 0, ""),
        ("experiments", 1, 1, "an invariant failed"),
        ("experiments", 2, 2, "usage or configuration"),
        ("experiments", 3, 3, "this machine cannot"),
        ("experiments", 130, 130, "the experiment ended early"),
        ("experiments.simtest", 1, 1, "experiments.simtest found something"),
        ("experiments.simtest", 2, 2, "usage or configuration"),
        ("pytest", 1, 1, "a test failed"),
        ("pytest", 2, 1, "the tests were interrupted or could not be collected"),
        ("pytest", 3, 1, "the tests ended early"),
        ("pytest", 4, 2, "usage of pytest"),
        ("pytest", 5, 2, "no test was run"),
        ("mypy", 1, 1, "mypy found something"),
    ],
)
def test_an_exit_code_means_the_same_whoever_ended(
    tmp_path: Path, module: str, code: int, passed_on: int, reason: str
) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy(CHECKOUT / "scripts" / "run", tmp_path / "scripts")
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\nexit {code}\n", encoding="ascii")
    python.chmod(0o755)
    done = subprocess.run(
        [tmp_path / "scripts" / "run", "-m", module],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == passed_on
    assert done.stdout == ""
    assert done.stderr.startswith(f"exit {passed_on}: {reason}") if reason else not done.stderr
