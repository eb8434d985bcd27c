"""FRR's routers: what they are told, what they find, and what a machine without them says."""

from __future__ import annotations

import random
import shutil
from ipaddress import IPv4Network, ip_address, ip_network
from pathlib import Path

import pytest

from experiments.__main__ import main
from experiments.deployment import Settings, deploy
from experiments.embodiments.multicast.link_cuts import cut_links
from experiments.embodiments.multicast.standing_trees import raise_trees
from topologies import frr
from topologies.catalog import multicast
from topologies.emulate import EmulationError, Network, emulate
from topologies.kernel_trees import read_routes, tree_faults
from topologies.plan import Plan

PLAN = multicast(clients=2, terminals=1, second_group=0, family=4)
needs_frr = pytest.mark.skipif(
    any(shutil.which(program) is None for program in frr.PROGRAMS),
    reason="FRR is not installed: install the package frr",
)


def test_outside_addresses_are_those_for_testing_and_the_lan_has_what_esp_leaves() -> None:
    testing = IPv4Network("198.18.0.0/15")
    plan = multicast(clients=48, terminals=1, second_group=48, family=4)
    networks = [IPv4Network(str(network)) for network in frr.outside_networks(plan)]
    assert all(network.subnet_of(testing) for network in networks)
    assert plan.lan_interface("c1").mtu == 1430
    assert {group.multicast_address.version for group in plan.groups} == {4}


def test_routers_are_told_no_route_that_they_learn_from_each_other() -> None:
    server = ip_network("198.18.0.0/24")
    assert [route.destination for route in PLAN.routes("m1")] == [server]
    assert PLAN.routes("m2") == PLAN.routes("m3") == PLAN.routes("m4") == ()
    assert len(PLAN.routes("internet")) == len(frr.outside_networks(PLAN)) - 2


def test_a_router_speaks_ospf_and_pim_to_routers_and_igmp_to_clients() -> None:
    texts = frr.configurations(PLAN, "m2")
    assert texts["zebra"] == "hostname m2\n"
    assert texts["pimd"] == (
        "hostname m2\n"
        "ip pim rp 198.18.1.254 224.0.0.0/4\n"
        "ip pim join-prune-interval 5\n"
        "interface m2-m1\n ip pim\n ip pim hello 1 4\n"
        "interface m2-m3\n ip pim\n ip pim hello 1 4\n"
        "interface m2-c2\n ip pim\n ip igmp\n ip igmp version 3\n"
    )
    ospf = texts["ospfd"]
    assert "interface m2-c2\n ip ospf area 0\n ip ospf passive\n" in ospf
    assert "interface m2-m1\n ip ospf area 0\n ip ospf network point-to-point\n" in ospf


def test_the_way_to_the_server_has_no_part_in_ospf_pim_or_igmp() -> None:
    texts = frr.configurations(PLAN, "m1")
    assert "m1-internet" not in texts["pimd"]
    assert "interface m1-internet\n" not in texts["ospfd"]


def test_the_rendezvous_point_is_a_routers_address_that_no_cut_between_routers_takes() -> None:
    assert frr.rendezvous_router(PLAN) == "m1"
    assert frr.rendezvous_point(PLAN) == ip_address("198.18.1.254")


def test_the_kernels_routes_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "route"
    table.write_text(
        "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
        "a\t000112C6\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
        "a\t00000000\t010112C6\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
    )
    monkeypatch.setattr(frr, "Path", lambda _: table)
    assert frr.known_networks(1) == {ip_network("198.18.1.0/24"), ip_network("0.0.0.0/0")}


@pytest.mark.parametrize("program", frr.PROGRAMS)
def test_without_a_program_the_run_ends_with_3_and_names_the_package(
    program: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: None if name == program else "/bin/true")
    assert main(["run", "--topo", "multicast", "--family", "4", "--quick"]) == 3
    expected = f"this machine cannot: {program}: not found, install the package frr\n"
    assert capsys.readouterr().err == expected
    assert list(tmp_path.iterdir()) == []


def members_by_igmp(network: Network, plan: Plan) -> set[str]:
    """Names the clients whose kernel is in its group and heard a querier of IGMPv3."""
    found = set()
    for client in plan.clients():
        assert client.vpn_id is not None
        group = plan.group(client.vpn_id).multicast_address
        text = Path(f"/proc/{network.pid(client.name)}/net/igmp").read_text()
        part = text.partition(f"{client.name}-out")[2]
        number = f"{int.from_bytes(group.packed, 'little'):08X}"
        if number in part and "V3" in part.splitlines()[0]:
            found.add(client.name)
    return found


@pytest.mark.emulated
@needs_frr
def test_routers_raise_trees_by_themselves_and_frames_pass_a_cut_link_by(tmp_path: Path) -> None:
    with emulate(PLAN) as network, deploy(network, tmp_path, Settings()):
        assert members_by_igmp(network, PLAN) == {"c1", "c2"}
        assert tree_faults(PLAN, read_routes(PLAN, network.pid)) != []
        raise_trees(network, tmp_path / "rising")
        assert tree_faults(PLAN, read_routes(PLAN, network.pid)) == []
        (cut,) = cut_links(network, tmp_path / "cuts", random.Random(1), 1, 0)
        assert cut.link == "m1-m2"
        assert cut.resumed
        assert cut.gap_before > 0
        assert 0 < cut.gap < 30


@pytest.mark.emulated
@needs_frr
def test_a_router_that_cannot_start_is_named_with_its_daemons_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(plan: Plan, router: str) -> dict[str, str]:
        assert plan is PLAN
        wrong = "no such command\n" if router == "m3" else ""
        return dict.fromkeys(frr.DAEMONS, wrong)

    monkeypatch.setattr(frr, "configurations", broken)
    monkeypatch.setattr(frr, "READY_SECONDS", 5.0)
    with pytest.raises(EmulationError, match=r"^node m\d: expected .*starting"), emulate(PLAN):
        pass
    assert not Path("/var/tmp/frr").exists()
