"""Worlds for tests: registered, greeted, ready for frames."""

from __future__ import annotations

from protocol.wire.ethernet import BROADCAST, EthernetHeader, parse_mac
from simulator.observer import Observer
from simulator.world import World, WorldSettings
from topologies.catalog import CATALOG
from topologies.plan import Plan


def ready(
    topo: str = "single",
    seed: int = 1,
    settings: WorldSettings | None = None,
    observer: Observer | None = None,
    **options: int,
) -> World:
    """Starts a world of a topology of the catalog and waits until all clients are in their groups."""
    return ready_on(CATALOG[topo](**options), seed, settings, observer)


def ready_on(
    plan: Plan,
    seed: int = 1,
    settings: WorldSettings | None = None,
    observer: Observer | None = None,
) -> World:
    """Does so with any Plan."""
    world = World(plan, seed, settings, observer)
    world.start()
    world.wait_until_registered()
    world.run(3)
    return world


def frame(plan: Plan, source: str, destination: str | None = None, payload: bytes = b"") -> bytes:
    """Builds a frame of one terminal to another, or to all."""
    to = BROADCAST if destination is None else _mac(plan, destination)
    return EthernetHeader(to, _mac(plan, source), 0x88B5).pack() + payload.ljust(46, b"\0")


def arrivals(world: World, octets: bytes) -> dict[str, int]:
    """Counts how often each terminal has seen a frame; those that have not are left out."""
    counted = {
        name: sum(seen == octets for _, seen in record) for name, record in world.received.items()
    }
    return {name: count for name, count in counted.items() if count}


def _mac(plan: Plan, terminal: str) -> bytes:
    mac = plan.lan_interface(terminal).mac
    assert mac is not None
    return parse_mac(mac)
