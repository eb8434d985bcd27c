"""The routes, put together; an ASGI application."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from nodes.portal.changes import Changes
from nodes.portal.desk import Desk
from nodes.portal.groups import Groups
from nodes.portal.login import Login
from nodes.portal.pages import go_to, problem_page
from nodes.portal.security import Guard
from nodes.process import complain
from nodes.users import ForbiddenError, UserDatabaseError

PROGRAM = "blindrelay portal"
STATIC = Path(__file__).resolve().parent / "static"
GROUP = "/groups/{vpn_id:int}"


def application(desk: Desk) -> ASGIApp:
    """Returns the page as an application; every answer of it has the headers of `Guard`."""
    login, groups = Login(desk), Groups(desk)
    changes = Changes(desk, groups)
    routes = [
        Route("/", _start, methods=["GET"]),
        Route("/login", login.show, methods=["GET"]),
        Route("/login", login.submit, methods=["POST"]),
        Route("/logout", desk.signed_in(login.leave), methods=["POST"]),
        Route("/groups", desk.signed_in(groups.start), methods=["GET"]),
        Route(GROUP, desk.signed_in(groups.show), methods=["GET"]),
        Route(f"{GROUP}/log", desk.signed_in(groups.log), methods=["GET"]),
        Route(f"{GROUP}/events", desk.signed_in(groups.events), methods=["GET"]),
        *(
            Route(f"{GROUP}/{name}", desk.signed_in(changes.endpoint(name)), methods=["POST"])
            for name in changes.operations
        ),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    handlers = {
        HTTPException: _refused,
        ForbiddenError: _forbidden,
        UserDatabaseError: _no_database,
    }
    routed = Starlette(routes=routes, exception_handlers=handlers)
    return Guard(routed, desk.configuration.origins)


async def _start(_: Request) -> Response:
    return go_to("/groups")


async def _refused(_: Request, error: Exception) -> Response:
    refusal = cast(HTTPException, error)
    text = "There is no such page." if refusal.status_code == 404 else refusal.detail
    answer = problem_page(None, refusal.status_code, text)
    answer.headers.update(refusal.headers or {})
    return answer


async def _forbidden(_: Request, error: Exception) -> Response:
    return problem_page(None, 403, f"{str(error).capitalize()}.")


async def _no_database(_: Request, error: Exception) -> Response:
    complain(PROGRAM, error)
    return problem_page(None, 503, "The users' database does not answer. Try again.")
