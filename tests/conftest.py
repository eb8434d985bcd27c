"""Decides what happens to emulated tests on a machine that cannot run them."""

from __future__ import annotations

import functools
import os
import platform
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The same examples in every run, and no verdict by the time that they take.
settings.register_profile(
    "steady",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("steady")

CHROMIUM = "/usr/bin/chromium"
WHERE_CHROMIUM_IS = (
    "Debian has the package chromium; Ubuntu has it as a snap alone, which will not do"
)
NEEDED = ("unshare", "mnexec", "brctl", "ip", "ethtool", "tshark", "smcrouted")


def pytest_configure() -> None:
    """Makes SIGINT count for us and our children: a shell that starts us behind it has it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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
    """Skips an emulated test where it cannot run, or fails it under --require-emulated.

    So it does with a test that needs a browser, but fails it only where the distribution has one.
    """
    required = item.config.getoption("--require-emulated")
    if item.get_closest_marker("emulated") is not None:
        missing = missing_for_emulation()
        if missing is not None:
            give_up(f"this machine cannot emulate: {missing}", required)
    if item.get_closest_marker("browser") is not None and not Path(CHROMIUM).exists():
        give_up(f"missing program: {CHROMIUM}; {WHERE_CHROMIUM_IS}", required and is_debian())


def give_up(reason: str, required: bool) -> None:
    """Fails or skips the test at hand."""
    if required:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def is_debian() -> bool:
    """Tells whether the browser is a package here: `scripts/setup --tests` installs it then."""
    try:
        return platform.freedesktop_os_release().get("ID") == "debian"
    except OSError:
        return False


@pytest.fixture(scope="session")
def pictures(pytestconfig: pytest.Config) -> Path | None:
    """Says where pictures are to be kept, if anywhere."""
    given = pytestconfig.getoption("--screenshots")
    return None if given is None else Path(given)


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
        timeout=120,
        check=False,
    )
    if attempt.returncode != 0:
        return f"no private namespaces: {attempt.stderr.strip()}"
    return None
