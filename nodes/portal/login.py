"""Logging in and out."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from nodes.database.checks import NAME_LENGTH
from nodes.portal.desk import COOKIE, Desk, Visitor, peer_of
from nodes.portal.pages import go_to, page
from nodes.portal.security import read_form
from protocol.types import SECOND

FORM_COOKIE = "__Host-blindrelay-login"
WAITING = 16
"""Log-ins that may wait for their password's check; more are asked to come back."""
WRONG = "Name or password is wrong."


class Login:
    """The routes of the log-in page. Its forms are signed, so that a visitor takes no memory."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._secret = secrets.token_bytes(32)
        self._one_hash_at_a_time = asyncio.Lock()
        self._waiting = 0

    async def show(self, request: Request) -> Response:
        """Shows the form, or the groups to whoever is logged in already."""
        if await self._desk.visitor(request) is not None:
            return go_to("/groups")
        return self._form(request.cookies.get(FORM_COOKIE) or secrets.token_urlsafe(32))

    async def submit(self, request: Request) -> Response:
        """Checks name and password, and begins a session."""
        fields = await read_form(request)
        cookie = request.cookies.get(FORM_COOKIE, "")
        given = fields.get("form_token", "").encode()
        if not cookie or not hmac.compare_digest(self._token(cookie).encode(), given):
            raise HTTPException(
                403, "This form is not of your browser: reload the page, try again."
            )
        name, peer = fields.get("name", "")[: NAME_LENGTH + 1], peer_of(request)
        wait = self._desk.throttle.attempt(name, peer, self._desk.clock())
        if wait:
            seconds = -(-wait // SECOND)
            text = f"Too many tries. Come back in {-(-seconds // 60)} minutes."
            return self._form(cookie, text, name, 429, seconds)
        if self._waiting >= WAITING:
            return self._form(cookie, "Too many log-ins at once. Try again.", name, 503, 5)
        token = await self._session(name, fields.get("password", "").encode())
        if token is None:
            return self._form(cookie, WRONG, name, 401)
        self._desk.throttle.succeeded(name, peer)
        answer = go_to("/groups")
        answer.set_cookie(COOKIE, token, path="/", secure=True, httponly=True, samesite="strict")
        answer.delete_cookie(FORM_COOKIE, path="/", secure=True, httponly=True, samesite="strict")
        return answer

    async def leave(self, request: Request, visitor: Visitor) -> Response:
        """Ends the session."""
        await visitor.form(request)
        self._desk.sessions.close(request.cookies[COOKIE])
        answer = go_to("/login")
        answer.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")
        return answer

    async def _session(self, name: str, password: bytes) -> str | None:
        """Returns a new session's token if the password is right."""
        self._waiting += 1
        try:
            async with self._one_hash_at_a_time:
                verify = self._desk.users.administrators.verify
                standing = await asyncio.to_thread(verify, name, password)
        finally:
            self._waiting -= 1
        if standing is None:
            return None
        return self._desk.sessions.open(name, standing.password_hash, self._desk.clock())

    def _form(
        self, cookie: str, problem: str = "", name: str = "", status: int = 200, retry_s: int = 0
    ) -> HTMLResponse:
        token = self._token(cookie)
        answer = page("login.html", None, status, problem=problem, name=name, form_token=token)
        if retry_s:
            answer.headers["retry-after"] = str(retry_s)
        answer.set_cookie(
            FORM_COOKIE, cookie, path="/", secure=True, httponly=True, samesite="strict"
        )
        return answer

    def _token(self, cookie: str) -> str:
        return hmac.new(self._secret, cookie.encode(), hashlib.sha256).hexdigest()
