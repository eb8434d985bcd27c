"""What an earlier epoch of the representative said, beside what this one says.

Patent: Fig. 19; tables 507-509.
"""

from __future__ import annotations

from msgspec.structs import replace

from protocol.distribution.tables import Tables, station_key
from protocol.relay.tables import NO_PORT
from protocol.types import Secret
from protocol.wire.table_messages import ServerRow


def beside(current: Tables, earlier: Tables) -> Tables:
    """Returns the rows of both; where they are about the same, the current ones, and all SPIs.

    A client of the earlier epoch ends when one of this epoch has its address: it has come back. Until it
    knows its new hop key it uses the one from before, and so do servers that have not been told yet.
    """
    both = current.copy()
    addresses = {row.multicast_address for row in current.groups.values()}
    for group in earlier.groups.values():
        known = current.groups.get(group.vpn_id)
        if known is not None:
            spis = tuple(sorted({*known.spis, *group.spis}))
            sub_ids = {row.spi: row for row in (*group.sub_ids, *known.sub_ids)}
            both.groups[group.vpn_id] = replace(
                known, spis=spis, sub_ids=tuple(sub_ids[spi] for spi in sorted(sub_ids))
            )
        elif group.multicast_address not in addresses:
            both.groups[group.vpn_id] = group
    taken = {row.endpoint: row for row in current.members.values() if row.endpoint.port != NO_PORT}
    for member in earlier.members.values():
        back = taken.get(member.endpoint)
        if back is None:
            both.members.setdefault(member.client_id, member)
        elif back.home and (back.vpn_id, back.sub_id) == (member.vpn_id, member.sub_id):
            keys = _all_of(back.hop_keys, member.hop_keys)
            both.members[back.client_id] = replace(back, hop_keys=keys)
    for server in earlier.servers.values():
        same = current.servers.get(server.name)
        if same is not None:
            vpn_ids = tuple(sorted({*same.vpn_ids, *server.vpn_ids}))
            both.servers[server.name] = ServerRow(
                same.name,
                same.endpoint,
                vpn_ids,
                same.send_key or server.send_key,
                _all_of(same.hop_keys, server.hop_keys),
            )
    for station in earlier.stations.values():
        if station.client_id in both.members:
            both.stations.setdefault(station_key(station), station)
    return both


def _all_of(current: tuple[Secret, ...], earlier: tuple[Secret, ...]) -> tuple[Secret, ...]:
    return tuple(dict.fromkeys((*current, *earlier)))
