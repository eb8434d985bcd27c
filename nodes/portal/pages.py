"""Templates to answers. Jinja escapes whatever it is given; no page has a script or style within."""

from __future__ import annotations

from typing import Any

import jinja2
from starlette.responses import HTMLResponse, RedirectResponse

from nodes.portal.sessions import Session

SEE_OTHER = 303
REFUSED_INPUT = 422

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("nodes.portal", "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(
    template: str, session: Session | None = None, status: int = 200, **values: Any
) -> HTMLResponse:
    """Returns a page; the session's notice is shown once."""
    notice = ""
    if session is not None:
        notice, session.notice = session.notice, ""
    text = _TEMPLATES.get_template(template).render(session=session, notice=notice, **values)
    return HTMLResponse(text, status)


def problem_page(session: Session | None, status: int, text: str) -> HTMLResponse:
    """Returns a page that says what is wrong."""
    return page("problem.html", session, status, text=text)


def go_to(path: str) -> RedirectResponse:
    """Returns what makes a browser get another page of ours."""
    return RedirectResponse(path, SEE_OTHER)
