"""What a run ran on: machine, kernel, versions and the state of the checkout."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

import msgspec

CHECKOUT = Path(__file__).resolve().parents[2]
_GIT_SECONDS = 20
_PACKAGES = (
    "argon2-cffi",
    "cryptography",
    "jinja2",
    "matplotlib",
    "mininet",
    "msgspec",
    "networkx",
    "numpy",
    "rich",
    "scapy",
    "scipy",
)
_SETTINGS = (
    "net/core/default_qdisc",
    "net/core/netdev_budget",
    "net/core/netdev_max_backlog",
    "net/core/rmem_default",
    "net/core/rmem_max",
    "net/core/wmem_default",
    "net/core/wmem_max",
    "net/ipv4/udp_mem",
    "net/ipv6/conf/all/forwarding",
)


class Environment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Describes the machine without naming it; ``settings`` are the kernel's, by path."""

    kernel: str
    cpu_model: str
    cores: int
    python: str
    packages: dict[str, str]
    settings: dict[str, str]


class Checkout(msgspec.Struct, frozen=True):
    """Names the commit that ran, ``nogit`` where there is none, and whether files differ."""

    commit: str
    dirty: bool


def describe_environment() -> Environment:
    """Reads what this machine is; call it where the run is, as settings belong to namespaces."""
    return Environment(
        kernel=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu_model=_cpu_model(),
        cores=len(os.sched_getaffinity(0)),
        python=platform.python_version(),
        packages=_package_versions(),
        settings=_kernel_settings(),
    )


def describe_checkout(folder: Path = CHECKOUT) -> Checkout:
    """Asks git for the commit and whether the files differ from it.

    A file that git does not know, as somebody's graph in the checkout, is no difference.
    """
    commit = _git(folder, "rev-parse", "--short=12", "HEAD")
    if not commit:
        return Checkout("nogit", False)
    return Checkout(commit, bool(_git(folder, "status", "--porcelain", "--untracked-files=no")))


def utc_now() -> str:
    """Gives the time as the records write it: ISO 8601, UTC, to the millisecond."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _git(folder: Path, *arguments: str) -> str:
    """Runs git in a folder; gives what it prints, empty where it fails or is missing."""
    # Under sudo the checkout belongs to somebody else, which git refuses unless told.
    argv = ["git", "-c", f"safe.directory={folder}", "-C", str(folder), *arguments]
    try:
        result = subprocess.run(
            argv, capture_output=True, text=True, check=False, timeout=_GIT_SECONDS
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _package_versions() -> dict[str, str]:
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def _kernel_settings() -> dict[str, str]:
    settings = {}
    for name in _SETTINGS:
        try:
            text = Path("/proc/sys", name).read_text(encoding="ascii")
        except OSError:
            continue
        settings[name.replace("/", ".")] = " ".join(text.split())
    return settings
