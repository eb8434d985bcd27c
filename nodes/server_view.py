"""The server's tables and counters, as ``--status`` shows them. No key is in them.

Patent: Figs. 6-1 to 6-4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nodes.process import cipher_calls, memory
from protocol.management import Management
from protocol.null_forwarder import NullForwarder
from protocol.relay import Member, Relay
from protocol.types import SECOND
from protocol.wire.ethernet import format_mac

if TYPE_CHECKING:
    from protocol.hub import Hub

Table = dict[str, list[Any]]


def management_tables(management: Management) -> dict[str, Table]:
    """Returns tables 506 and 508 as the key server holds them (keys left out)."""
    return {
        "506 user VPN group": {
            "columns": ["user", "VPN ID", "Sub ID"],
            "rows": [[row.user, row.vpn_id, row.sub_id] for row in management.users.rows()],
        },
        "508 multicast address": {
            "columns": ["VPN ID", "Sub ID", "multicast address", "SPI", "algorithm", "sender IDs"],
            "rows": [
                [
                    vpn_id,
                    sub_id,
                    str(management.groups[vpn_id].multicast_address),
                    f"{key.spi:#010x}",
                    key.algorithm,
                    key.next_sender_id,
                ]
                for vpn_id, sub_id, key in management.multicast_addresses.rows()
            ],
        },
    }


def unicast_groups(forwarding: Relay | Hub | NullForwarder) -> dict[str, Table]:
    """Returns table 507."""
    return {
        "507 unicast group": {
            "columns": ["VPN ID", "client", "unicast address"],
            "rows": [
                [vpn_id, member.client_id, str(member.address)]
                for vpn_id, members in forwarding.unicast_groups.rows()
                for member in members
            ],
        }
    }


def learnt_tables(relay: Relay | Hub, now: int) -> dict[str, Table]:
    """Returns tables 508 (a relay's: without keys) and 509."""
    return {
        "508 multicast address (relay)": {
            "columns": ["VPN ID", "multicast address", "SPIs"],
            "rows": [
                [
                    group.vpn_id,
                    str(group.multicast_address),
                    " ".join(f"{spi:#010x}" for spi in sorted(group.spis)),
                ]
                for group in relay.multicast_addresses.rows()
            ],
        },
        "509 MAC-IP correspondence": {
            "columns": ["VPN ID", "MAC", "client", "unicast address", "remaining s"],
            "rows": [
                [
                    vpn_id,
                    format_mac(mac),
                    place.client_id if isinstance(place, Member) else place.name,
                    str(place.address),
                    remaining // SECOND,
                ]
                for (vpn_id, mac), place, remaining in relay.mac_ip.rows(now)
            ],
        },
    }


def relay_counters(relay: Relay) -> dict[str, int]:
    """Returns what has passed the relay, and what it dropped, by reason."""
    totals = relay.flows.totals()
    return {
        "datagrams_in": totals.datagrams_in,
        "octets_in": totals.octets_in,
        "copies_out": totals.copies_out,
        "octets_out": totals.octets_out,
        "flows": len(relay.flows),
        "unknown_unicast_in": totals.sought,
        "probes_echoed": relay.probes_echoed,
        **{f"dropped_{reason.value}": count for reason, count in sorted(totals.drops.items())},
        **{f"not_learnt_{learnt.value}": count for learnt, count in relay.not_learnt.items()},
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


def process_view(state: str) -> dict[str, Any]:
    """Returns what the process says of itself."""
    return {"state": state, **memory(), **cipher_calls()}
