"""Where a VPN server's own clients have shown to be, beside where the representative says that they are.

A client shows it to its own server, which knows it first; the representative then tells it to all. Until
then its word does not move the client back, and the server says again what the other does not know.

Patent: Figs. 15, 19; table 507.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from msgspec.structs import replace

from protocol.distribution.tables import Tables
from protocol.types import Address, ClientId
from protocol.wire.codec import Endpoint
from protocol.wire.table_messages import Bound, BoundRow, MemberEndpoint, MemberRow

if TYPE_CHECKING:
    from protocol.relay.transfer import Relay

ROWS_EACH = 1024
"""Clients that one message names."""


def with_shown(tables: Tables, relay: Relay) -> Tables:
    """Returns the tables with the relay's own clients where they have shown to be.

    What the representative gives to another stays the other's.
    """
    kept = tables.copy()
    taken = {row.endpoint.address for row in tables.members.values()}
    taken |= {row.endpoint.address for row in tables.servers.values()}
    for row in tables.members.values():
        address = _shown(row, relay)
        if address is not None and address not in taken:
            kept.members[row.client_id] = replace(row, endpoint=MemberEndpoint.of(address))
    return kept


def put_at(tables: Tables, client_id: ClientId, address: Address) -> None:
    """Puts a client where it has shown to be; whoever was there is gone."""
    endpoint = MemberEndpoint.of(address)
    row = tables.members.get(client_id)
    if row is not None and row.endpoint == endpoint:
        return
    for other in [one for one in tables.members.values() if one.endpoint == endpoint]:
        del tables.members[other.client_id]
    if row is not None:
        tables.members[client_id] = replace(row, endpoint=endpoint)


def unknown_to(tables: Tables, shown: Iterable[tuple[ClientId, Address]]) -> Iterator[Bound]:
    """Yields messages with those of the clients who are elsewhere than the representative says."""
    rows = [
        BoundRow(client_id, Endpoint.of(address))
        for client_id, address in shown
        if client_id in tables.members and tables.members[client_id].endpoint.address != address
    ]
    for first in range(0, len(rows), ROWS_EACH):
        yield Bound(tuple(rows[first : first + ROWS_EACH]))


def _shown(row: MemberRow, relay: Relay) -> Address | None:
    """Returns where a client of the relay is, if it can show that and its row is of the same time."""
    member = relay.member(ClientId(row.client_id))
    if member is None or not (member.home and row.home and member.is_reached):
        return None
    same = member.binding_key is not None and member.binding_key == row.binding_key
    return member.address if same else None
