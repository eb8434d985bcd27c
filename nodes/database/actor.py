"""Who makes a change, from where, and what they may change.

What an administrator may is checked in the transaction of the change itself, whatever the page has
checked before: a route that forgets to ask changes no other group.
"""

from __future__ import annotations

import os
import pwd
import sqlite3
from dataclasses import dataclass
from typing import Literal

from nodes.database.errors import ForbiddenError

Source = Literal["page", "command", "program"]


@dataclass(frozen=True)
class Actor:
    """Somebody who makes a change. On the page it is an administrator, bound to own groups."""

    name: str
    source: Source
    address: str = ""
    """Where a page's request came from."""

    def permit(self, connection: sqlite3.Connection, vpn_id: int) -> None:
        """Raises ForbiddenError when the group is not this actor's to change."""
        if self.source != "page":
            return
        query = "SELECT 1 FROM administered_groups WHERE name = ? AND vpn_id = ?"
        if connection.execute(query, (self.name, vpn_id)).fetchone() is None:
            raise ForbiddenError(f"group {vpn_id}: not yours to administer")

    def permit_everything(self) -> None:
        """Raises ForbiddenError for whoever may change some groups only."""
        if self.source == "page":
            raise ForbiddenError("groups and administrators: not changed on the page")


def operator(source: Source = "program") -> Actor:
    """Returns the person who runs this process, by the operating system's name for them."""
    number = os.getuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = f"uid {number}"
    return Actor(name, source)
