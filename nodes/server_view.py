"""The server's tables and counters, as ``--status`` shows them. No key is in them.

Patent: Figs. 6-1 to 6-4.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from nodes.relay_view import (
    Table,
    learnt_tables,
    process_view,
    relay_counters,
    unicast_groups,
)
from protocol.management import Management
from protocol.relay import Passed
from protocol.types import SECOND, Address, ClientId

if TYPE_CHECKING:
    from protocol.hub import Hub

__all__ = [
    "Table",
    "hub_counters",
    "learnt_tables",
    "management_tables",
    "process_view",
    "relay_counters",
    "unicast_groups",
    "users_on_line",
]

_CLOCK_STARTED = time.time_ns() - time.monotonic_ns()
"""When the protocol's clock was at 0, in ns of UTC: read once, so that a time shown stays the same."""


def management_tables(management: Management) -> dict[str, Table]:
    """Returns tables 506 and 508 as the key server holds them (keys left out)."""
    return {
        "506 user VPN group": {
            "columns": ["user", "VPN ID", "Sub ID"],
            "rows": [[row.user, row.vpn_id, row.sub_id] for row in management.users.rows()],
        },
        "508 multicast address": {
            "columns": [
                "VPN ID",
                "Sub ID",
                "multicast address",
                "SPI",
                "algorithm",
                "sender IDs",
                "made",
            ],
            "rows": [
                [
                    vpn_id,
                    sub_id,
                    str(management.groups[vpn_id].multicast_address),
                    f"{key.spi:#010x}",
                    key.algorithm,
                    key.next_sender_id,
                    utc(key.created),
                ]
                for vpn_id, sub_id, key in management.multicast_addresses.rows()
            ],
        },
    }


def users_on_line(
    management: Management,
    passed: tuple[Mapping[ClientId, Passed], Mapping[Address, Passed]] | None,
) -> dict[str, Table]:
    """Returns who is registered, from where and since when, and what has passed from and to each.

    The counts are of datagrams' payloads, a frame each; None where the server does not count by
    client, or, in a group with multicast delivery, carries no frame.
    """
    rows = []
    for member, user, since in management.registered():
        counts: list[int | None] = [None] * 4
        if passed is not None and management.groups[user.vpn_id].delivery == "relay":
            sent = passed[0].get(member.client_id, Passed())
            received = passed[1].get(member.address, Passed())
            counts = [sent.datagrams, sent.octets, received.datagrams, received.octets]
        place = [member.client_id, str(member.address), utc(since)]
        rows.append([user.user, user.vpn_id, user.sub_id, *place, *counts])
    return {
        "users on line": {
            "columns": [
                *("user", "VPN ID", "Sub ID", "client", "unicast address", "since"),
                *("datagrams in", "octets in", "datagrams out", "octets out"),
            ],
            "rows": rows,
        }
    }


def utc(moment: int) -> str:
    """Writes a time of the protocol's clock as UTC, to the second."""
    seconds = (_CLOCK_STARTED + moment) // SECOND
    shown = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return shown.strftime("%Y-%m-%dT%H:%M:%SZ")


def hub_counters(hub: Hub) -> dict[str, int]:
    """Returns what has passed a hub, and what it dropped, by reason."""
    return {
        "datagrams_in": hub.datagrams_in,
        "octets_in": hub.octets_in,
        "copies_out": hub.copies_out,
        "octets_out": hub.octets_out,
        **{f"dropped_{reason.value}": count for reason, count in sorted(hub.drops.items())},
        **{f"not_learnt_{learnt.value}": count for learnt, count in hub.not_learnt.items()},
    }
