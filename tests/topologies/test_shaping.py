"""Links with delay and rate: what netem is told, and what our own forwarder makes of them."""

from __future__ import annotations

import math
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace

import psutil
import pytest

from tests.nodes.running import eventually
from tests.topologies.leftovers import links_here, watched
from topologies import shaping
from topologies.catalog import single
from topologies.emulate import EmulationError, Network, emulate
from topologies.plan import Plan
from topologies.settings import second_script
from topologies.shaping import ShapingError, held_frames, means, netem_losses, netem_script

DELAY_NS = 5_000_000
RATE_BITS = 8_000_000
RECEIVE = """
import socket
inlet = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
inlet.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)  # SO_RCVBUFFORCE
inlet.bind(("::", 9))
print("ready", flush=True)
numbers = []
inlet.settimeout(60)
while not numbers or numbers[-1] != 65535:
    numbers.append(int.from_bytes(inlet.recv(2000)[:2], "big"))
print(*numbers)
"""
SEND = """
import socket, sys, time
outlet = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
outlet.connect((sys.argv[1], 9))
for number in range(int(sys.argv[2])):
    outlet.send(number.to_bytes(2, "big") + bytes(998))
try:
    for _ in range(1000):  # until one has come and the receiver is gone
        outlet.send(bytes([255, 255]))
        time.sleep(0.02)
except ConnectionRefusedError:
    pass
"""


def shaped(delay_ns: int | None = DELAY_NS, rate_bits: int | None = None) -> Plan:
    """The smallest network, whose link to the server has a delay and a rate."""
    plan = single(clients=2, terminals=1, second_group=0)
    first = replace(plan.links[0], delay_ns=delay_ns, rate_bits=rate_bits)
    return replace(plan, links=(first, *plan.links[1:]))


def test_both_ends_are_told_to_the_kernel_and_nobody_else() -> None:
    plan = shaped(5_000_000, 10_000_000)
    expected = "root netem limit 204 delay 5000us rate 10000000bit"
    assert netem_script(plan, "server") == (f"set -e\ntc qdisc replace dev server-out {expected}\n")
    assert f"dev internet-server {expected}" in netem_script(plan, "internet")
    assert netem_script(plan, "c1") == "set -e\n"


@pytest.mark.parametrize(
    ("delay_ns", "rate_bits", "frames"),
    [(1, None, 10_000), (None, 10**6, 200), (10**9, 10**9, 10_000), (10**7, 10**9, 1025)],
)
def test_a_link_holds_what_is_under_way_and_a_bounded_queue(
    delay_ns: int | None, rate_bits: int | None, frames: int
) -> None:
    assert held_frames(shaped(delay_ns, rate_bits).links[0]) == frames


@pytest.mark.parametrize(("there", "expected"), [(True, "netem"), (False, "user space")])
def test_what_delays_frames_is_said(
    there: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shaping, "has_netem", lambda: there)
    assert means(shaped()) == expected
    assert means(shaped(0)) == "none"


def test_drops_of_netem_are_read_at_the_sending_end() -> None:
    def run(node: str, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
        drops = {"server": 3, "internet": 4}[node]
        text = f'[{{"kind": "netem", "drops": {drops}}}, {{"kind": "noqueue"}}]'
        return subprocess.CompletedProcess(list(argv), 0, text, "")

    expected = {("server", "internet"): 3, ("internet", "server"): 4}
    assert netem_losses(shaped(), run) == expected

    def nothing(_node: str, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(list(argv), 0, "[]", "")

    with pytest.raises(ShapingError, match="link server-internet: expected netem on server-out"):
        netem_losses(shaped(), nothing)


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with emulate(shaped()) as network:
        yield network


@pytest.mark.emulated
def test_a_round_trip_takes_twice_the_delay(network: Network) -> None:
    server = str(network.plan.data_address("server"))
    ping = ["ping", "-n", "-q", "-c", "50", "-i", "0.005", "-W", "2", server]
    found: list[float] = []

    def least() -> float:
        shown = network.run("c1", ping, timeout=120).stdout
        found.extend(map(float, re.findall(r"min/avg/max/mdev = ([\d.]+)/", shown)))
        return min(found, default=math.inf)

    # The least of many: what comes on top is other people's use of this processor.
    assert eventually(lambda: least() < 11.0), found
    assert min(found) >= 10.0


@pytest.mark.emulated
def test_a_frame_of_the_full_size_passes_and_a_larger_one_does_not(network: Network) -> None:
    server = str(network.plan.data_address("server"))
    for size, code in ((1500 - 48, 0), (1501 - 48, 1)):
        ping = ["ping", "-n", "-c", "1", "-W", "5", "-M", "do", "-s", str(size), server]
        assert network.run("c1", ping, timeout=60).returncode == code


def test_the_queue_before_a_link_holds_what_the_link_may() -> None:
    queue = f" txqueuelen {shaping.MAXIMUM_FRAMES}\n"
    assert queue in second_script(shaped(), "server")
    assert queue in second_script(shaped(), "internet")
    assert queue not in second_script(shaped(None), "server")


@pytest.mark.emulated
def test_frames_keep_their_order_and_none_is_lost(network: Network) -> None:
    assert _stream(network, 500) == [*range(500)]
    assert set(network.link_losses().values()) == {0}


@pytest.mark.emulated
def test_a_rate_is_not_exceeded_and_what_has_no_room_is_counted() -> None:
    with emulate(shaped(None, RATE_BITS)) as network:
        began = time.monotonic()
        numbers = _stream(network, 900)
        seconds = time.monotonic() - began
        lost = network.link_losses()["internet", "server"]
    # All at once into a queue of 200: the rest is dropped, and the order kept.
    assert lost >= 900 - len(numbers) > 0
    assert numbers == sorted(numbers)
    assert seconds >= (len(numbers) - 1) * 1062 * 8 / RATE_BITS


@pytest.mark.emulated
def test_nothing_of_the_links_stays() -> None:
    links, before = links_here(), set(psutil.Process().children(recursive=True))
    with ExitStack() as stack:
        with emulate(shaped()) as network:
            children = set(psutil.Process().children(recursive=True)) - before
            inside = stack.enter_context(watched(children))
            assert network.counters("server").keys() == {"server-out"}
        assert inside.left() == []
    assert links_here() == links


@pytest.mark.emulated
@pytest.mark.skipif("shaping.has_netem()", reason="the kernel's netem needs no process")
def test_a_killed_forwarder_is_an_error_that_says_so() -> None:
    before = set(psutil.Process().children())
    complaint = "links with delay: their forwarder ended with exit code -9"
    with pytest.raises(EmulationError, match=complaint), emulate(shaped()) as network:  # noqa: PT012
        (forwarder,) = [
            child
            for child in set(psutil.Process().children()) - before
            if any("delay_line" in word for word in child.cmdline())
        ]
        forwarder.send_signal(signal.SIGKILL)
        while psutil.pid_exists(forwarder.pid) and forwarder.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        with pytest.raises(EmulationError, match=complaint):
            network.counters("server")
        # What comes of it elsewhere does not hide why.
        raise KeyError("server-out")


def _stream(network: Network, frames: int) -> list[int]:
    """Sends numbered datagrams from a client to the server at once; returns what came.

    They are fewer than a TAP device queues, so that only the link can lose them.
    """
    server = str(network.plan.data_address("server"))
    # Frames that wait for a neighbour's address may be overtaken in the kernel.
    assert network.run("c1", ["ping", "-c", "1", "-W", "5", server], timeout=60).returncode == 0
    receiver = network.popen(
        "server", [sys.executable, "-c", RECEIVE], stdout=subprocess.PIPE, text=True
    )
    assert receiver.stdout is not None
    assert receiver.stdout.readline() == "ready\n"
    sent = network.run("c1", [sys.executable, "-c", SEND, server, str(frames)], timeout=120)
    assert sent.returncode == 0, sent.stderr
    output, _ = receiver.communicate(timeout=120)
    return [int(number) for number in output.split()[:-1]]
