"""What peers' programs read, without running any."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.isolation import MachineError
from experiments.peers import catalog
from experiments.peers.adapter import Peer, Site
from experiments.peers.catalog import PEERS, PeersError, parse
from experiments.peers.comparison import network_plan
from topologies.catalog import single


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Gives the network that peers are compared in, and a folder with nothing in it."""
    return Site(network_plan(), tmp_path)


@pytest.mark.parametrize("name", PEERS)
def test_every_address_is_the_plans_own(name: str, site: Site) -> None:
    peer = PEERS[name]()
    hub, *clients = (site.address(node) for node in (site.hub, *site.clients))
    told = "\n".join([*peer.files(site).values(), *_commands(peer, site)])
    assert hub in told or name == "n2n"
    for client in site.clients:
        assert hub in " ".join(_of_client(peer, site, client.name))
    assert clients


@pytest.mark.parametrize("name", PEERS)
def test_all_files_lie_in_the_folder_of_the_run(name: str, site: Site) -> None:
    files = PEERS[name]().files(site)
    assert not [path for path in files if Path(path).is_absolute() or ".." in path]
    told = "\n".join([*files.values(), *_commands(PEERS[name](), site)])
    assert "/etc" not in told
    assert "/run/" not in told


def test_openvpn_seals_with_the_cipher_of_our_groups(site: Site) -> None:
    files = PEERS["openvpn"]().files(site)
    assert all("data-ciphers AES-128-GCM\n" in text for text in files.values())
    assert "client-to-client\n" in files["server.conf"]
    assert all(f"tun-mtu {site.mtu}\n" in text for text in files.values())


def test_openvpn_and_tinc_run_over_ipv6_too(tmp_path: Path) -> None:
    site = Site(single(clients=2, terminals=1, second_group=0), tmp_path)
    assert "proto udp6\n" in PEERS["openvpn"]().files(site)["c1.conf"]
    assert "AddressFamily = ipv6\n" in PEERS["tinc"]().files(site)["c1/tinc.conf"]
    assert "remote [3ffe::1000]:" in PEERS["fastd"]().files(site)["c1.conf"]


def test_tinc_clients_know_the_hub_alone_and_wait_for_nobody_else(site: Site) -> None:
    files = PEERS["tinc"]().files(site)
    assert {path for path in files if path.startswith("c1/")} == {
        "c1/tinc.conf",
        "c1/hosts/server",
        "c1/hosts/c1",
    }
    assert "ConnectTo = server\n" in files["c1/tinc.conf"]
    assert "ConnectTo" not in files["server/tinc.conf"]
    assert "IndirectData = yes\n" in files["server/hosts/c2"]


def test_fastd_forwards_at_the_hub_alone(site: Site) -> None:
    files = PEERS["fastd"]().files(site)
    assert "forward yes;\n" in files["server.conf"]
    assert "forward" not in files["c1.conf"]
    assert files["server.conf"].count("peer ") == 3


def test_an_edge_of_n2n_has_its_stations_mac(site: Site) -> None:
    words = PEERS["n2n"]().client_command(site, site.clients[1])
    assert words[words.index("-m") + 1] == "02:00:00:00:bb:01"


def test_softethers_password_is_new_each_time(site: Site) -> None:
    first, second = (PEERS["softether"]().files(site)["c1.commands"] for _ in range(2))
    assert first != second


def test_unknown_names_are_said_with_those_that_there_are() -> None:
    with pytest.raises(PeersError, match=r"PEERS=openvpn,ovpn: ovpn: expected all or some of"):
        parse("openvpn,ovpn")


def test_a_peer_that_is_named_has_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "missing", lambda programs: dict(programs))
    with pytest.raises(MachineError, match="tinc: tincd: not found, install the package tinc"):
        parse("tinc")
    assert parse("all") == ()
    assert catalog.absent()["softether"].startswith("missing: softether-vpnclient, ")


def test_names_are_taken_once_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "missing", lambda _programs: {})
    assert parse("tinc, openvpn,tinc") == ("tinc", "openvpn")
    assert parse("all") == tuple(PEERS)


def _commands(peer: Peer, site: Site) -> list[str]:
    lines = [peer.hub_command(site), *(peer.client_command(site, one) for one in site.clients)]
    return [" ".join(line).replace(str(site.folder), "") for line in lines]


def _of_client(peer: Peer, site: Site, client: str) -> list[str]:
    """Returns what one client reads and its command line."""
    read = [text for path, text in peer.files(site).items() if path.startswith(client)]
    return [*read, *peer.client_command(site, site.plan.node(client))]
