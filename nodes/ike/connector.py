"""A client's control channel inside an SA that its own charon has set up with the server's.

Patent: Fig. 1; Fig. 3-2 part 312; Fig. 7-1 step 701; table 308.
"""

from __future__ import annotations

import asyncio
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from nodes.channel import HANDSHAKE_TIME, Channel, ChannelError, CredentialsError, Events
from nodes.configuration import ClientSection
from nodes.ike import inner_network, view
from nodes.ike.connections import ClientSide
from nodes.ike.conversation import Conversation, InitiationError, UnicastAssociation
from nodes.ike.daemon import charon_of
from nodes.ike.supervisor import Supervisor
from protocol.types import Secret

WRONG_CREDENTIALS = "user ID or password is wrong"
_CREDENTIALS = (
    *("EAP_MSCHAPV2 method failed", "received EAP_FAILURE", "EAP-MS-CHAPv2 failed"),
    "(myself) failed",  # XAUTH
)
_CERTIFICATE = {
    "no trusted": "it is not of the certificate authority",
    "constraint check failed": "it is another server's",
}


class IkeConnector:
    """Opens channels over plain TCP inside the SA; without SA there is no channel."""

    def __init__(self, program: str, section: ClientSection, password: Secret) -> None:
        """Raises ChannelError for the authority's file, and IkeMissingError."""
        assert section.certificate_authority is not None
        assert isinstance(section.ike_inner_address, IPv6Address)
        self._program = program
        self._section = section
        self._side = ClientSide(
            section.address,
            section.server,
            section.server_name or str(section.server),
            section.ike_inner_address,
            read_certificate(section.certificate_authority),
            section.user,
            password,
            section.ike_version,
        )
        self._supervisor = Supervisor(
            program,
            charon_of(section.vici_socket, section.status_socket.parent),
            self._configure,
            self._fell,
            self._seen_anew,
        )
        self._channel: Channel | None = None
        self._own = ""
        """The address inside the SA that the channel is bound to."""

    async def open(self) -> None:
        """Starts charon; raises OSError."""
        inner_network.open_client(self._side.inner)
        await self._supervisor.start()
        print(f"{self._program}: IKE, ESP in {self._supervisor.esp}", flush=True)

    async def connect(self, events: Events) -> None:
        """Sets up the SA unless there is one, and opens a channel in it.

        Raises CredentialsError, ChannelError for a server that is not the one wanted, and OSError.
        """
        self._channel = None
        await asyncio.wait_for(self._supervisor.wait_until_ready(), HANDSHAKE_TIME)
        association = await self._association()
        opening = asyncio.get_running_loop().create_connection(
            lambda: Channel(events),
            str(self._side.inner),
            self._section.control_port,
            local_addr=(association.own, 0),
        )
        self._own = association.own
        _, self._channel = await asyncio.wait_for(opening, HANDSHAKE_TIME)

    async def close(self) -> None:
        """Takes the SA down and ends charon."""
        await self._supervisor.close()
        inner_network.close_client(self._side.inner)

    def tables(self) -> dict[str, Any]:
        """Returns the unicast SA's rows of table 308."""
        return {view.CLIENT_TABLE: view.association_table(self._supervisor.seen)}

    def process_view(self) -> dict[str, Any]:
        """Returns what the status says of IKE."""
        return self._supervisor.process_view()

    async def _association(self) -> UnicastAssociation:
        conversation = self._supervisor.conversation
        found = await self._supervisor.ask(conversation.associations)
        if not found:
            try:
                await self._supervisor.ask(conversation.initiate)
            except InitiationError as error:
                raise reason_of(error.log) from None
            found = await self._supervisor.ask(conversation.associations)
        if not found:
            raise OSError("the SA went away as soon as it was set up")
        return min(found, key=lambda one: one.age)

    def _configure(self, conversation: Conversation) -> None:
        conversation.configure_client(self._side)

    def _fell(self) -> None:
        """Ends the channel: its SA has died with charon."""
        if self._channel is not None:
            self._channel.abort()

    def _seen_anew(self) -> None:
        """Ends the channel when its SA is there no more."""
        if self._channel is None or any(one.own == self._own for one in self._supervisor.seen):
            return
        self._channel.abort()


def reason_of(log: str) -> OSError | ChannelError:
    """Returns the error for what charon said when no SA came to be.

    Only errors after which another try is of no use are ChannelErrors. charon looks at the server's
    certificate before it says a word about the user.
    """
    if any(words in log for words in _CREDENTIALS):
        return CredentialsError(WRONG_CREDENTIALS)
    for words, meaning in _CERTIFICATE.items():
        if words in log:
            return ChannelError(f"the server's certificate does not hold: {meaning}")
    return OSError("no SA by IKE: " + (log.splitlines() or ["no word"])[-1])


def read_certificate(path: Path) -> str:
    """Returns a certificate in PEM; raises ChannelError naming the file."""
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ChannelError(f"{path}: expected a certificate in PEM, got {error}") from None
    if "-----BEGIN" not in text:
        raise ChannelError(f"{path}: expected a certificate in PEM, got something else")
    return text
