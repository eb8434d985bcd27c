"""What an earlier epoch of the representative said, beside what this one says.

Patent: Fig. 19; tables 507-509.
"""

from __future__ import annotations

from msgspec.structs import replace

from protocol.distribution.tables import Tables, station_key
from protocol.relay.tables import NO_PORT
from protocol.types import Secret


def beside(current: Tables, earlier: Tables) -> Tables:
    """Returns the rows of both; where they are about the same, the current ones, and all SPIs.

    A client of the earlier epoch ends when one of this epoch has its address: it has come back. Until it
    knows its new hop key it uses the one from before, and so do servers that have not been told yet.
    """
    both = current.copy()
    _put_groups(both, current, earlier)
    _put_members(both, current, earlier)
    _put_servers(both, earlier)
    for station in earlier.stations.values():
        if station.client_id in both.members:
            both.stations.setdefault(station_key(station), station)
    return both


def _put_groups(both: Tables, current: Tables, earlier: Tables) -> None:
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


def _put_members(both: Tables, current: Tables, earlier: Tables) -> None:
    taken = {row.endpoint: row for row in current.members.values() if row.endpoint.port != NO_PORT}
    for member in earlier.members.values():
        back = taken.get(member.endpoint)
        if back is None:
            both.members.setdefault(member.client_id, member)
        elif back.home and (back.vpn_id, back.sub_id) == (member.vpn_id, member.sub_id):
            keys = _all_of(back.hop_keys, member.hop_keys)
            both.members[back.client_id] = replace(back, hop_keys=keys)


def _put_servers(both: Tables, earlier: Tables) -> None:
    for before in earlier.servers.values():
        known = both.servers.get(before.name)
        if known is not None:
            both.servers[before.name] = replace(
                known,
                vpn_ids=tuple(sorted({*known.vpn_ids, *before.vpn_ids})),
                send_key=known.send_key or before.send_key,
                hop_keys=_all_of(known.hop_keys, before.hop_keys),
            )


def _all_of(current: tuple[Secret, ...], earlier: tuple[Secret, ...]) -> tuple[Secret, ...]:
    return tuple(dict.fromkeys((*current, *earlier)))
