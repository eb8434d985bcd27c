"""Two clients bridge one LAN to the same group: one forwards, and when it is killed the other."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from protocol.client.loop_protection import HANDOVER, INTERVAL, SILENCE
from protocol.types import SECOND
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
SILENT = {"t1a": bytes.fromhex("02000000ee01"), "t3a": bytes.fromhex("02000000ee03")}
"""Stations at these terminals that speak once."""
SENDERS = {"t1a": bytes.fromhex("02000000ef01"), "t3a": bytes.fromhex("02000000ef03")}
"""And those that send to them."""
PAUSE_S = 0.05
SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_MR_PROMISC = 263, 1, 1


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


def silent_frame(source: str, target: bytes) -> bytes:
    """A frame from a station that only this test speaks for."""
    return EthernetHeader(target, SILENT[source], ETHER_TYPE).pack() + bytes(46)


def outages(crew: Crew, seconds: float) -> dict[str, float]:
    """Sends to silent stations on either side for so long; returns the longest gap of each way (s)."""
    ways = (("t3a", "t1a"), ("t1a", "t3a"))
    with contextlib.ExitStack() as stack:
        sockets = {name: stack.enter_context(packet_socket(crew, name)) for name in SILENT}
        for name, opened in sockets.items():
            opened.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, promiscuous(crew, name))
            opened.settimeout(PAUSE_S)
        last = dict.fromkeys(ways, time.monotonic())
        longest = dict.fromkeys(ways, 0.0)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for source, target in ways:
                octets = EthernetHeader(SILENT[target], SENDERS[source], ETHER_TYPE).pack()
                sockets[source].send(octets + bytes(46))
            for source, target in ways:
                with contextlib.suppress(TimeoutError):
                    while sockets[target].recv(2000)[:12] != SILENT[target] + SENDERS[source]:
                        pass
                    last[source, target] = time.monotonic()
                gap = time.monotonic() - last[source, target]
                longest[source, target] = max(longest[source, target], gap)
        assert all(time.monotonic() - came < 1 for came in last.values()), "it is over"
    return {f"{source} to {target}": gap for (source, target), gap in longest.items()}


def promiscuous(crew: Crew, terminal: str) -> bytes:
    """Returns the option that has a packet socket take frames to other stations (packet(7))."""
    with inside(crew.network.pid(terminal)):
        number = socket.if_nametoindex(crew.network.plan.lan_interface(terminal).name)
    return struct.pack("iHH8s", number, PACKET_MR_PROMISC, 0, b"")


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
    assert "forwards" in shared.output(stands_by)
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


def test_frames_to_silent_stations_get_there_again_when_a_client_stops_without_a_word(
    shared: Crew,
) -> None:
    """Its channel stays open, and the server takes it for alive: its stations must be found anew."""
    shared.up(*(name for name in CLIENTS if shared.processes[name].poll() is not None))
    assert eventually(lambda: sorted(roles(shared, *CLIENTS).values()) == ["forwards", "stands by"])
    forwards, stands_by = sorted(CLIENTS, key=lambda name: roles(shared, name)[name])
    for terminal in SILENT:
        with packet_socket(shared, terminal) as opened:
            opened.send(silent_frame(terminal, BROADCAST))
    time.sleep(2 * INTERVAL / SECOND)  # a list has been sent since
    members = len(shared.members())
    stopped = shared.processes[forwards].pid
    os.kill(stopped, signal.SIGSTOP)
    try:
        most = (SILENCE + HANDOVER) / SECOND
        gaps = outages(shared, most + 3)
        assert max(gaps.values()) <= most + 1, "and what a busy machine takes"
        assert min(gaps.values()) > 1, "there was an outage"
        assert len(shared.members()) == members, "the server has not noticed anything"
        assert shared.counter(stands_by, "stations_announced") >= len(SILENT)
    finally:
        os.kill(stopped, signal.SIGCONT)
    assert eventually(lambda: sorted(roles(shared, *CLIENTS).values()) == ["forwards", "stands by"])
    assert each_once(shared)
