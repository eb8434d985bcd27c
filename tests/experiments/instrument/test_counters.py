"""Counters of another network namespace are read without a process, and what is missing is named."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from experiments.instrument.clsact import Clsact
from experiments.instrument.nftables import Nftables
from topologies.delay_line import network_of
from topologies.emulate import EmulationError

pytestmark = pytest.mark.emulated
TABLE = "netdev some"
QDISC = "qdisc add {} clsact"
FILTERS = [f"filter add {{}} {way} bpf da bytecode 1,6 0 0 0" for way in ("ingress", "egress")]
CHAIN = 'chain in { type filter hook ingress device "lo" priority 0; counter name "seen"; }'


@pytest.fixture
def process() -> Iterator[int]:
    """Gives the ID of a process with a network namespace of its own, whose loopback interface is up."""
    own = os.stat("/proc/self/ns/net").st_ino
    with subprocess.Popen(["unshare", "--net", "sleep", "60"]) as made:
        try:
            deadline = time.monotonic() + 5
            while os.stat(f"/proc/{made.pid}/ns/net").st_ino == own:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            with network_of(made.pid):
                subprocess.run(["ip", "link", "set", "dev", "lo", "up"], check=True)
            yield made.pid
        finally:
            made.kill()


def exchange(process: int, datagrams: int) -> None:
    """Sends so many datagrams over a namespace's loopback interface."""
    with network_of(process):
        ends = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    with ends[0], ends[1]:
        ends[0].bind(("127.0.0.1", 0))
        for _ in range(datagrams):
            ends[1].sendto(b"four", ends[0].getsockname())


def test_a_clsact_qdisc_counts_what_passes_both_ways(process: int) -> None:
    counter = Clsact(process, "lo")
    with pytest.raises(OSError, match="expected a clsact qdisc"):
        counter.packets()
    with network_of(process):
        for words in (QDISC, *FILTERS):  # without a filter nothing passes it
            subprocess.run(["tc", *words.format("dev lo").split(" ", maxsplit=8)], check=True)
    assert counter.packets() == 0
    exchange(process, 3)
    assert counter.packets() == 6


def test_an_nftables_counter_is_read_afresh_each_time(process: int) -> None:
    tables = Nftables(process, "there")
    tables.do(f"table {TABLE} {{\ncounter seen {{ }}\n{CHAIN}\n}}\n")
    for number in range(3):
        assert tables.counter(TABLE, "seen") == (number, number * 32)
        exchange(process, 1)


def test_what_is_refused_is_said_with_the_nodes_name(process: int) -> None:
    tables = Nftables(process, "there")
    with pytest.raises(EmulationError, match="node there: nftables: .*No such file"):
        tables.counter(TABLE, "seen")
    with pytest.raises(EmulationError, match="node there: nftables: .*syntax error"):
        tables.do("nonsense")
