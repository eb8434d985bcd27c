"""A Plan becomes a network of this kernel's, and nothing of it stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psutil
import pytest

from tests.topologies.leftovers import links_here, watched
from topologies.catalog import single
from topologies.emulate import EmulationError, Network, emulate
from topologies.plan import Plan, Role
from topologies.processes import deferred_signals

pytestmark = pytest.mark.emulated


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with emulate(single()) as built:
        yield built


def _answers(network: Network, node: str, address: object, wait_s: str = "15") -> bool:
    ping = ["ping", "-n", "-c", "1", "-W", wait_s, str(address)]
    return network.run(node, ping, timeout=60).returncode == 0


def _shells(network: Network) -> list[psutil.Process]:
    return [psutil.Process(network.pid(node.name)) for node in network.plan.nodes]


def test_every_client_reaches_the_server(network: Network) -> None:
    server = network.plan.data_address("server")
    assert [c.name for c in network.plan.clients() if not _answers(network, c.name, server)] == []


def test_terminals_on_one_lan_reach_each_other(network: Network) -> None:
    for address in network.plan.lan_interface("t1b").addresses:
        assert _answers(network, "t1a", address.ip)


def test_no_frame_passes_from_lan_to_lan_without_the_system(network: Network) -> None:
    def received(terminal: str) -> int:
        return network.counters(terminal)[f"{terminal}-eth0"]["rx_packets"]

    beside, elsewhere = received("t1b"), received("t2a")
    broadcast = ["ping", "-b", "-c", "50", "-i", "0.002", "-W", "1", "10.0.0.255"]
    network.run("t1a", broadcast, timeout=60)
    assert received("t1b") - beside >= 50
    # Kernels report their own multicast groups on their own LAN now and then.
    assert received("t2a") - elsewhere < 25
    assert not _answers(network, "t1a", network.plan.lan_interface("t2a").addresses[0].ip, "0.2")


def test_interfaces_are_exactly_the_planned_ones(network: Network) -> None:
    for node in network.plan.nodes:
        shown = network.run(node.name, ["ip", "-json", "address"], timeout=60).stdout
        found = {link["ifname"]: link for link in json.loads(shown)}
        bridge = {node.name} if node.role is Role.LAN else set()
        planned = {item.name: item for item in network.plan.interfaces(node.name)}
        assert set(found) == {"lo", *planned, *bridge}
        for name, interface in planned.items():
            assert found[name]["mtu"] == interface.mtu
            assert interface.mac in (None, found[name]["address"])
            addresses = {
                f"{info['local']}/{info['prefixlen']}"
                for info in found[name]["addr_info"]
                if info["scope"] == "global"
            }
            assert addresses == {str(address) for address in interface.addresses}
            assert "tentative" not in str(found[name]["addr_info"])


def test_a_clients_kernel_has_no_address_on_the_lan(network: Network) -> None:
    shown = network.run("c1", ["ip", "-json", "address", "show", "c1-lan"], timeout=60).stdout
    assert json.loads(shown)[0]["addr_info"] == []


def test_offloads_are_off_on_lans_and_untouched_outside(network: Network) -> None:
    for node, interface, expected in (("t1a", "t1a-eth0", "off"), ("c1", "c1-out", "on")):
        shown = network.run(node, ["ethtool", "-k", interface], timeout=60).stdout
        assert f"tx-checksumming: {expected}" in shown
        assert f"tcp-segmentation-offload: {expected}" in shown


def test_the_largest_outside_packet_passes_unfragmented(network: Network) -> None:
    ping = ["ping", "-n", "-c", "1", "-W", "15", "-M", "do", "-s", str(1500 - 48)]
    server = str(network.plan.data_address("server"))
    assert network.run("c1", [*ping, server], timeout=60).returncode == 0


def test_counters_count_what_passes(network: Network) -> None:
    before = network.counters("c1")["c1-out"]["tx_packets"]
    assert _answers(network, "c1", network.plan.data_address("server"))
    assert network.counters("c1")["c1-out"]["tx_packets"] > before
    assert set(network.counters("l1")) == {"l1", "l1-c1", "l1-t1a", "l1-t1b"}


def test_a_command_that_takes_too_long_is_ended_with_its_children(network: Network) -> None:
    seconds = f"600.{os.getpid()}"  # found again among all processes of this machine
    with pytest.raises(subprocess.TimeoutExpired):
        network.run("c1", ["sh", "-c", f"sleep {seconds} & wait"], timeout=0.2)
    shown = network.run("c1", ["ps", "ax", "-o", "args"], timeout=60).stdout
    assert seconds not in shown


def test_nothing_is_named_outside_the_nodes_namespaces(network: Network) -> None:
    assert {"l1", "c1-out", "t1a-eth0"}.isdisjoint(links_here())


def test_ipv4_outside_works_too() -> None:
    with emulate(single(clients=2, terminals=1, family=4)) as network:
        assert _answers(network, "c1", network.plan.data_address("c2"))


def test_a_build_starts_few_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are what a build takes its time for."""
    started: list[list[str]] = []

    class Counted(subprocess.Popen[Any]):
        def __init__(self, argv: Any, **arguments: Any) -> None:
            if "bridge" not in argv:  # how often that is asked hangs on the moment
                started.append(argv)
            super().__init__(argv, **arguments)

    monkeypatch.setattr(subprocess, "Popen", Counted)
    plan = single()
    with emulate(plan):
        assert len(plan.nodes) < len(started) <= 4 * len(plan.nodes)


def test_an_exception_inside_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topologies.emulate.STOP_DEADLINE_S", 0.2)
    links = links_here()
    stubborn = "trap '' TERM; echo ready; while :; do sleep 1; done"
    with ExitStack() as stack:
        with pytest.raises(ZeroDivisionError), emulate(single(clients=2)) as network:  # noqa: PT012
            inside = stack.enter_context(watched(_shells(network)))
            process = network.popen("c1", ["sleep", "600"])
            deaf = network.popen("c2", ["sh", "-c", stubborn], stdout=subprocess.PIPE, text=True)
            assert deaf.stdout is not None
            assert deaf.stdout.readline() == "ready\n"
            raise ZeroDivisionError
        assert (process.returncode, deaf.returncode) == (-signal.SIGTERM, -signal.SIGKILL)
        assert inside.left() == []
    assert links_here() == links


def test_a_half_built_network_is_taken_down(monkeypatch: pytest.MonkeyPatch) -> None:
    shells: list[psutil.Process] = []

    def interrupt(network: Network, _script: object) -> None:
        shells.extend(_shells(network))
        raise KeyboardInterrupt

    monkeypatch.setattr(Network, "_configure", interrupt)
    with pytest.raises(KeyboardInterrupt), emulate(single(clients=2)):
        pass
    assert len(shells) > 10
    assert [shell for shell in shells if shell.is_running()] == []


def test_a_refusal_of_the_kernel_names_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    def script(plan: Plan, name: str) -> str:
        return "ip link set dev nothing up" if name == "c2" else "true"

    monkeypatch.setattr("topologies.emulate.second_script", script)
    with pytest.raises(EmulationError, match="node c2: .*nothing"), emulate(single(clients=2)):
        pass


def test_ctrl_c_waits_for_a_step_that_must_not_be_cut() -> None:
    steps = []
    with pytest.raises(KeyboardInterrupt), deferred_signals():  # noqa: PT012
        os.kill(os.getpid(), signal.SIGINT)
        steps.append("finished")
    assert steps == ["finished"]
