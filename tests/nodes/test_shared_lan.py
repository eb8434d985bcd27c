"""Two clients bridge one LAN to the same group: one forwards, and when it is killed the other."""

from __future__ import annotations

import contextlib
import socket
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from protocol.wire.ethernet import BROADCAST, EthernetHeader, parse_mac
from tests.namespaces import inside
from tests.nodes.running import DEADLINE, Crew, crew_on, eventually
from topologies.catalog import single
from topologies.emulate import emulate
from topologies.shared_lan import share_lan

pytestmark = pytest.mark.emulated

ETHER_TYPE = 0x88B5
FRAMES = 40
REPEATED_S = 0.5
"""Seconds in which a frame that came would come again."""
CLIENTS = ("c1", "c2")


@pytest.fixture(scope="module")
def shared() -> Iterator[Crew]:
    """Gives a server and c1, c2 on one LAN with t1a, c3 on another with t3a."""
    plan = share_lan(single(clients=3, terminals=1, second_group=0), "c1", "c2")
    with emulate(plan) as network, crew_on(network) as gathered:
        gathered.up("server", "c1", "c2", "c3")
        yield gathered


def roles(crew: Crew, *clients: str) -> dict[str, str]:
    """Returns what each client says of itself."""
    return {name: crew.status(name)["process"]["on_lan"] for name in clients}


def arrivals(crew: Crew, source: str, target: str) -> Counter[bytes]:
    """Has a terminal send broadcasts; returns how often each came to another."""
    plan = crew.network.plan
    mac = plan.lan_interface(source).mac
    assert mac is not None
    header = EthernetHeader(BROADCAST, parse_mac(mac), ETHER_TYPE).pack()
    start = time.monotonic_ns().to_bytes(8, "big")
    sent = [header + start + bytes([n]) * 40 for n in range(FRAMES)]
    with packet_socket(crew, target) as receiver, packet_socket(crew, source) as sender:
        for frame in sent:
            sender.send(frame)
        seen: Counter[bytes] = Counter()
        with contextlib.suppress(TimeoutError):
            while True:
                whole = all(seen[frame] for frame in sent)
                receiver.settimeout(REPEATED_S if whole else DEADLINE)
                seen[receiver.recv(2000)] += 1
        return Counter({frame: seen[frame] for frame in sent})


def packet_socket(crew: Crew, terminal: str) -> socket.socket:
    """Opens one on a terminal's interface."""
    with inside(crew.network.pid(terminal)):
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHER_TYPE))
        opened.bind((crew.network.plan.lan_interface(terminal).name, ETHER_TYPE))
    return opened


def each_once(crew: Crew) -> bool:
    """Tells whether broadcasts come once in either direction."""
    return all(
        set(arrivals(crew, *way).values()) == {1} for way in (("t3a", "t1a"), ("t1a", "t3a"))
    )


def test_one_forwards_and_when_it_is_killed_the_other(shared: Crew) -> None:
    assert eventually(lambda: sorted(roles(shared, *CLIENTS).values()) == ["forwards", "stands by"])
    forwards, stands_by = sorted(CLIENTS, key=lambda name: roles(shared, name)[name])
    assert shared.reach("t3a", "t1a")
    assert each_once(shared)
    assert shared.counter(stands_by, "dropped_stand_by") >= 2 * FRAMES
    assert "forwards" in shared.output(stands_by).splitlines()[-1]
    shared.kill(forwards)
    assert eventually(lambda: roles(shared, stands_by)[stands_by] == "forwards")
    assert shared.reach("t3a", "t1a")
    assert each_once(shared)
    shared.up(forwards)
    assert eventually(lambda: roles(shared, forwards)[forwards] == "stands by")
    assert each_once(shared)
    assert shared.end(stands_by) == [0]
    assert eventually(lambda: roles(shared, forwards)[forwards] == "forwards", 4)
    assert each_once(shared)
