"""The real processes on a small network, each configured and started when a test wants it."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from experiments.deployment import Settings, write_files
from nodes.status import StatusError, fetch_status
from topologies.emulate import Network
from topologies.plan import Role

CHECKOUT = Path(__file__).resolve().parents[2]
DEADLINE = 30.0
"""Seconds for anything that must happen; a sound system needs a fraction of it."""
UNREACHED_SECONDS = "0.3"


def eventually(condition: Callable[[], bool], seconds: float = DEADLINE) -> bool:
    """Tells whether the condition holds within so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


class Crew:
    """The processes of one network, and the folder with all that they read and say."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.network = network
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._started: list[subprocess.Popen[bytes]] = []
        self._lans_forward = False

    # -- configuration

    def configure(self, node: str, **tables: dict[str, Any]) -> None:
        """Changes keys in tables of a node's file; the value None takes a key out."""
        path = self.folder / f"{node}.toml"
        content: dict[str, dict[str, Any]] = msgspec.toml.decode(path.read_bytes())
        for table, values in tables.items():
            content[table] = {**content.get(table, {}), **values}
        path.write_text(toml({name: _present(table) for name, table in content.items()}))

    def password(self, node: str) -> str:
        """Returns the password of a client's user."""
        return (self.folder / f"{node}.password").read_text().strip()

    # -- processes

    def start(self, node: str, wrapper: Sequence[str] = (), program: str | None = None) -> None:
        """Starts a node's process, on request behind another program or with other Python code."""
        argv = list(self.network.plan.command(node, sys.executable, str(self.folder)))
        if program is not None:
            argv[1:3] = ["-c", program]
        with (
            self._file(node, "stdout").open("wb") as out,
            self._file(node, "stderr").open("wb") as errors,
        ):
            self.processes[node] = self.network.popen(
                node,
                [*wrapper, *argv],
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
            )
        self._started.append(self.processes[node])

    def up(self, *nodes: str) -> None:
        """Starts processes and waits until they serve or are registered: servers, relays, clients."""
        roles = {node: self.network.plan.node(node).role for node in nodes}
        for role in (Role.SERVER, Role.RELAY, Role.CLIENT):
            started = [node for node in nodes if roles[node] is role]
            for node in started:
                self.start(node)
            for node in started:
                self.wait(node, "registered" if role is Role.CLIENT else "serving")
        self.wait_for_lans()

    def wait_for_lans(self) -> None:
        """Waits until every bridge forwards: the kernel may take a second after its ports are up."""
        if self._lans_forward:
            return
        for lan in self.network.plan.with_role(Role.LAN):
            assert eventually(lambda name=lan.name: self._forwards(name)), lan.name  # type: ignore[misc]
        self._lans_forward = True

    def _forwards(self, lan: str) -> bool:
        shown = self.network.run(lan, ["bridge", "-json", "link"], timeout=DEADLINE).stdout
        return all(port["state"] == "forwarding" for port in json.loads(shown))

    def wait(self, node: str, state: str) -> None:
        """Waits until a process says that it is in ``state``."""
        assert eventually(lambda: self.state(node) == state), f"{node}: {self.errors(node)}"

    def state(self, node: str) -> str | None:
        """Returns what a process says of itself; None when it does not answer."""
        assert self.processes[node].poll() is None, f"{node} ended: {self.errors(node)}"
        try:
            return str(self.status(node)["process"]["state"])
        except StatusError:
            return None

    def code(self, node: str) -> int:
        """Waits for a process to end by itself, and returns its exit code."""
        return self.processes[node].wait(timeout=DEADLINE)

    def end(self, *nodes: str) -> list[int]:
        """Asks processes to stop, all at once, and returns their exit codes."""
        for node in nodes:
            self.processes[node].terminate()
        return [self.code(node) for node in nodes]

    def kill(self, node: str) -> None:
        """Ends a process as a power cut would."""
        self.processes[node].kill()
        self.processes[node].wait(timeout=DEADLINE)

    def stop(self) -> None:
        """Ends whatever still runs."""
        for process in self._started:
            if process.poll() is None:
                process.terminate()
        for process in self._started:
            try:
                process.wait(timeout=DEADLINE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=DEADLINE)

    # -- what they say

    def output(self, node: str) -> str:
        """Returns what a process has written on standard output."""
        return self._file(node, "stdout").read_text()

    def errors(self, node: str) -> list[str]:
        """Returns the lines that a process has written on standard error."""
        return self._file(node, "stderr").read_text().splitlines()

    def status(self, node: str) -> dict[str, Any]:
        """Returns a process's tables and counters."""
        return fetch_status(self.folder / f"{node}.status")

    def keys(self, client: str) -> list[dict[str, Any]]:
        """Returns a client's SAs with their keys."""
        found: list[dict[str, Any]] = fetch_status(self.folder / f"{client}.keys")["associations"]
        return found

    def rows(self, node: str, table: str) -> list[list[Any]]:
        """Returns the rows of the table whose title begins so."""
        tables = self.status(node)["tables"]
        rows: list[list[Any]] = next(
            content["rows"] for title, content in tables.items() if title.startswith(table)
        )
        return rows

    def counter(self, node: str, name: str) -> int:
        """Returns a counter; one that was never counted is 0."""
        return int(self.status(node)["counters"].get(name, 0))

    def members(self) -> list[str]:
        """Returns the addresses in table 507."""
        return sorted(row[2] for row in self.rows("server", "507"))

    def member(self, client: str) -> str:
        """Returns a client's address as table 507 shows it."""
        address = self.network.plan.data_address(client)
        return f"[{address}]:4790" if address.version == 6 else f"{address}:4790"

    # -- the terminals

    def reaches(self, source: str, address: str, wait_s: str = "15") -> bool:
        """Tells whether a node gets an answer to one ping."""
        ping = ["ping", "-n", "-c", "1", "-W", wait_s, address]
        return self.network.run(source, ping, timeout=DEADLINE).returncode == 0

    def reach(self, source: str, target: str, wait_s: str = "15") -> bool:
        """Tells whether a terminal reaches another by IPv4 and IPv6."""
        addresses = self.network.plan.lan_interface(target).addresses
        return all(self.reaches(source, str(address.ip), wait_s) for address in addresses)

    def _file(self, node: str, stream: str) -> Path:
        return self.folder / f"{node}.{stream}"


@contextlib.contextmanager
def crew_on(network: Network, files: Path | None = None) -> Iterator[Crew]:
    """Gives a crew with a folder of its own, and ends its processes at the end.

    ``files`` is a folder that `write_files` has filled for this plan: hashing passwords takes a while.
    """
    # not pytest's folder: a Unix socket's path has room for 107 octets only
    with tempfile.TemporaryDirectory(prefix="blindrelay-test-") as folder:
        if files is None:
            write_files(network.plan, Path(folder), Settings())
        else:
            shutil.copytree(files, folder, dirs_exist_ok=True)
        crew = Crew(network, Path(folder))
        try:
            yield crew
        finally:
            crew.stop()


def toml(tables: dict[str, dict[str, Any]]) -> str:
    """Writes tables as TOML; tables within them stand on one line."""
    lines = []
    for name, values in tables.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {_toml_value(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def _toml_value(value: object) -> str:
    if isinstance(value, dict):
        pairs = (f"{key} = {_toml_value(item)}" for key, item in value.items())
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, list):
        return f"[{', '.join(_toml_value(item) for item in value)}]"
    return json.dumps(value if isinstance(value, (bool, int, float)) else str(value))


def _present(table: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value is not None}
