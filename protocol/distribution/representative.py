"""The representative: user VPN management, and what its VPN servers are told.

Patent: Fig. 15 part 1501; Fig. 16; effect E4.
"""

from __future__ import annotations

from protocol.distribution.publisher import Publisher, PublisherAction
from protocol.management import Management
from protocol.management.actions import (
    Action,
    GroupChanged,
    MemberJoined,
    MemberLeft,
    MemberMoved,
)
from protocol.wire.table_messages import VpnServerMessage


class Representative:
    """Joins the two: what management says of tables goes to the servers, what those do comes back."""

    def __init__(self, management: Management, publisher: Publisher) -> None:
        self.management = management
        self.publisher = publisher

    def server_connected(self, connection: int, name: str, now: int) -> bool:
        """Notes that a VPN server is there; False when it is none of ours."""
        return self.publisher.server_connected(connection, name, now)

    def server_lost(self, connection: int, now: int) -> None:
        """Notes that a VPN server is gone: its clients get others."""
        self.publisher.server_lost(connection)

    def server_message(self, connection: int, message: VpnServerMessage, now: int) -> None:
        """Takes a message of a VPN server."""
        self.publisher.receive_message(connection, message, now)

    def next_timeout(self) -> int | None:
        """Returns when :meth:`handle_timeout` is due, or None."""
        times = (self.management.next_timeout(), self.publisher.next_timeout())
        return min((time for time in times if time is not None), default=None)

    def handle_timeout(self, now: int) -> None:
        """Does what is due on either side."""
        self.management.handle_timeout(now)
        self.publisher.handle_timeout(now)

    def next_action(self) -> Action | PublisherAction | None:
        """Returns the next thing to do, or None when all is done and every server is told."""
        while (action := self.management.next_action()) is not None:
            if isinstance(action, GroupChanged):
                self.publisher.group_changed(action.group)
            elif isinstance(action, (MemberJoined, MemberMoved)):
                assert action.server is not None
                self.publisher.member_joined(action.member, action.server)
            elif isinstance(action, MemberLeft):
                self.publisher.member_left(action.client_id)
            else:
                return action
        self.publisher.flush()
        return self.publisher.next_action()
