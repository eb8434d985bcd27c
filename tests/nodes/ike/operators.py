"""A charon as the operator of a machine runs it: with a connection and a password of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import vici

from nodes.ike.daemon import connect, settings, takes_connections, written
from nodes.ike.machine import CHARON, esp_place
from tests.nodes.running import DEADLINE, Crew, eventually

_IN_A_FOLDER = 'mount --bind "$1" /run && STRONGSWAN_CONF=/run/strongswan.conf exec "$2"'
OWN = "the operators"


class Operator:
    """Runs a charon on one node of a crew's network."""

    def __init__(self, crew: Crew, node: str) -> None:
        self._crew = crew
        self._node = node
        self._process: subprocess.Popen[bytes] | None = None
        self.folder = crew.folder / f"{node}-run"
        self.folder.mkdir()
        self.socket = self.folder / "charon.vici"
        text = written(settings(esp_place(), Path("/run/charon.vici")))
        (self.folder / "strongswan.conf").write_text(text)

    def start(self) -> None:
        """Starts charon, and gives it what is the operator's own."""
        (self.folder / "charon.pid").unlink(missing_ok=True)
        unshared = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _IN_A_FOLDER]
        with (self.folder / "log").open("ab") as log:
            self._process = self._crew.network.popen(
                self._node,
                [*unshared, "sh", str(self.folder), str(CHARON)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        assert eventually(lambda: takes_connections(self.socket))
        with self.session() as session:
            session.load_shared({"id": OWN, "type": "EAP", "data": "secret", "owners": ["o"]})
            session.load_conn({OWN: {"remote_addrs": ["3ffe::9"], "local": {"auth": "psk"}}})

    def kill(self) -> None:
        """Ends charon as a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(timeout=DEADLINE)

    @contextmanager
    def session(self) -> Iterator[Any]:
        """Gives a conversation with charon."""
        with connect(self.socket, DEADLINE) as connection:
            yield vici.Session(connection)

    def holds(self) -> dict[str, set[str]]:
        """Tells which connections, passwords, keys and pools charon has, by their names."""
        with self.session() as session:
            return {
                "connections": _names(session.get_conns().get("conns", [])),
                "passwords": _names(session.get_shared().get("keys", [])),
                "keys": _names(session.get_keys().get("keys", [])),
                "pools": set(session.get_pools()),
            }


def _names(found: list[bytes]) -> set[str]:
    return {name.decode() for name in found}


@contextmanager
def operating(crew: Crew, *nodes: str) -> Iterator[list[Operator]]:
    """Runs a charon on each of the nodes, and has the processes there use it."""
    operators = [Operator(crew, node) for node in nodes]
    try:
        for node, operator in zip(nodes, operators, strict=True):
            operator.start()
            table = "server" if node == "server" else "client"
            crew.configure(node, **{table: {"vici_socket": str(operator.socket)}})
        yield operators
    finally:
        crew.stop()
        for operator in operators:
            operator.kill()
