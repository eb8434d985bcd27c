"""What user VPN management asks of its driver; the last ones are for what forwards."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.relay.tables import Member, RelayedGroup
from protocol.types import ClientId, Secret
from protocol.wire.messages import GroupSecurityAssociation, ServerMessage


@dataclass(frozen=True)
class CheckCredentials:
    """Find out whether the password is the user's, and tell ``credentials_checked``."""

    connection: int
    user: str
    password: Secret


@dataclass(frozen=True)
class SendMessage:
    """Send this message on the connection."""

    connection: int
    message: ServerMessage


@dataclass(frozen=True)
class CloseConnection:
    """End the connection once what was sent before is out."""

    connection: int


@dataclass(frozen=True)
class GroupChanged:
    """The group's row of table 508 is new or has other SPIs."""

    group: RelayedGroup


@dataclass(frozen=True)
class MemberJoined:
    """A client was added to table 507."""

    member: Member
    server: str | None = None
    """The VPN server that it is given; None where the key server relays itself."""


@dataclass(frozen=True)
class MemberMoved:
    """A client of table 507 is given another VPN server, for its own is gone, or has other rows there."""

    member: Member
    server: str


@dataclass(frozen=True)
class MemberLeft:
    """A client was removed from table 507."""

    client_id: ClientId


@dataclass(frozen=True)
class ClientKeyMade:
    """A hub is to share this SA with a client, under a sender ID of its own. Never for a relay."""

    client_id: ClientId
    security_association: GroupSecurityAssociation


RelayAction = GroupChanged | MemberJoined | MemberMoved | MemberLeft
Action = CheckCredentials | SendMessage | CloseConnection | ClientKeyMade | RelayAction
