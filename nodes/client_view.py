"""The client's tables and counters, as ``--status`` shows them. No key and no password is in them.

Patent: Fig. 3-2 tables 308-311; Figs. 4-1, 4-2.
"""

from __future__ import annotations

from typing import Any

from nodes.process import cipher_calls, memory
from protocol.client import Client
from protocol.client.establishment import State
from protocol.client.tables import Side
from protocol.types import SECOND
from protocol.wire.ethernet import format_mac

Table = dict[str, list[Any]]
MICROSECONDS = 1000.0
"""In a millisecond."""


def client_tables(client: Client, now: int) -> dict[str, Table]:
    """Returns tables 308 to 311, and the stations of the own LAN beside 311."""
    authentication = client.establishment.authentication
    return {
        "308 SA management": _associations(client),
        "309 VPN information": _information(client),
        "310 authentication information": {
            "columns": ["user", "VPN ID"],
            "rows": [[authentication.user, authentication.vpn_id]],
        },
        "311 external LAN MAC": _stations(client, Side.OUTSIDE, now),
        "stations of the own LAN": _stations(client, Side.LAN, now),
        "VPN servers": {
            "columns": ["address", "server", "in use", "accepted", "answers", "round trip ms"],
            "rows": _vpn_servers(client),
        },
    }


def _associations(client: Client) -> Table:
    information = client.information
    return {
        "columns": [
            "multicast address",
            "SPI",
            "algorithm",
            "sender ID",
            "next",
            "senders",
            "seals",
        ],
        "rows": [
            [
                str(information.multicast_address) if information else "",
                f"{association.spi:#010x}",
                association.algorithm,
                association.sender_id,
                association.next_counter,
                association.senders,
                seals,
            ]
            for association, seals in client.associations.rows()
        ],
    }


def _information(client: Client) -> Table:
    known = [client.information] if client.information is not None else []
    return {
        "columns": ["server", "multicast address", "VPN ID", "client", "LAN MTU", "delivery"],
        "rows": [
            [
                str(information.relay),
                str(information.multicast_address),
                information.vpn_id,
                information.client_id,
                information.lan_mtu,
                information.delivery,
            ]
            for information in known
        ],
    }


def _stations(client: Client, wanted: Side, now: int) -> Table:
    return {
        "columns": ["MAC", "remaining s"],
        "rows": [
            [format_mac(mac), remaining // SECOND]
            for mac, side, remaining in client.transfer.stations.rows(now)
            if side is wanted
        ],
    }


def _vpn_servers(client: Client) -> list[list[Any]]:
    """Returns whom the client sends to, whose datagrams it takes, and how far it has found them."""
    information, probing = client.information, client.establishment.last_probing
    measured = {} if probing is None else {row[0]: row[1:] for row in probing.rows()}
    relays = information.relays if information else frozenset()
    rows: list[list[Any]] = []
    for address in sorted({*relays, *measured}):
        name, answers, least = measured.get(address, (None, None, None))
        in_use = information is not None and information.relay == address
        shown = None if least is None else least / MICROSECONDS
        rows.append([str(address), name, in_use, address in relays, answers, shown])
    return rows


def client_counters(client: Client) -> dict[str, int]:
    """Returns frames sealed, cut, delivered and never completed, and drops by reason.

    And how often the client has said in this registration where it is, and has been answered.
    """
    bindings = client.establishment.bindings
    return {
        "frames_sealed": client.frames_sealed,
        "frames_cut": client.frames_cut,
        "frames_delivered": client.frames_delivered,
        "frames_incomplete": client.transfer.pieces.incomplete,
        "claims_sent": client.loop_protection.sent,
        "claims_heard": client.loop_protection.heard,
        "stations_announced": client.loop_protection.announcing.announced,
        "bindings_sent": 0 if bindings is None else bindings.asked,
        "bindings_answered": 0 if bindings is None else bindings.bound,
        **{f"dropped_{reason.value}": count for reason, count in sorted(client.drops.items())},
    }


def process_view(client: Client) -> dict[str, Any]:
    """Returns what the process says of itself, and which client forwards for its LAN."""
    own, other = client.information, client.loop_protection.forwarder
    forwarder = other.client_id if other is not None else own and own.client_id
    return {
        "state": _state(client),
        "on_lan": client.loop_protection.role.value,
        "forwarder": forwarder,
        **memory(),
        **cipher_calls(),
    }


def _state(client: Client) -> str:
    """Returns where the registration stands; who could carry frames listens to its LAN first."""
    state, protection = client.establishment.state, client.loop_protection
    waits = client.information is not None and (protection.own is None or protection.undecided)
    return "listening" if waits and state in (State.REGISTERED, State.APART) else state.value


def keys(client: Client) -> dict[str, Any]:
    """Returns the SAs with their keys, for whoever may open a capture: only on the key socket."""
    return {
        "associations": [
            {
                "spi": association.spi,
                "algorithm": association.algorithm,
                "key": association.parameters.key.reveal().hex(),
                "salt": association.parameters.salt.reveal().hex(),
            }
            for association, _ in client.associations.rows()
        ]
    }
