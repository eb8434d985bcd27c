"""The server's tables and counters, as ``--status`` shows them. No key is in them.

Patent: Figs. 6-1 to 6-4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodes.relay_view import (
    Table,
    learnt_tables,
    process_view,
    relay_counters,
    unicast_groups,
)
from protocol.management import Management
from protocol.types import SECOND

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
]


def management_tables(management: Management, now: int) -> dict[str, Table]:
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
                "age s",
            ],
            "rows": [
                [
                    vpn_id,
                    sub_id,
                    str(management.groups[vpn_id].multicast_address),
                    f"{key.spi:#010x}",
                    key.algorithm,
                    key.next_sender_id,
                    (now - key.created) // SECOND,
                ]
                for vpn_id, sub_id, key in management.multicast_addresses.rows()
            ],
        },
    }


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
