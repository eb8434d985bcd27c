"""The scale model against the world of events: the same frames, the same counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from experiments.simulation.views import statuses
from protocol.relay import Strip
from simulator.packets import Packet
from simulator.scale.loads import Round, Way, loads
from simulator.scale.plans import placement_of, routers_of
from simulator.scale.sizes import sizes
from simulator.scale.tables import rows
from simulator.scale.trees import Paths
from simulator.world import World, WorldSettings
from tests.simulator.worlds import frame, ready
from topologies.plan import Plan

Ends = tuple[str, str]

FRAME = 100
ROUND = Round(2, 3)
COUNTERS = ("datagrams_in", "copies_out", "copies_to_servers")
CASES: list[tuple[Way, str, dict[str, int], Strip]] = [
    ("single", "single", {"clients": 5}, Strip.KEEP),
    ("single", "single", {"clients": 3, "family": 4}, Strip.PATENT),
    ("multicast", "multicast", {"clients": 3}, Strip.KEEP),
    ("multiserver", "multiserver", {"clients": 6, "servers": 3}, Strip.KEEP),
    ("multiserver", "multiserver", {"clients": 5, "servers": 4, "family": 4}, Strip.PATENT),
    ("cascade", "cascade", {"clients": 6, "servers": 3}, Strip.KEEP),
    ("cascade", "cascade", {"clients": 5, "servers": 4, "family": 4}, Strip.PATENT),
]


@pytest.mark.parametrize(("way", "topo", "options", "strip"), CASES)
def test_both_count_the_same_on_every_server_and_link(
    way: Way, topo: str, options: dict[str, int], strip: Strip
) -> None:
    world = ready(topo, 1, WorldSettings(strip=strip), None, terminals=1, **options)
    plan = world.plan
    speak(world)
    routers = routers_of(plan)
    paths, placement = Paths(routers), placement_of(plan, routers)
    found = loads(way, paths, placement, sizes(FRAME, plan.family, strip), ROUND)
    servers = [node.name for node in plan.relays or plan.servers]
    before, carried = counters(world, servers), weigh(world)
    play(world)
    after = counters(world, servers)
    own = found.servers
    for name, counts in zip(
        COUNTERS, (own.datagrams_in, own.copies_out, own.copies_to_servers), strict=True
    ):
        assert counts.tolist() == [after[node][name] - before[node][name] for node in servers], name
    for arc, (tail, head) in enumerate(zip(routers.tails, routers.heads, strict=True)):
        ends = str(routers.names[tail]), str(routers.names[head])
        assert [found.links.copies[arc], found.links.octets[arc]] == carried[ends], ends


@pytest.mark.parametrize(("way", "topo", "options", "strip"), CASES)
def test_both_have_tables_of_the_same_length(
    way: Way, topo: str, options: dict[str, int], strip: Strip
) -> None:
    world = ready(topo, 1, WorldSettings(strip=strip), None, terminals=2, **options)
    plan = world.plan
    speak(world)
    servers = [node.name for node in plan.relays or plan.servers]
    found = rows(way, placement_of(plan, routers_of(plan)), stations=2)
    shown = {name: table_rows(world, name) for name in {*servers, world.server_name}}
    assert found.users == shown[world.server_name]["506"]
    assert found.associations == shown[world.server_name]["508 multicast address"]
    assert found.unicast_groups.tolist() == [shown[name]["507"] for name in servers]
    assert found.multicast_addresses.tolist() == [
        shown[name]["508 multicast address (relay)"] for name in servers
    ]
    assert found.stations.tolist() == [shown[name]["509"] for name in servers]


def speak(world: World) -> None:
    """Lets every terminal send to all, so that everybody knows where it is."""
    for terminal in world.plan.terminals():
        world.send(terminal.name, frame(world.plan, terminal.name))
        world.run(0.2)
    world.run(3)


def play(world: World) -> None:
    """Sends the frames of a round from each client's first terminal."""
    plan = world.plan
    for group in plan.groups:
        clients = plan.clients(group.vpn_id)
        for number, client in enumerate(clients):
            first = _terminal(plan, client.name)
            following = _terminal(plan, clients[(number + 1) % len(clients)].name)
            for destination, count in ((following, ROUND.unicast), (None, ROUND.broadcast)):
                for _ in range(count):
                    octets = frame(plan, first, destination, bytes(FRAME - 14))
                    assert len(octets) == FRAME
                    world.send(first, octets)
    world.run(3)


def counters(world: World, servers: list[str]) -> dict[str, dict[str, int]]:
    """Returns what each server says it has carried."""
    return {name: statuses(world)[name]["counters"] for name in servers}


def weigh(world: World) -> dict[Ends, list[int]]:
    """Has packets and octets of each direction of each link counted from now on."""
    carried: dict[Ends, list[int]] = {}

    def weighed(ends: Ends, send: Callable[[Packet], None]) -> Callable[[Packet], None]:
        def count(packet: Packet) -> None:
            carried[ends][0] += 1
            carried[ends][1] += packet.length
            send(packet)

        return count

    for ends, direction in world.network.directions.items():
        carried[ends] = [0, 0]
        vars(direction)["send"] = weighed(ends, direction.send)
    return carried


def table_rows(world: World, name: str) -> dict[str, int]:
    """Counts rows by a table's title, and by its number."""
    found: dict[str, int] = {"507": 0, "509": 0}
    for title, table in statuses(world)[name]["tables"].items():
        for key in {title, title.split()[0]}:
            found[key] = found.get(key, 0) + len(table["rows"])
    return found


def _terminal(plan: Plan, client: str) -> str:
    return plan.terminals_of(client)[0].name
