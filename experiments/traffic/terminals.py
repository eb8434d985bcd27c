"""Real traffic between terminals: ping (with ARP and neighbour discovery before it) and TCP.

Every pair of terminals of a group is tried; above ``ALL_PAIRS`` terminals each tries the next
three, so that a run's time grows with the terminals and not with their square.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from topologies.emulate import Network
from topologies.plan import Kind, Plan

ALL_PAIRS = 10
NEIGHBOURS = 3
TCP_OCTETS = 262_144
PING_SECONDS = 15
TCP_SECONDS = 60.0
CONNECT_MILLISECONDS = 15_000
TCP_PORT = 5201
ENDED_SECONDS = 30.0
SEEN_ASLEEP = 3
"""A frame on its way may wake one process just after it was looked at, but hardly so often."""


class TrafficError(RuntimeError):
    """Says which program of the traffic did not do its work."""


@dataclass(frozen=True)
class Attempt:
    """One try of one terminal to reach another."""

    source: str
    destination: str
    what: str
    succeeded: bool
    detail: str

    def describe(self) -> str:
        """Says in a few words what was tried and what came of it."""
        return f"{self.source} to {self.destination} {self.what}: {self.detail}"


def pairs(plan: Plan) -> list[tuple[str, str]]:
    """Lists (from, to) for the terminals of each group and Sub ID."""
    found = []
    for group in plan.groups:
        terminals = plan.terminals(group.vpn_id)
        for sub_id in dict.fromkeys(plan.sub_id_of(terminal.name) for terminal in terminals):
            names = [one.name for one in terminals if plan.sub_id_of(one.name) == sub_id]
            reach = len(names) - 1 if len(names) <= ALL_PAIRS else NEIGHBOURS
            for index, source in enumerate(names):
                for step in range(1, reach + 1):
                    found.append((source, names[(index + step) % len(names)]))
    return found


def ping_all(network: Network) -> list[Attempt]:
    """Pings every pair once by each family, all pairs of a source at the same time."""
    attempts = []
    for source, targets in _by_source(pairs(network.plan)):
        running = []
        for target in targets:
            for address in network.plan.lan_interface(target).addresses:
                argv = ["ping", "-n", "-c", "1", "-W", str(PING_SECONDS), str(address.ip)]
                process = network.popen(
                    source, argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
                )
                running.append((target, f"ping IPv{address.version}", process))
        for target, what, process in running:
            code = process.wait(timeout=ENDED_SECONDS)
            detail = "answered" if code == 0 else "no answer"
            attempts.append(Attempt(source, target, what, code == 0, detail))
    return attempts


def neighbours(network: Network) -> list[Attempt]:
    """Reads what ARP and neighbour discovery found for every pair, and compares the MAC."""
    attempts = []
    plan = network.plan
    for source, targets in _by_source(pairs(plan)):
        shown = network.run(source, ["ip", "-json", "neighbour", "show"], timeout=ENDED_SECONDS)
        found = {row["dst"]: row.get("lladdr", "nothing") for row in json.loads(shown.stdout)}
        for target in targets:
            interface = plan.lan_interface(target)
            for address in interface.addresses:
                what = "ARP" if address.version == 4 else "neighbour discovery"
                mac = found.get(str(address.ip), "nothing")
                attempts.append(
                    Attempt(source, target, what, mac == interface.mac, f"{address.ip} is {mac}")
                )
    return attempts


def tcp_all(network: Network) -> list[Attempt]:
    """Sends some octets over TCP (iperf3) from each pair's first to its second terminal."""
    return [attempt for turn in turns(pairs(network.plan)) for attempt in _tcp_turn(network, turn)]


def turns(tried: list[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """Arranges pairs in turns in which nobody sends or receives twice: an iperf3 server serves one."""
    arranged: list[list[tuple[str, str]]] = []
    for pair in tried:
        for turn in arranged:
            if all(pair[0] != source and pair[1] != target for source, target in turn):
                turn.append(pair)
                break
        else:
            arranged.append([pair])
    return arranged


def _tcp_turn(network: Network, turn: list[tuple[str, str]]) -> list[Attempt]:
    """Runs all pairs of one turn at the same time.

    Each has a server of its own: one that has served closes its port for a moment, and refuses.
    """
    servers: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for _, target in turn:
            servers[target] = _start_server(network, target)
        for name, process in servers.items():
            _wait_for_line(process, b"listening", f"iperf3 at {name}")
        running = [(pair, _start_tcp(network, *pair)) for pair in turn]
        return [_tcp_attempt(*pair, process) for pair, process in running]
    finally:
        for process in servers.values():
            process.terminate()
            process.communicate(timeout=ENDED_SECONDS)


def _tcp_attempt(source: str, target: str, process: subprocess.Popen[bytes]) -> Attempt:
    """Waits for the end of one transfer, and says what came of it."""
    try:
        output, _ = process.communicate(timeout=TCP_SECONDS)
    except subprocess.TimeoutExpired:
        process.terminate()
        output, _ = process.communicate()
    report = _report(output.decode(errors="replace"))
    received = report.get("end", {}).get("sum_received", {}).get("bytes", 0)
    # The server stops counting when the client has sent all, so the count is a lower bound.
    succeeded = process.returncode == 0 and received > 0
    detail = report.get("error") or f"{received} octets or more"
    return Attempt(source, target, "TCP", succeeded, detail)


def _start_server(network: Network, node: str) -> subprocess.Popen[bytes]:
    argv = ["iperf3", "--server", "--forceflush", "--port", str(TCP_PORT)]
    return network.popen(
        node, argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def _start_tcp(network: Network, source: str, target: str) -> subprocess.Popen[bytes]:
    address = network.plan.lan_interface(target).addresses[0].ip
    return network.popen(
        source,
        [
            *("iperf3", "--client", str(address), "--port", str(TCP_PORT), "--json"),
            *("--bytes", str(TCP_OCTETS), "--connect-timeout", str(CONNECT_MILLISECONDS)),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _report(text: str) -> dict[str, Any]:
    try:
        report: dict[str, Any] = json.loads(text)
    except ValueError:
        return {"error": "no report"}
    return report


def _by_source(tried: list[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    for source in dict.fromkeys(source for source, _ in tried):
        yield source, [target for other, target in tried if other == source]


def _wait_for_line(process: subprocess.Popen[bytes], word: bytes, what: str) -> None:
    """Reads a program's output up to the line that has ``word`` in it."""
    assert process.stdout is not None
    for line in iter(process.stdout.readline, b""):
        if word in line:
            return
    raise TrafficError(f"{what}: ended before it was ready")


def settle(
    read: Callable[[], Any],
    seconds: float = 0.3,
    deadline: float = 60.0,
    asleep: Callable[[], bool] = lambda: True,
) -> Any:
    """Returns what ``read`` gives once it has not changed for ``seconds``: frames are all through.

    Silence alone would say little on a busy machine, where a process may wait for a processor that long.
    So in that time all must also have been seen ``asleep`` (`Network.asleep`) SEEN_ASLEEP times.
    """
    end = time.monotonic() + deadline
    value, since, seen = read(), time.monotonic(), 0
    while (time.monotonic() - since < seconds or seen < SEEN_ASLEEP) and time.monotonic() < end:
        time.sleep(seconds / 6)
        seen += asleep()
        again = read()
        if again != value:
            value, since, seen = again, time.monotonic(), 0
    return value


def link_packets(network: Network) -> dict[tuple[str, str], int]:
    """Reads how many packets each link has carried in both directions."""
    counted = {}
    for link in network.plan.links:
        # A bridge's ports show what its LAN's members do not: count at the end that is a host.
        end = link.ends[0] if link.kind is Kind.OUTSIDE else _host_end(network.plan, link.ends)
        counters = network.counters(end)[link.interface_of(end).name]
        counted[link.ends[0], link.ends[1]] = counters["rx_packets"] + counters["tx_packets"]
    return counted


def _host_end(plan: Plan, ends: tuple[str, str]) -> str:
    return next((end for end in ends if plan.node(end).role.value != "lan"), ends[0])
