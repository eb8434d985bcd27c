"""What is said to charon over its vici socket, and what its answers mean.

Every call opens a connection of its own and blocks: an event loop hands them to an executor.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import Any

import vici
from vici.exception import CommandException, SessionException

from nodes.ike.identity import identity_of, user_of
from protocol.types import IpAddress, Secret

CONNECTION = "blindrelay"
POOL = "clients"
ANSWER_SECONDS = 5.0
INITIATE_SECONDS = 8.0
IKE_PROPOSAL = "aes128gcm16-prfsha256-ecp256"
ESP_PROPOSAL = "aes128gcm16-ecp256"
DPD_DELAY = "1s"
"""How soon a peer that says nothing is asked whether it is there."""


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


@dataclass(frozen=True)
class ServerSide:
    """What a server's charon is told; certificate and key in PEM."""

    address: IpAddress
    inner: IPv6Address
    pool: IPv6Network
    certificate: str
    private_key: Secret


@dataclass(frozen=True)
class ClientSide:
    """What a client's charon is told; the authority's certificate in PEM."""

    address: IpAddress
    server: IpAddress
    server_name: str
    inner: IPv6Address
    authority: str
    user: str
    password: Secret


class Conversation:
    """Tells one charon what it needs, and asks it for its SAs."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def configure_server(self, side: ServerSide, nt_hashes: Mapping[str, Secret]) -> None:
        """Loads key, passwords and pool, and last the connection, so that no client comes too early."""
        with self._session() as session:
            session.load_key({"type": "any", "data": side.private_key.reveal().decode("ascii")})
            self._load_hashes(session, nt_hashes)
            session.load_pool({POOL: {"addrs": str(side.pool)}})
            session.load_conn({CONNECTION: _server_connection(side)})

    def configure_client(self, side: ClientSide) -> None:
        """Loads the password and the connection."""
        identity = identity_of(side.user)
        with self._session() as session:
            password = side.password.reveal()
            session.load_shared(
                {"id": identity, "type": "EAP", "data": password, "owners": [identity]}
            )
            session.load_conn({CONNECTION: _client_connection(side, identity)})

    def set_passwords(self, nt_hashes: Mapping[str, Secret]) -> None:
        """Makes the NT hashes that charon has those of ``nt_hashes``: who was expelled has none."""
        with self._session() as session:
            wanted = {identity_of(user) for user in nt_hashes}
            for name in session.get_shared().get("keys", []):
                if name.decode("ascii") not in wanted:
                    session.unload_shared({"id": name})
            self._load_hashes(session, nt_hashes)

    def _load_hashes(self, session: Any, nt_hashes: Mapping[str, Secret]) -> None:
        for user, nt_hash in nt_hashes.items():
            identity = identity_of(user)
            octets = nt_hash.reveal()
            session.load_shared(
                {"id": identity, "type": "NTLM", "data": octets, "owners": [identity]}
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
                for _ in session.terminate({"ike": CONNECTION, "timeout": "500"}):
                    pass
            except CommandException:
                return

    def associations(self) -> list[UnicastAssociation]:
        """Returns all SAs that are established and carry packets."""
        with self._session() as session:
            found: list[UnicastAssociation] = []
            for entry in session.list_sas():
                for connection in entry.values():
                    found.extend(_associations(connection))
            return found

    @contextmanager
    def _session(self, seconds: float = ANSWER_SECONDS) -> Iterator[Any]:
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.settimeout(seconds)
                connection.connect(str(self._path))
                yield vici.Session(connection)
            except InitiationError:
                raise
            except (CommandException, SessionException) as error:
                raise ConversationError(f"charon: {error}") from None
            except OSError as error:
                raise ConversationError(f"charon: no answer: {error}") from None


def _server_connection(side: ServerSide) -> dict[str, Any]:
    return {
        "version": "2",
        "local_addrs": [str(side.address)],
        "proposals": [IKE_PROPOSAL],
        "encap": "yes",
        "mobike": "no",
        "unique": "replace",
        "dpd_delay": DPD_DELAY,
        "send_cert": "always",
        "pools": [POOL],
        "local": {"auth": "pubkey", "certs": [side.certificate], "id": "%any"},
        "remote": {"auth": "eap-mschapv2", "eap_id": "%any"},
        "children": {
            CONNECTION: {
                "local_ts": [_host(side.inner)],
                "esp_proposals": [ESP_PROPOSAL],
                "dpd_action": "clear",
            }
        },
    }


def _client_connection(side: ClientSide, identity: str) -> dict[str, Any]:
    return {
        "version": "2",
        "local_addrs": [str(side.address)],
        "remote_addrs": [str(side.server)],
        "proposals": [IKE_PROPOSAL],
        "encap": "yes",
        "mobike": "no",
        "dpd_delay": DPD_DELAY,
        "vips": ["::"],
        "local": {"auth": "eap-mschapv2", "id": identity, "eap_id": identity},
        "remote": {"auth": "pubkey", "id": side.server_name, "cacerts": [side.authority]},
        "children": {
            CONNECTION: {
                "remote_ts": [_host(side.inner)],
                "esp_proposals": [ESP_PROPOSAL],
                "dpd_action": "clear",
            }
        },
    }


def _host(address: IpAddress) -> str:
    return f"{address}/{address.max_prefixlen}"


def _associations(connection: Mapping[str, Any]) -> Iterator[UnicastAssociation]:
    if connection.get("state") != b"ESTABLISHED":
        return
    # charon leaves the EAP identity out when the other identity is the same
    identity = connection.get("remote-eap-id", connection["remote-id"])
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
