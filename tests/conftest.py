"""Decides what happens to emulated tests on a machine that cannot run them."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess

import pytest

NEEDED = ("unshare", "mnexec", "brctl", "ip", "ethtool", "tshark", "smcrouted")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds --require-emulated, which `make test` gives (a skipped test shows nothing), and --screenshots."""
    parser.addoption(
        "--require-emulated",
        action="store_true",
        help="fail emulated tests that this machine cannot run, instead of skipping them",
    )
    parser.addoption(
        "--screenshots",
        metavar="FOLDER",
        help="keep pictures of the group administrators' page in this folder",
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips an emulated test where it cannot run, or fails it under --require-emulated."""
    if item.get_closest_marker("emulated") is None:
        return
    missing = missing_for_emulation()
    if missing is None:
        return
    if item.config.getoption("--require-emulated"):
        pytest.fail(f"this machine cannot emulate: {missing}", pytrace=False)
    pytest.skip(f"this machine cannot emulate: {missing}")


@functools.cache
def missing_for_emulation() -> str | None:
    """Names the first thing that emulation lacks here, or None when it lacks nothing."""
    if os.geteuid() != 0:
        return "needs root"
    for program in NEEDED:
        if shutil.which(program) is None:
            return f"missing program: {program}"
    attempt = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--fork", "ip", "link", "set", "lo", "up"],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    if attempt.returncode != 0:
        return f"no private namespaces: {attempt.stderr.strip()}"
    return None
