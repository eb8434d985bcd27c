"""What user VPN management knows of each control connection, and who of which group is behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from protocol.management.tables import UserRecord
from protocol.relay.tables import Member
from protocol.types import ClientId, Secret, SenderId, SubId, VpnId
from protocol.wire.messages import Register


class State(Enum):
    """Where a connection stands."""

    OPEN = "open"
    CHECKING = "checking"
    """The password is being checked."""
    WAITING = "waiting"
    """No VPN server is there to take the client."""
    PROBING = "probing"
    """The client measures how far the VPN servers are."""
    PLACING = "placing"
    """Its VPN server is being told of it."""
    REGISTERED = "registered"


@dataclass
class Connection:
    """One client's stream of messages."""

    number: int
    peer: str
    deadline: int
    """When it ends unless something is heard."""
    authenticated: str | None = None
    """The user that the channel below has authenticated; None: by the password in his message."""
    state: State = State.OPEN
    request: Register | None = None
    data_port: int = 0
    member: Member | None = None
    user: UserRecord | None = None
    sender_id: SenderId | None = None
    server: str | None = None
    """The VPN server that the client is given; None where the key server relays itself."""
    distances: Mapping[str, int] | None = None
    """Round-trip times to VPN servers, in us, as the client has measured them."""
    admitted: int = 0
    """When it became a member, in ns."""
    moving: bool = False
    """Its new VPN server is being told of it."""

    @property
    def hop_key(self) -> Secret | None:
        """What the client is to tag its datagrams with; None: not at all."""
        return self.member.hop_keys[0] if self.member is not None and self.member.hop_keys else None

    @property
    def binding_key(self) -> Secret | None:
        """What the client is to show its relay with where it is; None: it does not."""
        return self.member.binding_key if self.member is not None else None


class Connections:
    """All connections by number; those with a member also by user and client ID."""

    def __init__(self) -> None:
        self._by_number: dict[int, Connection] = {}
        self._by_user: dict[str, Connection] = {}
        self._by_client: dict[ClientId, Connection] = {}

    def __len__(self) -> int:
        return len(self._by_number)

    def __iter__(self) -> Iterator[Connection]:
        """Yields every connection; they may be removed meanwhile."""
        yield from list(self._by_number.values())

    def at(self, number: int) -> Connection | None:
        """Returns the connection with that number."""
        return self._by_number.get(number)

    def of_user(self, user: str) -> Connection | None:
        """Returns the connection by which a user is a member."""
        return self._by_user.get(user)

    def of_client(self, client_id: ClientId) -> Connection | None:
        """Returns the connection of a member."""
        return self._by_client.get(client_id)

    def registered(self, vpn_id: VpnId, sub_id: SubId) -> Iterator[Connection]:
        """Yields the connections whose clients have the SA of (VPN ID, Sub ID)."""
        for known in self:
            user = known.user
            if user is None or known.state is not State.REGISTERED:
                continue
            if (user.vpn_id, user.sub_id) == (vpn_id, sub_id):
                yield known

    def add(self, connection: Connection) -> None:
        """Adds a connection that has just been made."""
        self._by_number[connection.number] = connection

    def admit(self, connection: Connection, user: UserRecord, member: Member) -> None:
        """Notes that a user is a member by this connection."""
        connection.user, connection.member = user, member
        self._by_user[user.user] = connection
        self._by_client[member.client_id] = connection

    def remove(self, number: int) -> Connection | None:
        """Removes a connection and returns it."""
        known = self._by_number.pop(number, None)
        if known is not None and known.member is not None and known.user is not None:
            del self._by_user[known.user.user]
            del self._by_client[known.member.client_id]
        return known
