"""What a group's page shows, as values: users by Sub ID from the database, the rest from the server.

Patent: Figs. 11, 12-2.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from protocol.management import UserRecord
from protocol.types import SubId, VpnId

Row = Mapping[str, Any]
NOTHING = "–"
UNCOUNTED = "This server does not relay the group's frames, so that they are not counted by user."
ON_LINE, OFF_LINE, UNKNOWN = "on", "off", "unknown"


@dataclass(frozen=True)
class UserView:
    """One user's row; ``key`` names it in the page whatever the name is made of."""

    name: str
    key: str
    state: str
    state_text: str
    address: str
    since: str
    sent: str
    received: str


@dataclass(frozen=True)
class SubIdView:
    """One Sub ID with its users and the age of the keys with which they send."""

    sub_id: SubId
    keys: str
    on_line: str
    users: tuple[UserView, ...]


@dataclass(frozen=True)
class GroupView:
    """A group's page."""

    vpn_id: VpnId
    server_answers: bool
    on_line: str
    sub_ids: tuple[SubIdView, ...]
    lingering: str
    """Who is on line though no user of the group any more: until the server has taken the change up."""
    uncounted: str = ""
    """Why nobody's frames are counted, where users are on line and none are."""

    @property
    def choices(self) -> tuple[int, ...]:
        """The Sub IDs to which a user may be moved; the last is a new one."""
        known = [view.sub_id for view in self.sub_ids]
        return (*known, max(known, default=0) + 1)

    @property
    def names(self) -> frozenset[str]:
        """The users' names."""
        return frozenset(user.name for view in self.sub_ids for user in view.users)

    @property
    def shape(self) -> str:
        """A digest of what stands where: when it changes, changing texts is not enough."""
        parts = [(view.sub_id, [user.name for user in view.users]) for view in self.sub_ids]
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    @property
    def texts(self) -> dict[str, tuple[str, str]]:
        """Each text that may change by itself, with its state, by its name in the page."""
        server = ("", "on") if self.server_answers else ("The server does not answer.", "off")
        texts = {
            "server": server,
            "on-line": (self.on_line, ""),
            "lingering": (self.lingering, ""),
            "uncounted": (self.uncounted, ""),
        }
        for view in self.sub_ids:
            texts[f"sub-{view.sub_id}-keys"] = (view.keys, "")
            texts[f"sub-{view.sub_id}-on-line"] = (view.on_line, "")
            for user in view.users:
                texts[f"{user.key}-state"] = (user.state_text, user.state)
                for name in ("address", "since", "sent", "received"):
                    texts[f"{user.key}-{name}"] = (getattr(user, name), "")
        return texts


@dataclass(frozen=True)
class ServerState:
    """What the running server says of one group."""

    clients: Mapping[str, Row] = field(default_factory=dict)
    keys_made: Mapping[int, str] = field(default_factory=dict)
    """Each Sub ID's newest SA: when it was made."""


def server_state(snapshot: Mapping[str, Any], vpn_id: int) -> ServerState:
    """Returns a group's part of what the server's status socket told."""
    tables = snapshot.get("tables", {})
    clients = {
        str(row["user"]): row
        for row in _rows(tables.get("users on line"))
        if row["VPN ID"] == vpn_id
    }
    made: dict[int, str] = {}
    for row in _rows(tables.get("508 multicast address")):
        if row["VPN ID"] == vpn_id:
            made[row["Sub ID"]] = max(row["made"], made.get(row["Sub ID"], ""))
    return ServerState(clients, made)


def group_view(
    vpn_id: VpnId,
    records: Iterable[UserRecord],
    state: ServerState | None,
    now: datetime.datetime,
) -> GroupView:
    """Puts a group's page together; ``state`` is None when the server does not answer."""
    records = list(records)
    server = state or ServerState()
    sub_ids = sorted({record.sub_id for record in records} | {SubId(1)} | set(server.keys_made))
    views = []
    for sub_id in map(SubId, sub_ids):
        of_sub_id = [record for record in records if record.sub_id == sub_id]
        users = tuple(_user_view(record, state, now) for record in of_sub_id)
        made = server.keys_made.get(sub_id)
        keys = f"keys {age(made, now)} old" if made else "no keys in use"
        count = sum(user.state == ON_LINE for user in users)
        views.append(SubIdView(sub_id, keys, f"{count} of {len(users)} on line", users))
    names = {record.user for record in records}
    lingering = sorted(name for name in server.clients if name not in names)
    on_line = sum(name in names for name in server.clients)
    return GroupView(
        vpn_id,
        state is not None,
        f"{on_line} of {len(records)} on line",
        tuple(views),
        f"Expelled, and being put off line: {', '.join(lingering)}" if lingering else "",
        "" if any(map(_is_counted, server.clients.values())) or not on_line else UNCOUNTED,
    )


def _user_view(record: UserRecord, state: ServerState | None, now: datetime.datetime) -> UserView:
    key = "u" + hashlib.sha256(record.user.encode()).hexdigest()[:12]
    if state is None:
        return UserView(record.user, key, UNKNOWN, "unknown", *[NOTHING] * 4)
    row = state.clients.get(record.user)
    if row is None:
        return UserView(record.user, key, OFF_LINE, "off line", *[NOTHING] * 4)
    text = "on line"
    if row["Sub ID"] != record.sub_id:
        text = f"on line, being moved from Sub ID {row['Sub ID']}"
    return UserView(
        record.user,
        key,
        ON_LINE,
        text,
        str(row["unicast address"]),
        f"for {age(row['since'], now)}",
        traffic(row["datagrams in"], row["octets in"]),
        traffic(row["datagrams out"], row["octets out"]),
    )


def _is_counted(row: Row) -> bool:
    return row["datagrams in"] is not None


def _rows(table: Mapping[str, Any] | None) -> list[Row]:
    if table is None:
        return []
    return [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]


def age(moment: str, now: datetime.datetime) -> str:
    """Writes how long ago a time of the status socket was."""
    then = datetime.datetime.strptime(moment, "%Y-%m-%dT%H:%M:%SZ")
    seconds = max(0, round((now - then.replace(tzinfo=datetime.timezone.utc)).total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if hours == 0:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if days == 0 else f"{days} d {hours % 24} h"


def traffic(frames: int | None, octets: int | None) -> str:
    """Writes what has passed: frames and octets; nothing when the server does not count by user."""
    if frames is None or octets is None:
        return NOTHING
    return f"{frames:,} frames, {amount(octets)}"


def amount(octets: int) -> str:
    """Writes octets in the unit that leaves one to three digits before the point."""
    size = float(octets)
    for unit in ("octets", "kB", "MB", "GB"):
        if size < 1000:
            return f"{octets} octets" if unit == "octets" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
