"""What every request must satisfy before anybody looks at it, and the headers of every answer."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FORM_OCTETS = 16384
FIELDS = 8
FORM_TYPE = "application/x-www-form-urlencoded"
READING = ("GET", "HEAD")

HEADERS: Mapping[str, str] = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
"""A referrer policy of "no-referrer" would make a browser's own forms say ``Origin: null``."""


class Guard:
    """Refuses requests that were meant for another site or come from one, and sets the headers."""

    def __init__(self, application: ASGIApp, origins: frozenset[str]) -> None:
        self._application = application
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request, as ASGI has it."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refusal = self._refusal(scope["method"], Headers(scope=scope))
        await (refusal or self._application)(scope, receive, send_with_headers)

    def _refusal(self, method: str, headers: Headers) -> PlainTextResponse | None:
        """Returns what is answered to a request for another host, or from another site's page."""
        host = f"https://{headers.get('host', '')}"
        if host not in self._origins:
            expected = " or ".join(sorted(self._origins))
            return PlainTextResponse(f"This page is at {expected}.\n", 421)
        if method not in READING and headers.get("origin") != host:
            return PlainTextResponse("This form did not come from this page.\n", 403)
        return None


async def read_form(request: Request) -> dict[str, str]:
    """Returns a form's fields; raises HTTPException for what a form of this page never is."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != FORM_TYPE:
        raise HTTPException(415, "Expected a form.")
    octets = bytearray()
    async for piece in request.stream():
        octets += piece
        if len(octets) > FORM_OCTETS:
            raise HTTPException(413, f"Expected a form of at most {FORM_OCTETS} octets.")
    try:
        fields = parse_qsl(
            octets.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=FIELDS,
        )
    except ValueError:
        raise HTTPException(400, "Expected a form of this page.") from None
    return dict(fields)
