"""Tables and counters of a world's processes, in the shape that the real ones show."""

from __future__ import annotations

from typing import Any

from nodes import client_view, relay_view, representative_view, server_view
from simulator.processes import ClientProcess, RelayProcess
from simulator.servers import ServerProcess
from simulator.world import World

View = dict[str, Any]


def statuses(world: World) -> dict[str, View]:
    """Returns the status of every process by its node's name; those that have crashed are left out."""
    found: dict[str, View] = {}
    if world.server is not None:
        found[world.server_name] = server_status(world.server)
    found |= {name: relay_status(relay) for name, relay in world.relays.items()}
    found |= {name: client_status(client) for name, client in world.clients.items()}
    return found


def client_status(process: ClientProcess) -> View:
    """Returns what a client would say."""
    client = process.client
    return {
        "tables": client_view.client_tables(client, process.now),
        "counters": client_view.client_counters(client),
        "process": {"state": client.establishment.state.value},
    }


def relay_status(process: RelayProcess) -> View:
    """Returns what a VPN server would say."""
    tables = relay_view.tables_of_relay(process.relay)
    tables |= relay_view.learnt_tables(process.relay, process.now)
    return {
        "tables": dict(sorted(tables.items())),
        "counters": relay_view.relay_counters(process.relay),
        "process": {"state": "serving" if process.serving else "waiting", "dataplane": "simulated"},
    }


def server_status(process: ServerProcess) -> View:
    """Returns what a server, or representative, would say."""
    management, relay = process.management, process.relay
    tables = server_view.management_tables(management)
    if process.representative is None:
        tables |= server_view.users_on_line(management, relay.flows.passed())
        tables |= relay_view.unicast_groups(relay)
        tables |= relay_view.learnt_tables(relay, process.now)
        counters = relay_view.relay_counters(relay)
    else:
        publisher = process.representative.publisher
        tables |= server_view.users_on_line(management, publisher.counts.passed())
        tables |= relay_view.unicast_groups(management)
        tables |= representative_view.representative_tables(
            management, publisher, process.octets_sent
        )
        counters = {f"stations_{name}": count for name, count in publisher.not_taken.items()}
    return {
        "tables": dict(sorted(tables.items())),
        "counters": counters,
        "process": {"state": "serving"},
    }
