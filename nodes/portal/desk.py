"""What all routes share: the database, the sessions, and who a request comes from."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from nodes.clock import now
from nodes.portal.configuration import PortalConfiguration
from nodes.portal.live import LiveState
from nodes.portal.pages import go_to
from nodes.portal.security import read_form
from nodes.portal.sessions import Session, Sessions
from nodes.portal.throttle import Throttle
from nodes.users import Actor, UserDatabase
from protocol.types import VpnId

COOKIE = "__Host-blindrelay"
BY_ITSELF = "x-by-itself"
"""Set by the page's script on requests that nobody asked for: they renew no session."""


@dataclass(frozen=True)
class Visitor:
    """A logged-in administrator with the groups that are theirs at this moment."""

    session: Session
    groups: tuple[VpnId, ...]
    peer: str

    @property
    def actor(self) -> Actor:
        """Who makes this visitor's changes, as the log names them."""
        return Actor(self.session.administrator, "page", self.peer)

    def group(self, request: Request) -> VpnId:
        """Returns the group that the path names; raises HTTPException unless it is the visitor's."""
        vpn_id = VpnId(request.path_params["vpn_id"])
        if vpn_id not in self.groups:
            raise HTTPException(403, f"Group {vpn_id} is not yours to administer.")
        return vpn_id

    async def form(self, request: Request) -> dict[str, str]:
        """Returns a form's fields; raises HTTPException when it was not made for this session."""
        fields = await read_form(request)
        if not self.session.owns(fields.get("form_token", "")):
            raise HTTPException(
                403, "This form is not of your session: reload the page, try again."
            )
        return fields


SignedInHandler = Callable[[Request, Visitor], Awaitable[Response]]


class Desk:
    """The state of the page's process."""

    def __init__(
        self,
        configuration: PortalConfiguration,
        users: UserDatabase,
        clock: Callable[[], int] = now,
    ) -> None:
        self.configuration = configuration
        self.users = users
        self.clock = clock
        self.sessions = Sessions(configuration.idle_time)
        self.throttle = Throttle()
        self.live = LiveState(configuration.status_socket, users)
        self.closing = asyncio.Event()
        """Set when the process is to end: streams then end by themselves."""

    async def visitor(self, request: Request) -> Visitor | None:
        """Returns who a request comes from, or None when nobody is logged in."""
        token = request.cookies.get(COOKIE, "")
        session = self.sessions.find(token, self.clock(), BY_ITSELF not in request.headers)
        if session is None:
            return None
        groups = await self.groups_of(session)
        if groups is None:
            self.sessions.close(token)
            return None
        return Visitor(session, groups, peer_of(request))

    async def groups_of(self, session: Session) -> tuple[VpnId, ...] | None:
        """Returns a session's groups now; None when what it rests on is gone: time, name or password."""
        if self.sessions.is_over(session, self.clock()):
            return None
        find = self.users.administrators.standing
        standing = await asyncio.to_thread(find, session.administrator)
        if standing is None or not hmac.compare_digest(
            standing.password_hash, session.password_hash
        ):
            return None
        return standing.groups

    def signed_in(self, handler: SignedInHandler) -> Callable[[Request], Awaitable[Response]]:
        """Returns an endpoint that sends whoever is not logged in to the log-in page."""

        async def endpoint(request: Request) -> Response:
            visitor = await self.visitor(request)
            return go_to("/login") if visitor is None else await handler(request, visitor)

        return endpoint


def peer_of(request: Request) -> str:
    """Returns the address that a request came from."""
    return "" if request.client is None else request.client.host
