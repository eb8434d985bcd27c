"""The running server's state for all pages together, fetched from its status socket at most once a second."""

from __future__ import annotations

import asyncio
import datetime
from pathlib import Path
from typing import Any

from nodes.clock import now
from nodes.portal.views import GroupView, ServerState, group_view, server_state
from nodes.status import StatusError, fetch_status
from nodes.users import UserDatabase
from protocol.types import SECOND, VpnId

FRESH_TIME = SECOND


class LiveState:
    """Fetches, and keeps for a second; None while the server does not answer."""

    def __init__(self, status_socket: Path, users: UserDatabase) -> None:
        self._status_socket = status_socket
        self._users = users
        self._snapshot: dict[str, Any] | None = None
        self._fetched: int | None = None
        self._fetching = asyncio.Lock()

    def outdated(self) -> None:
        """Has the next view fetch anew: something has just been changed."""
        self._fetched = None

    async def view(self, vpn_id: VpnId) -> GroupView:
        """Returns what a group's page shows now; raises UserDatabaseError."""
        records = await asyncio.to_thread(self._users.records, vpn_id)
        state = await self._state(vpn_id)
        return group_view(vpn_id, records, state, datetime.datetime.now(datetime.timezone.utc))

    async def _state(self, vpn_id: VpnId) -> ServerState | None:
        async with self._fetching:
            if self._fetched is None or now() - self._fetched >= FRESH_TIME:
                try:
                    self._snapshot = await asyncio.to_thread(fetch_status, self._status_socket)
                except StatusError:
                    self._snapshot = None
                self._fetched = now()
        return None if self._snapshot is None else server_state(self._snapshot, vpn_id)
