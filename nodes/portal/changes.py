"""What an administrator changes: moves, expulsions, new users, passwords. Each is one transaction.

Patent: Figs. 11, 12-2; claim 2.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response

from nodes.administration import announce
from nodes.database.administrators import LEAST_PASSWORD
from nodes.database.checks import LARGEST_ID
from nodes.portal.desk import Desk, Visitor
from nodes.portal.groups import Groups, Problem
from nodes.portal.pages import REFUSED_INPUT, go_to
from nodes.users import Actor, ForbiddenError, UserInputError, UserRefusedError
from protocol.types import VpnId

Fields = Mapping[str, str]
Change = Callable[[VpnId, Fields, Actor], str]
"""Makes a change in a group and returns a sentence that says so; raises UserRefusedError."""


class Changes:
    """The routes that change something.

    Patent: Figs. 11, 12-2; table 12-2; claim 2.
    """

    def __init__(self, desk: Desk, groups: Groups) -> None:
        self._desk = desk
        self._users = desk.users
        self._groups = groups
        self.operations: Mapping[str, Change] = {
            "move": self._move,
            "expel": self._expel,
            "password": self._set_password,
            "add": self._add,
        }

    def endpoint(self, name: str) -> Callable[[Request, Visitor], Awaitable[Response]]:
        """Returns the handler of one operation's form."""
        change = self.operations[name]

        async def handle(request: Request, visitor: Visitor) -> Response:
            vpn_id = visitor.group(request)
            fields = await visitor.form(request)
            try:
                done = await asyncio.to_thread(change, vpn_id, fields, visitor.actor)
            except ForbiddenError:
                raise
            except UserRefusedError as error:
                problem = Problem(
                    name, fields.get("user", ""), _sentence(error), fields.get("sub_id", "")
                )
                return await self._groups.group_page(visitor, vpn_id, problem, REFUSED_INPUT)
            taken_up = await asyncio.to_thread(announce, self._desk.configuration.admin_socket)
            self._desk.live.outdated()
            visitor.session.notice = done if taken_up else f"{done} {NOT_TAKEN_UP}"
            return go_to(f"/groups/{vpn_id}")

        return handle

    def _move(self, vpn_id: VpnId, fields: Fields, by: Actor) -> str:
        user, sub_id = fields.get("user", ""), _sub_id(fields)
        self._users.set_sub_id(user, sub_id, vpn_id, by)
        return f"{user} is now in Sub ID {sub_id}."

    def _expel(self, vpn_id: VpnId, fields: Fields, by: Actor) -> str:
        user = fields.get("user", "")
        self._users.remove(user, vpn_id, by)
        return f"{user} is expelled."

    def _set_password(self, vpn_id: VpnId, fields: Fields, by: Actor) -> str:
        user = fields.get("user", "")
        self._users.set_password(user, _password(fields), vpn_id, by)
        return f"{user} has a new password."

    def _add(self, vpn_id: VpnId, fields: Fields, by: Actor) -> str:
        user, sub_id = fields.get("user", ""), _sub_id(fields)
        self._users.add(user, _password(fields), vpn_id, sub_id, by)
        return f"{user} is added to Sub ID {sub_id}."


NOT_TAKEN_UP = "The server has not answered yet; it follows as soon as it can."


def _sub_id(fields: Fields) -> int:
    text = fields.get("sub_id", "").strip()
    if not re.fullmatch(r"[0-9]{1,10}", text):
        raise UserInputError(f"Sub ID: expected a whole number from 1 to {LARGEST_ID}")
    return int(text)


def _password(fields: Fields) -> bytes:
    password = fields.get("password", "").encode()
    if len(password) < LEAST_PASSWORD:
        raise UserInputError(f"password: expected at least {LEAST_PASSWORD} octets")
    return password


def _sentence(error: UserRefusedError) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."
