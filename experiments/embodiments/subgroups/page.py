"""The group administrators' page of a run, and an administrator who clicks on it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.credentials import write_password
from experiments.deployment import Deployment, DeploymentError, until
from nodes.users import UserDatabase

ADMINISTRATOR = "admin"
PORT = 8443
ENDED_SECONDS = 30.0


@dataclass(frozen=True)
class Click:
    """A form that was sent: when (monotonic, ns), how long the answer took (ns), its status."""

    at: int
    took: int
    status: int


class Page:
    """The page, with an administrator logged in."""

    def __init__(self, process: subprocess.Popen[Any], vpn_id: int) -> None:
        self._process = process
        self._vpn_id = vpn_id

    def move(self, user: str, sub_id: int) -> Click:
        """Moves a user to another Sub ID."""
        return self._submit("move", user=user, sub_id=str(sub_id))

    def expel(self, user: str) -> Click:
        """Takes a user out of the group."""
        return self._submit("expel", user=user, sure="yes")

    def _submit(self, operation: str, **fields: str) -> Click:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        words = [f"/groups/{self._vpn_id}/{operation}", *(f"{k}={v}" for k, v in fields.items())]
        self._process.stdin.write(" ".join(words).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise DeploymentError(f"the administrator's page did not {operation} {fields['user']}")
        return Click(**json.loads(answer))


@contextmanager
def administering(deployment: Deployment, vpn_id: int) -> Iterator[Page]:
    """Starts the page beside the server, logs an administrator of the group in, and ends both."""
    with serving_page(deployment, {ADMINISTRATOR: vpn_id}) as url:
        (server,) = deployment.plan.servers
        process = _log_in(deployment, server.name, url)
        try:
            yield Page(process, vpn_id)
        finally:
            _end(process)


@contextmanager
def serving_page(deployment: Deployment, administrators: Mapping[str, int]) -> Iterator[str]:
    """Starts the page beside the server, and ends it; gives its URL.

    ``administrators`` are each given the group whose VPN ID stands there, and a password in the file
    that `password_file` names.
    """
    plan, folder = deployment.plan, deployment.folder
    (server,) = plan.servers
    address = plan.data_address(server.name)
    host = f"[{address}]" if address.version == 6 else str(address)
    known = UserDatabase(folder / "users.sqlite").administrators
    for name, vpn_id in administrators.items():
        known.add(name, write_password(password_file(deployment, name)), [vpn_id])
    text = f'[portal]\nserver = "{server.name}.toml"\naddress = "{address}"\nport = {PORT}\n'
    (folder / "portal.toml").write_text(text, encoding="utf-8")
    process = _start_page(deployment, server.name)
    try:
        yield f"https://{host}:{PORT}"
    finally:
        _end(process)


def password_file(deployment: Deployment, administrator: str) -> Path:
    """Names the file with an administrator's password."""
    return deployment.folder / f"{administrator}.password"


def _end(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    process.communicate(timeout=ENDED_SECONDS)


def _start_page(deployment: Deployment, node: str) -> subprocess.Popen[Any]:
    argv = [
        sys.executable,
        "-m",
        "nodes.portal",
        "--config",
        str(deployment.folder / "portal.toml"),
    ]
    log = deployment.folder / "portal.log"
    with log.open("wb") as file:
        process = deployment.network.popen(
            node, argv, stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )

    def serving() -> bool:
        if process.poll() is not None:
            raise DeploymentError(f"the page ended: {log.read_text(errors='replace').strip()}")
        listening = deployment.network.run(node, ["ss", "-Hltn", "sport", f"= :{PORT}"])
        return bool(listening.stdout.strip())

    try:
        until(serving, "the page does not listen")
    except DeploymentError:
        _end(process)
        raise
    return process


def _log_in(deployment: Deployment, node: str, url: str) -> subprocess.Popen[Any]:
    folder = deployment.folder
    argv = [sys.executable, "-m", "experiments.embodiments.subgroups.click", "--url", url]
    argv += ["--authority", str(folder / "authority.pem"), "--administrator", ADMINISTRATOR]
    argv += ["--password-file", str(password_file(deployment, ADMINISTRATOR))]
    with (folder / "click.log").open("wb") as log:
        process = deployment.network.popen(
            node, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
        )
    assert process.stdout is not None
    if process.stdout.readline() != b"ready\n":
        _end(process)
        words = (folder / "click.log").read_text(errors="replace").strip()
        raise DeploymentError(f"the administrator could not log in: {words}")
    return process
