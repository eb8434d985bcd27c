"""Checks what the representative says before anything of it is put in force."""

from __future__ import annotations

from collections.abc import Iterator

from protocol import binding_tag, hop_tag
from protocol.distribution.tables import Tables
from protocol.relay.tables import NO_PORT
from protocol.types import Secret
from protocol.wire.table_messages import StationRow


def fit_together(tables: Tables) -> bool:
    """Tells whether no two rows claim the same address, and stations are behind clients there are.

    And whether every key is one.
    """
    addresses = {row.multicast_address for row in tables.groups.values()}
    reached = [row.endpoint.address for row in tables.members.values()]
    reached = [address for address in reached if address.port != NO_PORT]
    reached += [row.endpoint.address for row in tables.servers.values()]
    return (
        len(addresses) == len(tables.groups)
        and len(set(reached)) == len(reached)
        and all(_is_behind_its_client(row, tables) for row in tables.stations.values())
        and all(len(key) == hop_tag.KEY_LENGTH for key in _hop_keys(tables))
        and all(len(key) == binding_tag.KEY_LENGTH for key in _binding_keys(tables))
    )


def _binding_keys(tables: Tables) -> Iterator[Secret]:
    for member in tables.members.values():
        if member.binding_key is not None:
            yield member.binding_key


def _hop_keys(tables: Tables) -> Iterator[Secret]:
    for member in tables.members.values():
        yield from member.hop_keys
    for server in tables.servers.values():
        yield from server.hop_keys
        if server.send_key is not None:
            yield server.send_key


def _is_behind_its_client(row: StationRow, tables: Tables) -> bool:
    client = tables.members.get(row.client_id)
    return client is not None and client.vpn_id == row.vpn_id and not client.home
