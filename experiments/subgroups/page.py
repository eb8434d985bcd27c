"""The group administrators' page of a run, and an administrator who clicks on it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from experiments.credentials import write_password
from experiments.deployment import Deployment, DeploymentError, until
from nodes.users import UserDatabase

ADMINISTRATOR = "admin"
PORT = 8443
ENDED_SECONDS = 5.0


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
    plan, folder = deployment.plan, deployment.folder
    (server,) = plan.servers
    address = plan.data_address(server.name)
    host = f"[{address}]" if address.version == 6 else str(address)
    password = write_password(folder / "admin.password")
    UserDatabase(folder / "users.sqlite").administrators.add(ADMINISTRATOR, password, [vpn_id])
    text = f'[portal]\nserver = "{server.name}.toml"\naddress = "{address}"\nport = {PORT}\n'
    (folder / "portal.toml").write_text(text, encoding="utf-8")
    running = []
    try:
        running.append(_start_page(deployment, server.name))
        running.append(_log_in(deployment, server.name, f"https://{host}:{PORT}"))
        yield Page(running[-1], vpn_id)
    finally:
        for process in reversed(running):
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

    until(serving, "the page does not listen")
    return process


def _log_in(deployment: Deployment, node: str, url: str) -> subprocess.Popen[Any]:
    folder = deployment.folder
    argv = [sys.executable, "-m", "experiments.subgroups.click", "--url", url]
    argv += ["--authority", str(folder / "authority.pem"), "--administrator", ADMINISTRATOR]
    argv += ["--password-file", str(folder / "admin.password")]
    with (folder / "click.log").open("wb") as log:
        process = deployment.network.popen(
            node, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
        )
    assert process.stdout is not None
    if process.stdout.readline() != b"ready\n":
        words = (folder / "click.log").read_text(errors="replace").strip()
        raise DeploymentError(f"the administrator could not log in: {words}")
    return process
