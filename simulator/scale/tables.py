"""Rows of the patent's tables, for each way of forwarding: exact, once every station has spoken to all.

Patent: tables 506-509; Fig. 19; effect E5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.scale.loads import SEVERAL_SERVERS, Way
from simulator.scale.placement import Placement
from simulator.scale.routers import Integers


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of tables: those of the key server, and an entry for each server that forwards."""

    users: int
    """506, at the key server."""
    associations: int
    """508 with keys, at the key server: SAs, one a group, or with a hub one a client."""
    unicast_groups: Integers
    """507: clients, and by cascade other servers in place of theirs."""
    multicast_addresses: Integers
    """508 without keys, one a group."""
    stations: Integers
    """509, with those that other servers have reported."""

    @property
    def most(self) -> int:
        """Rows of 507, 508 and 509 at the server that has most."""
        return int((self.unicast_groups + self.multicast_addresses + self.stations).max())


def rows(way: Way, placement: Placement, stations: int = 1) -> Rows:
    """Returns the rows of each table, with so many stations on each client's LAN."""
    clients, groups = placement.clients, len(placement.sizes)
    servers = len(placement.servers) if way in SEVERAL_SERVERS else 1
    everybody = np.full(servers, clients)
    members, learnt = everybody, everybody * stations
    if way == "cascade":
        held = placement.held() > 0
        members = _own_and_servers(placement, held)
        learnt = held.T @ placement.sizes * stations
    elif way == "multicast":
        learnt = np.zeros(1, dtype=np.int64)
    sealed = clients if way == "hub" else groups
    return Rows(clients, sealed, members, np.full(servers, groups), learnt)


def _own_and_servers(placement: Placement, held: NDArray[np.bool_]) -> Integers:
    """Counts own clients, and for each other server the groups that it has clients of."""
    own = np.bincount(placement.homes, minlength=len(placement.servers))
    elsewhere = held.sum(axis=0)
    found: Integers = own + elsewhere.sum() - elsewhere
    return found
