"""What is said to charon over its vici socket, and what its answers mean.

Every call opens a connection of its own and blocks: an event loop hands them to an executor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import vici
from vici.exception import CommandException, SessionException

from nodes.ike.connections import (
    CONNECTION,
    POOL,
    ClientSide,
    ServerSide,
    client_connection,
    server_connection,
)
from nodes.ike.daemon import ANSWER_SECONDS, connect
from nodes.ike.identity import identity_of, user_of
from protocol.types import Secret

INITIATE_SECONDS = 8.0
_OURS = "blindrelay-"
"""How the names of our passwords begin; others are whoever's who runs this charon."""


class ConversationError(OSError):
    """charon did not answer, or refused what it was told."""


class InitiationError(ConversationError):
    """No SA came to be; ``log`` is what charon said on the way."""

    def __init__(self, log: str) -> None:
        super().__init__("no SA by IKE")
        self.log = log


@dataclass(frozen=True)
class UnicastAssociation:
    """An SA between a client and its server, as charon has it; ``spi_in`` is the own side's."""

    user: str | None
    """Who has proved to be that user: known to the server alone."""
    outside: str
    """The peer's outside address."""
    peer: str
    """The address that the peer has inside the SA."""
    own: str
    """The address that this side has inside the SA."""
    spi_in: int
    spi_out: int
    algorithm: str
    age: int
    """Seconds since it was installed."""


class Conversation:
    """Tells one charon what it needs, and asks it for its SAs."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._private_key: bytes | None = None

    def plugins(self) -> set[str]:
        """Returns the plugins that charon has loaded."""
        with self._session() as session:
            return {_text(name) for name in session.stats().get("plugins", [])}

    def configure_server(self, side: ServerSide, nt_hashes: Mapping[str, Secret]) -> None:
        """Loads key, passwords and pool, and last the connection, so that no client comes too early."""
        with self._session() as session:
            self._private_key = self._load_key(session, side)
            self._load_hashes(session, nt_hashes)
            session.load_pool({POOL: {"addrs": str(side.pool)}})
            session.load_conn({CONNECTION: server_connection(side)})

    def configure_client(self, side: ClientSide) -> None:
        """Loads the password and the connection."""
        identity = identity_of(side.user)
        with self._session() as session:
            password = side.password.reveal()
            session.load_shared(
                {"id": _OURS + identity, "type": "EAP", "data": password, "owners": [identity]}
            )
            session.load_conn({CONNECTION: client_connection(side)})

    def set_passwords(self, nt_hashes: Mapping[str, Secret]) -> None:
        """Makes the NT hashes that charon has those of ``nt_hashes``: who was expelled has none."""
        with self._session() as session:
            self._unload_passwords(session, {_OURS + identity_of(user) for user in nt_hashes})
            self._load_hashes(session, nt_hashes)

    def _load_key(self, session: Any, side: ServerSide) -> bytes:
        kind, what = (
            ("rsa", "an RSA key, as IKEv1 needs") if side.version == 1 else ("any", "a key")
        )
        data = side.private_key.reveal().decode("ascii")
        try:
            found: bytes = session.load_key({"type": kind, "data": data})["id"]
        except CommandException as error:
            raise ConversationError(f"private_key: expected {what}: {error}") from None
        return found

    def _unload_passwords(self, session: Any, but: set[str]) -> None:
        for name in session.get_shared().get("keys", []):
            text = _text(name)
            if text.startswith(_OURS) and text not in but:
                session.unload_shared({"id": name})

    def _load_hashes(self, session: Any, nt_hashes: Mapping[str, Secret]) -> None:
        for user, nt_hash in nt_hashes.items():
            identity = identity_of(user)
            octets = nt_hash.reveal()
            session.load_shared(
                {"id": _OURS + identity, "type": "NTLM", "data": octets, "owners": [identity]}
            )

    def initiate(self) -> None:
        """Sets up the SA; raises InitiationError with charon's words."""
        said: list[str] = []
        with self._session(INITIATE_SECONDS + ANSWER_SECONDS) as session:
            milliseconds = str(round(INITIATE_SECONDS * 1000))
            request = {"child": CONNECTION, "timeout": milliseconds, "loglevel": "1"}
            try:
                said.extend(_text(line["msg"]) for line in session.initiate(request))
            except CommandException as error:
                raise InitiationError("\n".join([*said, str(error)])) from None

    def terminate(self) -> None:
        """Takes down every SA of the connection; none is no error."""
        with self._session() as session:
            try:
                for _ in session.terminate({"ike": CONNECTION, "timeout": "500", "force": "yes"}):
                    pass
            except CommandException:
                return

    def withdraw(self) -> None:
        """Takes back all that it was told, for a charon that goes on without us; nothing is no error."""
        self.terminate()
        with self._session() as session:
            self._unload_passwords(session, set())
            for unload, what in (
                (session.unload_conn, {"name": CONNECTION}),
                (session.unload_pool, {"name": POOL}),
                (session.unload_key, {"id": self._private_key or b""}),
            ):
                with suppress(CommandException):
                    unload(what)

    def associations(self) -> list[UnicastAssociation]:
        """Returns all SAs that are established and carry packets."""
        with self._session() as session:
            found: list[UnicastAssociation] = []
            for entry in session.list_sas({"ike": CONNECTION}):
                for connection in entry.values():
                    found.extend(_associations(connection))
            return found

    @contextmanager
    def _session(self, seconds: float = ANSWER_SECONDS) -> Iterator[Any]:
        try:
            with connect(self._path, seconds) as connection:
                yield vici.Session(connection)
        except ConversationError:
            raise
        except (CommandException, SessionException) as error:
            raise ConversationError(f"charon: {error}") from None
        except OSError as error:
            raise ConversationError(f"charon: no answer: {error}") from None


def _associations(connection: Mapping[str, Any]) -> Iterator[UnicastAssociation]:
    if connection.get("state") != b"ESTABLISHED":
        return
    # charon leaves the identity of EAP or XAUTH out when the other identity is the same
    proved = "remote-xauth-id" if connection["version"] == b"1" else "remote-eap-id"
    identity = connection.get(proved, connection["remote-id"])
    for child in connection.get("child-sas", {}).values():
        if child["state"] != b"INSTALLED":
            continue
        yield UnicastAssociation(
            user_of(_text(identity)),
            str(ip_address(_text(connection["remote-host"]))),
            _selector(child["remote-ts"]),
            _selector(child["local-ts"]),
            int(child["spi-in"], 16),
            int(child["spi-out"], 16),
            f"{_text(child['encr-alg']).lower()}-{_text(child['encr-keysize'])}",
            int(child["install-time"]),
        )


def _selector(selectors: list[bytes]) -> str:
    """Returns the one address that a traffic selector names."""
    return _text(selectors[0]).split("/")[0]


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", errors="replace")
