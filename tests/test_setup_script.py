"""`scripts/setup` makes the virtual environment anew, and leaves one that a link leads to as it is."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent
PYTHON = '#!/bin/sh\necho "$@" >> "{calls}"\n'


@pytest.mark.parametrize("linked", [True, False], ids=["linked", "own"])
def test_an_environment_that_is_shared_is_brought_up_to_date_and_not_emptied(
    tmp_path: Path, linked: bool
) -> None:
    checkout, calls = tmp_path / "checkout", tmp_path / "calls"
    environment = tmp_path / "shared" if linked else checkout / ".venv"
    programs = [environment / "bin" / "python", tmp_path / "bin" / "python3"]
    for program in programs:
        program.parent.mkdir(parents=True)
        program.write_text(PYTHON.format(calls=calls), encoding="ascii")
        program.chmod(0o755)
    (checkout / "scripts").mkdir(parents=True)
    shutil.copy(CHECKOUT / "scripts" / "setup", checkout / "scripts")
    (checkout / "requirements.lock").write_text("a==1\n", encoding="ascii")
    (checkout / "nodes" / "kernel").mkdir(parents=True)
    for name in ("relay.bpf.c", "relay.bpf.o"):
        (checkout / "nodes" / "kernel" / name).touch()
        os.utime(checkout / "nodes" / "kernel" / name, (1, 1 if name.endswith("c") else 2))
    if linked:
        (checkout / ".venv").symlink_to(environment)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    subprocess.run(
        [checkout / "scripts" / "setup", "--python"],
        env={**os.environ, "PATH": path},
        check=True,
        capture_output=True,
        timeout=120,
    )
    said = calls.read_text(encoding="ascii")
    assert ("venv --clear" in said) is not linked
    assert "pip install" in said
    assert (environment / "requirements.installed").read_text(encoding="ascii") == "a==1\n"
