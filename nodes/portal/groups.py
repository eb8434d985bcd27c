"""What an administrator sees: the groups, one group's users, its log of changes, and all of it live."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from nodes.portal.desk import Desk, Visitor
from nodes.portal.pages import go_to, page
from nodes.portal.sessions import STREAMS_EACH, Session
from nodes.portal.views import GroupView
from nodes.users import UserDatabaseError
from protocol.types import VpnId

LOOK_SECONDS = 1.0
SIGN_OF_LIFE = 15
"""After so many looks without a change a stream says that it is still there."""
LOG_LENGTH = 200


@dataclass(frozen=True)
class Problem:
    """What was wrong with a form: which form, whose row, the sentence, and what had been typed."""

    form: str
    user: str
    text: str
    sub_id: str = ""


NO_PROBLEM = Problem("", "", "")


class Groups:
    """The routes that show."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def start(self, request: Request, visitor: Visitor) -> Response:
        """Shows the administrator's groups, or the only one at once."""
        if len(visitor.groups) == 1:
            return go_to(f"/groups/{visitor.groups[0]}")
        names = await asyncio.to_thread(self._desk.users.groups)
        groups = []
        for vpn_id in visitor.groups:
            view = await self._desk.live.view(vpn_id)
            groups.append((vpn_id, names.get(vpn_id, ""), view.on_line))
        return page("groups.html", visitor.session, groups=groups)

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """Shows one group."""
        return await self.group_page(visitor, visitor.group(request))

    async def group_page(
        self, visitor: Visitor, vpn_id: VpnId, problem: Problem = NO_PROBLEM, status: int = 200
    ) -> Response:
        """Returns a group's page, with what was wrong beside the form that it was about."""
        names = await asyncio.to_thread(self._desk.users.groups)
        view = await self._desk.live.view(vpn_id)
        return page(
            "group.html",
            visitor.session,
            status,
            view=view,
            texts=view.texts,
            name=names.get(vpn_id, ""),
            configured=self._desk.configuration.groups.get(vpn_id),
            several=len(visitor.groups) > 1,
            problem=problem,
        )

    async def log(self, request: Request, visitor: Visitor) -> Response:
        """Shows who has changed what in one group."""
        vpn_id = visitor.group(request)
        entries = await asyncio.to_thread(self._desk.users.audit.entries, vpn_id, LOG_LENGTH)
        return page("log.html", visitor.session, vpn_id=vpn_id, entries=entries, most=LOG_LENGTH)

    async def events(self, request: Request, visitor: Visitor) -> Response:
        """Streams what changes on one group's page, as server-sent events."""
        vpn_id = visitor.group(request)
        if visitor.session.streams >= STREAMS_EACH:
            raise HTTPException(429, "Too many of these pages are open.")
        stream = self.stream(visitor.session, vpn_id)
        return StreamingResponse(stream, media_type="text/event-stream")

    async def stream(self, session: Session, vpn_id: VpnId) -> AsyncIterator[bytes]:
        """Yields events until the session, its right to the group, or the process ends."""
        session.streams += 1
        try:
            yield b"retry: 2000\n\n"
            last, unchanged = b"", 0
            while not self._desk.closing.is_set():
                groups = await self._desk.groups_of(session)
                if groups is None or vpn_id not in groups:
                    yield b"event: ended\ndata:\n\n"
                    return
                shown = encode_view(await self._desk.live.view(vpn_id))
                unchanged = unchanged + 1 if shown == last else 0
                if not unchanged:
                    yield b"data: " + shown + b"\n\n"
                elif unchanged % SIGN_OF_LIFE == 0:
                    yield b": still here\n\n"
                last = shown
                await self._pause()
        except UserDatabaseError:
            return  # the browser comes back, and is told then
        finally:
            session.streams -= 1

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._desk.closing.wait(), LOOK_SECONDS)
        except asyncio.TimeoutError:
            return


def encode_view(view: GroupView) -> bytes:
    """Returns what the page's script needs to bring a group's page up to date."""
    return msgspec.json.encode({"shape": view.shape, "texts": view.texts})
