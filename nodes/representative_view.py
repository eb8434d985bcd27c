"""The representative's own tables, as ``--status`` shows them. No key is in them.

Patent: Figs. 15, 16; table 19.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from nodes.relay_view import Table
from protocol.distribution.publisher import Publisher
from protocol.management import Management
from protocol.wire.ethernet import format_mac

MICROSECONDS = 1000.0


def representative_tables(
    management: Management, publisher: Publisher, octets_sent: Counter[str]
) -> dict[str, Table]:
    """Returns the VPN servers, the clients with theirs, and the stations that servers have reported."""
    assert management.servers is not None
    addresses = {server.name: server.address for server in management.servers}
    return {
        "VPN servers": {
            "columns": ["server", "address", "up", "clients", "sequence", "octets sent"],
            "rows": [
                [name, str(addresses[name]), up, clients, sequence, octets_sent[name]]
                for name, up, clients, sequence in publisher.servers()
            ],
        },
        "clients": {
            "columns": [
                *("user", "client", "VPN ID", "Sub ID", "unicast address", "server", "state"),
                "round trip ms",
            ],
            "rows": list(_clients(management)),
        },
        "509 reports": {
            "columns": ["VPN ID", "MAC", "client", "server"],
            "rows": [
                [key.vpn_id, format_mac(bytes.fromhex(key.mac)), client_id, server]
                for key, client_id, server in publisher.stations()
            ],
        },
    }


def _clients(management: Management) -> list[list[Any]]:
    rows: list[list[Any]] = []
    for known in management.connections:
        if known.user is None or known.member is None:
            continue
        user, member = known.user, known.member
        measured = {name: time / MICROSECONDS for name, time in (known.distances or {}).items()}
        rows.append(
            [
                *(user.user, member.client_id, user.vpn_id, user.sub_id, str(member.address)),
                *(known.server, known.state.value, measured),
            ]
        )
    return rows
