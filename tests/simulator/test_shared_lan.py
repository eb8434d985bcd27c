"""Clients that share a LAN: each frame reaches each station once, whoever starts, ends or is not heard."""

from __future__ import annotations

import pytest

from protocol.client.loop_protection import HANDOVER, INTERVAL, SILENCE
from protocol.errors import DropReason
from protocol.types import SECOND
from protocol.wire.claim import is_claim
from simulator.faults import KINDS, Fault, Script
from simulator.lan import Receive
from simulator.links import Impairment
from simulator.search import Play
from simulator.world import World
from tests.simulator.worlds import arrivals, frame, ready_on
from topologies.catalog import CATALOG, subgroups
from topologies.plan import Kind
from topologies.shared_lan import share_lan

PAUSE = 0.1
"""Seconds between two frames of a flow."""


def shared(topo: str = "single", *guests: str, clients: int = 4) -> World:
    """A world with ``guests`` on the LAN of c1, everybody registered."""
    plan = CATALOG[topo](clients=clients, terminals=1)
    for guest in guests or ("c2",):
        plan = share_lan(plan, "c1", guest)
    return ready_on(plan)


def forwarding(world: World, *names: str) -> list[str]:
    """Who of the clients runs, is in its group, and does not stand by."""
    return [
        name
        for name in names or ("c1", "c2")
        if name in world.clients
        and world.clients[name].client.information is not None
        and not world.clients[name].client.loop_protection.standing_by
    ]


def flow(world: World, seconds: float) -> list[bytes]:
    """Has t3a and t1a send broadcasts in turn, for so long; returns those of t3a."""
    sent = []
    for _ in range(round(seconds / PAUSE)):
        number = world.engine.now.to_bytes(8, "big")
        sent.append(frame(world.plan, "t3a", payload=number))
        world.send("t3a", sent[-1])
        world.send("t1a", frame(world.plan, "t1a", payload=number))
        world.run(PAUSE)
    return sent


def came_once(world: World, sent: list[bytes]) -> list[bytes]:
    """Checks that nothing came twice to anybody; returns what of ``sent`` t1a has seen."""
    for record in world.received.values():
        octets = [one for _, one in record]
        assert len(octets) == len(set(octets))
    seen = {octets for _, octets in world.received["t1a"]}
    return [octets for octets in sent if octets in seen]


def longest_gap(sent: list[bytes], seen: list[bytes]) -> float:
    """Returns for how many seconds in a row nothing of a flow came."""
    longest = gap = 0
    for octets in sent:
        gap = 0 if octets in seen else gap + 1
        longest = max(longest, gap)
    return longest * PAUSE


class DeafLan:
    """Loses every claim on the LAN of c1 while ``deaf``."""

    def __init__(self, world: World, *names: str) -> None:
        self.deaf = True
        lan = world.lan_of["c1"]
        for name in names:
            lan.connect(name, self._around(world.clients[name].receive_frame))

    def _around(self, receive: Receive) -> Receive:
        def heard(octets: bytes) -> None:
            if not (self.deaf and is_claim(octets)):
                receive(octets)

        return heard


@pytest.mark.parametrize("topo", [name for name in CATALOG if name != "subgroups"])
def test_every_frame_comes_once_in_either_direction(topo: str) -> None:
    world = shared(topo)
    assert forwarding(world) == ["c1"]
    others = {"t1a", "t3a", "t4a"}
    for source in (*others, *others):
        octets = frame(world.plan, source, payload=world.engine.now.to_bytes(8, "big"))
        world.send(source, octets)
        world.run(2)
        assert arrivals(world, octets) == dict.fromkeys(others - {source}, 1)
    for source, target in (("t3a", "t1a"), ("t1a", "t3a")):
        octets = frame(world.plan, source, target)
        world.send(source, octets)
        world.run(2)
        assert arrivals(world, octets) == {target: 1}
    drops = world.clients["c2"].client.drops
    assert drops[DropReason.STAND_BY] > 0
    assert not drops[DropReason.CLAIM_REFUSED]


def test_no_claim_leaves_the_lan() -> None:
    world = shared()
    seen: list[bytes] = []
    for name in ("c3", "c4"):
        world.lan_of[name].taps[name] = seen.append
    world.run(10)
    sources = {octets[6:12] for octets in seen if is_claim(octets)}
    assert len(sources) == 2, "those of c3 and c4 themselves"


@pytest.mark.parametrize("crashes", ["c1", "c2"])
def test_who_crashes_costs_a_bounded_gap_and_nothing_when_it_comes_back(crashes: str) -> None:
    world = shared()
    flow(world, 2)
    world.crash(crashes)
    sent = flow(world, 12)
    seen = came_once(world, sent)
    gap = longest_gap(sent, seen)
    assert (0 < gap <= (SILENCE + HANDOVER) / SECOND + PAUSE) if crashes == "c1" else gap == 0
    other = "c2" if crashes == "c1" else "c1"
    assert forwarding(world) == [other]
    world.start_process(crashes)
    sent = flow(world, 8)
    assert came_once(world, sent) == sent
    assert forwarding(world) == [other]
    assert world.clients[crashes].registered


@pytest.mark.parametrize("how", ["leaves", "is expelled"])
def test_who_goes_hands_over_after_a_moment_in_which_nothing_comes_back(how: str) -> None:
    """Frames of t1a that are still on their way to the other must not be put on the LAN again."""
    world = shared("cascade")
    flow(world, 2)
    last = frame(world.plan, "t1a", payload=b"on its way")
    t1a = last[6:12]
    world.send("t1a", last)
    world.run(0.0001)
    if how == "leaves":
        world.clients["c1"].leave()
    else:
        world.expel("c1")
    world.run(HANDOVER / SECOND + PAUSE)
    sent = flow(world, 3)
    assert came_once(world, sent) == sent
    assert not {octets for _, octets in world.received["t1a"] if octets[6:12] == t1a}
    assert forwarding(world) == ["c2"]


def test_the_other_takes_over_from_who_loses_its_way_out_and_keeps_it() -> None:
    """By then the group has another SA: who is apart carries nothing, though it hears nobody either."""
    world = shared()
    (link,) = [link for link in world.plan.links_of("c1") if link.kind is Kind.OUTSIDE]
    world.impair(*link.ends, Impairment(down=True))
    world.run(45)
    assert "c2" in forwarding(world)
    sent = flow(world, 3)
    assert came_once(world, sent) == sent
    world.impair(*link.ends)
    world.run(20)
    assert world.clients["c1"].registered
    sent = flow(world, 3)
    assert came_once(world, sent) == sent
    assert forwarding(world) == ["c2"]


def test_a_restart_of_the_server_changes_at_most_who_forwards() -> None:
    world = shared()
    world.crash("server")
    world.run(3)
    world.start_process("server")
    world.wait_until_registered()
    world.run(2 * SILENCE / SECOND)
    assert len(forwarding(world)) == 1
    sent = flow(world, 3)
    assert came_once(world, sent) == sent


def test_of_three_on_one_lan_one_forwards_and_when_it_ends_another() -> None:
    world = shared("single", "c2", "c4")
    names = ("c1", "c2", "c4")
    for name in names[:2]:
        assert forwarding(world, *names) == [name]
        sent = flow(world, 2)
        assert came_once(world, sent) == sent
        world.crash(name)
        world.run((SILENCE + HANDOVER) / SECOND + 0.01)
    assert forwarding(world, *names) == ["c4"]


def test_two_that_start_at_once_forward_together_for_one_round_trip_on_the_lan() -> None:
    plan = share_lan(CATALOG["single"](clients=4, terminals=1), "c1", "c2")
    world = World(plan, 1)
    world.start()
    world.engine.run_while(lambda: len(forwarding(world)) < 2, 30 * SECOND)
    begin = world.engine.now
    world.engine.run_while(lambda: len(forwarding(world)) > 1, begin + 30 * SECOND)
    assert world.engine.now - begin <= 3_000, "ns: three frames from port to port"


@pytest.mark.parametrize("deaf_s", [SILENCE / SECOND - 2 * INTERVAL / SECOND, 20])
def test_lost_claims_bring_at_most_an_interval_of_two_once_they_are_heard_again(
    deaf_s: float,
) -> None:
    world = shared()
    lan = DeafLan(world, "c1", "c2")
    world.run(deaf_s)
    lan.deaf = False
    assert (len(forwarding(world)) == 2) is (deaf_s > (SILENCE + HANDOVER) / SECOND)
    world.run(INTERVAL / SECOND + 0.001)
    assert forwarding(world) == ["c1"]
    sent = flow(world, 3)
    assert came_once(world, sent) == sent


def test_clients_of_two_sub_ids_on_one_lan_do_not_hear_each_other_and_make_no_ring() -> None:
    world = ready_on(share_lan(subgroups(terminals=1), "c1", "c3"))
    assert forwarding(world, "c1", "c3") == ["c1", "c3"]
    assert world.clients["c1"].client.drops[DropReason.CLAIM_REFUSED] > 0
    sent = []
    for number in range(10):
        sent.append(frame(world.plan, "t2a", payload=bytes([number])))
        world.send("t2a", sent[-1])
        world.run(PAUSE)
    assert came_once(world, sent) == sent


def test_clients_of_two_groups_on_one_lan_both_forward() -> None:
    """Whoever puts them there joins the LAN to both groups."""
    plan = CATALOG["single"](clients=3, terminals=1, second_group=1)
    world = ready_on(share_lan(plan, "c1", "c4"))
    assert forwarding(world, "c1", "c4") == ["c1", "c4"]
    octets = frame(world.plan, "t2a")
    world.send("t2a", octets)
    world.run(1)
    assert arrivals(world, octets) == {"t1a": 1, "t3a": 1}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "move"])
def test_whatever_goes_wrong_nothing_comes_twice_or_back_and_all_is_well_in_the_end(
    kind: str,
) -> None:
    """Who is moved to another Sub ID is left out: two Sub IDs on one LAN join what belongs to them."""
    plan = share_lan(CATALOG["cascade"](clients=4, terminals=1, second_group=0), "c1", "c2")
    faults = tuple(Fault(700 * number, kind, number, 2_000, 30) for number in range(5))
    for seed in (1, 2):
        played = Play(plan, Script("cascade", seed, faults)).run()
        assert not played.violations
