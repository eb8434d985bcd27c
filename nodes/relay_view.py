"""Tables and counters of whatever relays, as ``--status`` shows them: of a kind that holds no key.

A VPN server that only relays loads this, so nothing here may reach user VPN management or a cipher.

Patent: Figs. 6-2 to 6-4; tables 507-509.
"""

from __future__ import annotations

from typing import Any, Protocol

from nodes.process import cipher_calls, memory
from protocol.distribution.counts import ClientCounts
from protocol.learning import LearningTable
from protocol.relay import Member, Relay
from protocol.relay.flow_table import Station
from protocol.relay.tables import MulticastAddressTable, Sender, UnicastGroupTable
from protocol.types import SECOND
from protocol.wire.ethernet import format_mac

Table = dict[str, list[Any]]


class HasMembers(Protocol):
    """Who holds table 507."""

    unicast_groups: UnicastGroupTable


class Learns(Protocol):
    """Who holds tables 508 (without keys) and 509."""

    @property
    def multicast_addresses(self) -> MulticastAddressTable: ...
    @property
    def mac_ip(self) -> LearningTable[Station, Sender] | LearningTable[Station, Member]: ...


def unicast_groups(holder: HasMembers) -> dict[str, Table]:
    """Returns table 507."""
    return {
        "507 unicast group": {
            "columns": ["VPN ID", "client", "unicast address", "Sub ID"],
            "rows": [
                [vpn_id, member.client_id, str(member.address), member.sub_id]
                for vpn_id, members in holder.unicast_groups.rows()
                for member in members
            ],
        }
    }


def learnt_tables(relay: Learns, now: int) -> dict[str, Table]:
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


def tables_of_relay(relay: Relay) -> dict[str, Table]:
    """Returns table 507 with what stands for other servers' clients, and the stations seen there.

    Patent: Fig. 19; table 19.
    """
    rows: list[list[Any]] = [
        [vpn_id, member.client_id, str(member.address), "own" if member.home else "elsewhere"]
        for vpn_id, members in relay.unicast_groups.rows()
        for member in members
    ]
    rows += [
        [vpn_id, hop.name, str(hop.address), "VPN server"]
        for hop, vpn_ids in relay.next_hops.rows()
        for vpn_id in sorted(vpn_ids)
    ]
    return {
        "507 unicast group": {
            "columns": ["VPN ID", "client or server", "unicast address", "held"],
            "rows": rows,
        },
        "509 reported by others": {
            "columns": ["VPN ID", "MAC", "client", "unicast address"],
            "rows": [
                [vpn_id, format_mac(mac), member.client_id, str(member.address)]
                for (vpn_id, mac), member in relay.stations.elsewhere()
            ],
        },
    }


def counts_of_clients(counts: ClientCounts) -> dict[str, Table]:
    """Returns what a VPN server has counted by client since it started: datagrams' payloads."""
    return {
        "clients counted": {
            "columns": [
                *("client", "datagrams in", "octets in", "datagrams out", "octets out"),
            ],
            "rows": [
                [client_id, *both.numbers] for client_id, both in sorted(counts.by_client().items())
            ],
        }
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
        "copies_to_servers": totals.copies_between,
        "copies_unreadable": totals.copies_unreadable,
        "octets_unreadable": totals.octets_unreadable,
        "unknown_unicast_in": totals.sought,
        "probes_echoed": relay.probes_echoed,
        "bindings_answered": relay.bindings.answered,
        "addresses_changed": relay.bindings.changed,
        **{f"dropped_{reason.value}": count for reason, count in sorted(totals.drops.items())},
        **{
            f"not_learnt_{learnt.value}": count
            for learnt, count in relay.stations.not_learnt.items()
        },
    }


def process_view(state: str) -> dict[str, Any]:
    """Returns what the process says of itself."""
    return {"state": state, **memory(), **cipher_calls()}
