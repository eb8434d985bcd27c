from __future__ import annotations

import pytest

from simulator.links import Impairment
from simulator.world import World, WorldError, WorldSettings
from tests.simulator.worlds import arrivals, frame, ready
from topologies.catalog import CATALOG, single


@pytest.mark.parametrize("topo", [name for name in CATALOG if name != "subgroups"])
def test_a_broadcast_reaches_every_other_terminal_of_its_group_once(topo: str) -> None:
    world = ready(topo)
    octets = frame(world.plan, "t1a")
    world.send("t1a", octets)
    world.run(1)
    due = {node.name for node in world.plan.terminals(1001)} - {"t1a"}
    assert arrivals(world, octets) == dict.fromkeys(due, 1)


def test_a_broadcast_stays_within_its_sub_id() -> None:
    world = ready("subgroups")
    octets = frame(world.plan, "t1a")
    world.send("t1a", octets)
    world.run(1)
    assert set(arrivals(world, octets)) == {"t1b", "t2a", "t2b", "t4a", "t4b"}
    assert sum(world.clients["c3"].client.drops.values()) == 1


def test_known_unicast_goes_to_its_terminal_alone() -> None:
    world = ready("cascade")
    for name in ("t1a", "t3b"):
        world.send(name, frame(world.plan, name))
        world.run(2)
    octets = frame(world.plan, "t1a", "t3b")
    world.send("t1a", octets)
    world.run(1)
    assert arrivals(world, octets) == {"t3b": 1}


def test_frames_pass_again_once_a_crashed_server_is_back() -> None:
    world = ready()
    world.crash("server")
    lost = frame(world.plan, "t1a", payload=b"lost")
    world.send("t1a", lost)
    world.run(3)
    world.start_process("server")
    world.wait_until_registered()
    octets = frame(world.plan, "t1a", payload=b"found")
    world.send("t1a", octets)
    world.run(1)
    assert arrivals(world, lost) == {"t1b": 1}
    assert len(arrivals(world, octets)) == 5


def test_a_client_that_is_cut_off_comes_back() -> None:
    world = ready("cascade")
    world.cut_channel("c2")
    world.run(0.1)
    assert not world.clients["c2"].registered
    world.wait_until_registered()
    assert world.clients["c2"].registered


def test_a_client_behind_a_dead_link_comes_back_when_it_lives() -> None:
    world = ready()
    world.impair("c1", "internet", Impairment(down=True))
    world.run(45)
    assert not world.clients["c1"].registered
    world.impair("c1", "internet")
    world.wait_until_registered()


def test_who_is_not_registered_in_time_is_named() -> None:
    world = World(single())
    world.impair("c1", "internet", Impairment(down=True))
    world.start()
    with pytest.raises(WorldError, match=r"\['c1'\]"):
        world.wait_until_registered()


def test_an_expelled_client_reads_no_more_and_ends() -> None:
    world = ready()
    world.expel("c2")
    world.run(20)
    octets = frame(world.plan, "t1a")
    world.send("t1a", octets)
    world.run(1)
    assert not world.clients["c2"].wanted
    assert set(arrivals(world, octets)) == {"t1b", "t3a", "t3b"}


def test_hop_tags_are_sealed_and_checked() -> None:
    world = ready(settings=WorldSettings(hop_tags=True))
    octets = frame(world.plan, "t1a")
    world.send("t1a", octets)
    world.run(1)
    assert len(arrivals(world, octets)) == 5


def test_the_same_seed_gives_the_same_fingerprint_and_another_one_another() -> None:
    assert ready(seed=3).trace.fingerprint() == ready(seed=3).trace.fingerprint()
    assert ready(seed=3).trace.fingerprint() != ready(seed=4).trace.fingerprint()
