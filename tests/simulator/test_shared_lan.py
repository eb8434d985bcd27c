"""Clients that share a LAN: each frame reaches each station once, whoever starts, ends or is not heard."""

from __future__ import annotations

import pytest

from experiments import simtest
from protocol.client.announcing import ROUNDS, Announcing
from protocol.client.loop_protection import HANDOVER, INTERVAL, LISTENING, SILENCE
from protocol.errors import DropReason
from protocol.management import RekeyPolicy
from protocol.types import SECOND
from protocol.wire.claim import is_claim
from simulator.faults import KINDS, Fault, Script
from simulator.lan import Receive
from simulator.links import Impairment
from simulator.monitor import forwards
from simulator.search import Play
from simulator.world import World, WorldSettings
from tests.simulator.worlds import arrivals, frame, ready_on
from topologies.catalog import CATALOG, subgroups
from topologies.plan import Kind
from topologies.shared_lan import share_lan

PAUSE = 0.1
"""Seconds between two frames of a flow."""
FOUND = [
    # halves of a LAN are joined while a frame to one station is on its way: it went round thousands of times
    '["single", 40462, [[3208, "split", 14, 17111, 26], [1920, "split", 6, 12573, 70]], {}, 3]',
    # who gave way had seen the other half's stations outside: they were announced at the wrong place
    '["single", 53500, [[59, "split", 0, 19699, 94]], {}, 3]',
    '["single", 2427, [[2809, "split", 12, 8181, 47]], {"distribution": "full"}, 3]',
    # a client that was stopped went on forwarding, with what had waited, beside the one that had taken over
    '["single", 24367, [[475, "pause", 14, 16246, 70], [7530, "pause", 0, 13637, 71]], {}, 3]',
    # a newcomer held the fresh SA alone, and could not read what was said under the older one
    '["cascade", 18231, [[7988, "expel", 12, 15193, 65], [7005, "expel", 9, 11652, 30]],'
    ' {"rekey": "on-change"}, 3]',
    # two on a LAN had no SA in common, and each took what the other delivered for the LAN's own
    '["multicast", 5792, [[4720, "expel", 5, 9430, 64], [3018, "crash", 1, 5515, 84],'
    ' [1522, "crash", 0, 8301, 68]], {}, 3]',
    '["multiserver", 19914, [[1881, "crash", 10, 4726, 74], [5264, "down", 11, 17304, 18]], {}, 3]',
    '["cascade", 57809, [[7399, "crash", 3, 17651, 78], [7636, "crash", 13, 15481, 74],'
    ' [6152, "crash", 0, 17850, 76]], {}, 2]',
    # a client went over to another VPN server: its silent stations were looked for behind the one before
    '["cascade", 24769, [[2974, "down", 0, 2042, 48], [7227, "down", 3, 4618, 72],'
    ' [6068, "cut", 14, 5511, 27], [8443, "down", 0, 485, 60]], {"member_delivery": "spi"}, 2]',
    # the port of who stood by had changed, and its relay took no announcement from there
    '["single", 0, [[0, "cut", 0, 0, 0], [0, "cut", 0, 0, 0], [0, "port", 1, 0, 0]], {}, 2]',
]
"""Scripts that broke something on a shared LAN."""


def shared(
    topo: str = "single",
    *guests: str,
    clients: int = 4,
    settings: WorldSettings | None = None,
) -> World:
    """A world with ``guests`` on the LAN of c1, everybody registered."""
    plan = CATALOG[topo](clients=clients, terminals=1)
    for guest in guests or ("c2",):
        plan = share_lan(plan, "c1", guest)
    return ready_on(plan, settings=settings)


def forwarding(world: World, *names: str) -> list[str]:
    """Who of the clients runs, is in its group, and does not stand by."""
    return [
        name
        for name in names or ("c1", "c2")
        if name in world.clients
        and not world.clients[name].paused
        and forwards(world.clients[name])
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


@pytest.mark.parametrize("later_ns", [0, 1, 500, 1_000, 2_000, LISTENING // 2, LISTENING, SECOND])
def test_two_that_start_at_about_the_same_moment_never_forward_together(later_ns: int) -> None:
    plan = share_lan(CATALOG["single"](clients=4, terminals=1), "c1", "c2")
    world = World(plan, 1)
    world.start()
    world.crash("c2")
    world.engine.after(later_ns, world.start_process, "c2")
    both = not world.engine.run_while(lambda: len(forwarding(world)) < 2, 30 * SECOND)
    assert both
    assert forwarding(world) == ["c1"]


@pytest.mark.parametrize("rekey", ["on-leave", "on-change", "never"])
def test_a_newcomer_and_who_seals_with_the_older_sa_yet_hear_each_other(rekey: RekeyPolicy) -> None:
    world = shared(settings=WorldSettings(rekey=rekey))
    world.crash("c2")
    world.run(5)
    world.start_process("c2")
    assert not world.engine.run_while(
        lambda: len(forwarding(world)) < 2, world.engine.now + 20 * SECOND
    )
    assert world.clients["c2"].registered


# -- stations that say nothing


def learn_all(world: World) -> None:
    """Has every terminal speak once, and say nothing more."""
    for terminal in world.received:
        world.send(terminal, frame(world.plan, terminal, payload=b"here I am"))
        world.run(0.1)
    world.run(3)


def outage(world: World, source: str, target: str, seconds: float) -> float:
    """Sends to a station that says nothing; returns for how long nothing of it came."""
    sent = []
    for _ in range(round(seconds / PAUSE)):
        number = world.engine.now.to_bytes(8, "big")
        sent.append(frame(world.plan, source, target, payload=number))
        world.send(source, sent[-1])
        world.run(PAUSE)
    seen = {octets for _, octets in world.received[target]}
    arrived = [octets for octets in sent if octets in seen]
    assert arrived
    assert arrived[-1] == sent[-1]
    return longest_gap(sent, arrived)


@pytest.mark.parametrize(("source", "target"), [("t3a", "t1a"), ("t1a", "t3a")])
@pytest.mark.parametrize("topo", ["single", "multiserver", "cascade", "multicast"])
def test_frames_to_a_silent_station_get_there_again_with_the_takeover(
    topo: str, source: str, target: str
) -> None:
    """Its machine has died without a word: the server takes it for alive for 30 s."""
    world = shared(topo)
    learn_all(world)
    assert outage(world, source, target, 1) == 0
    world.clients["c1"].pause()
    gap = outage(world, source, target, 12)
    assert 0 < gap <= (SILENCE + HANDOVER) / SECOND + PAUSE
    assert forwarding(world) == ["c2"]


def test_without_announcements_they_would_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Announcing, "begin", lambda *_: None)
    world = shared()
    learn_all(world)
    world.clients["c1"].pause()
    with pytest.raises(AssertionError):
        outage(world, "t3a", "t1a", 12)


@pytest.mark.parametrize(("source", "target"), [("t3a", "t1a"), ("t1a", "t3a")])
def test_a_fitter_client_that_comes_is_told_of_the_stations(source: str, target: str) -> None:
    """The one before stays registered: no relay would ever forget what is behind it."""
    world = shared()
    world.crash("c1")
    world.run(10)
    learn_all(world)
    assert forwarding(world) == ["c2"]
    world.clients["c2"].client.channel_lost(world.engine.now)
    world.start_process("c1")
    gap = outage(world, source, target, 5)
    assert forwarding(world) == ["c1"]
    assert gap <= HANDOVER / SECOND + PAUSE


def test_announcements_are_few_and_are_nowhere_seen_as_frames() -> None:
    world = shared()
    learn_all(world)
    seen = {name: len(record) for name, record in world.received.items()}
    world.crash("c1")
    world.run(30)
    announced = world.clients["c2"].client.loop_protection.announcing.announced
    assert announced == ROUNDS * len({"t1a", "t3a", "t4a"})
    assert {name: len(record) for name, record in world.received.items()} == seen
    assert world.clients["c3"].client.drops[DropReason.STATION_ANNOUNCED] == ROUNDS


# -- LANs that are cut and joined, processes that stop


@pytest.mark.parametrize("topo", ["single", "cascade"])
def test_two_halves_of_a_lan_each_have_a_forwarder_and_joined_again_one(topo: str) -> None:
    plan = CATALOG[topo](clients=4, terminals=1)
    world = ready_on(share_lan(plan, "c1", "c2", with_terminals=True))
    lan = world.lan_of["c1"]
    lan.split(("c1", "t1a"))
    flow(world, 10)
    assert forwarding(world) == ["c1", "c2"]
    across = frame(world.plan, "t1a", "t2a", payload=b"through the VPN")
    world.send("t1a", across)
    world.run(0.2)
    assert arrivals(world, across)["t2a"] == 1
    lan.split(())
    world.send("t2a", frame(world.plan, "t2a", payload=b"anything"))
    world.run(PAUSE)
    assert forwarding(world) == ["c1"], "a station on both sides is enough"
    world.run(3)
    sent = flow(world, 3)
    seen = {octets for _, octets in world.received["t1a"]}
    assert seen >= set(sent)
    assert outage(world, "t3a", "t2a", 1) == 0
    assert outage(world, "t2a", "t4a", 1) == 0


def test_a_frame_that_is_on_its_way_when_halves_are_joined_does_not_go_round() -> None:
    plan = CATALOG["cascade"](clients=4, terminals=1)
    world = ready_on(share_lan(plan, "c1", "c2", with_terminals=True))
    lan = world.lan_of["c1"]
    lan.split(("c1", "t1a"))
    flow(world, 10)
    octets = frame(world.plan, "t1a", payload=b"on its way")
    world.send("t1a", octets)
    lan.split(())
    world.run(5)
    assert max(arrivals(world, octets).values()) <= 4
    assert forwarding(world) == ["c1"]


def test_who_was_stopped_forwards_nothing_of_what_waited_for_it() -> None:
    world = shared()
    flow(world, 1)
    world.clients["c1"].pause()
    flow(world, 15)
    assert forwarding(world) == ["c2"]
    assert forwards(world.clients["c1"]), "or so it believes"
    sealed = world.clients["c1"].client.frames_sealed
    world.clients["c1"].resume()
    world.run(0.0001)
    assert world.clients["c1"].client.frames_sealed == sealed
    sent = flow(world, 3)
    assert longest_gap(sent, came_once(world, sent)) <= HANDOVER / SECOND + PAUSE
    assert forwarding(world) == ["c1"]


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
    plan = CATALOG["cascade"](clients=4, terminals=1, second_group=0)
    plan = share_lan(plan, "c1", "c2", with_terminals=True)
    faults = tuple(Fault(700 * number, kind, number, 2_000, 30) for number in range(5))
    for seed in (1, 2):
        played = Play(plan, Script("cascade", seed, faults)).run()
        assert not played.violations


@pytest.mark.parametrize("text", FOUND)
def test_what_the_search_has_found_is_mended(text: str) -> None:
    assert not simtest.play(Script.from_text(text)).violations
