"""The processes of a run: the files that they read, and what is said when one does not come up."""

from __future__ import annotations

import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from experiments import deployment as module
from experiments.deployment import DeploymentError, Settings, deploy, stop, until, write_files
from nodes.configuration import load_client, load_relay, load_server, read_password
from nodes.users import UserDatabase
from topologies.catalog import cascade, single
from topologies.emulate import emulate
from topologies.plan import Node, Plan, Role

PLAN = single(clients=2, terminals=1, second_group=1)


def _with_server(program: str) -> Plan:
    """Plans the same with another program in the server's place."""

    def changed(node: Node) -> Node:
        if node.role is not Role.SERVER:
            return node
        return replace(node, command=("{python}", "-c", program, "{run}"))

    return replace(PLAN, nodes=tuple(map(changed, PLAN.nodes)))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes a run's files."""
    folder = tmp_path_factory.mktemp("files")
    write_files(
        PLAN,
        folder,
        Settings("patent", "aes-256-gcm", rekey="never", dataplane="socket", hop_tags="required"),
    )
    return folder


def test_every_file_is_one_that_the_processes_take(files: Path) -> None:
    server = load_server(files / "server.toml")
    assert (server.server.strip, server.server.forwarding) == ("patent", "relay")
    assert (server.server.dataplane, server.server.rekey) == ("socket", "never")
    assert server.server.hop_tags == "required"
    assert {vpn_id: group.algorithm for vpn_id, group in server.groups.items()} == {
        1001: "aes-256-gcm",
        1002: "aes-256-gcm",
    }
    for client in PLAN.clients():
        configuration = load_client(files / f"{client.name}.toml")
        assert configuration.client.address == PLAN.data_address(client.name)
        assert configuration.lan.name == f"{client.name}-lan"


def test_servers_get_sockets_unless_told_otherwise(tmp_path: Path) -> None:
    """An experiment measures processes: what the kernel does is on nobody's account."""
    write_files(PLAN, tmp_path, Settings())
    assert load_server(tmp_path / "server.toml").server.dataplane in ("batch", "socket")


def test_users_are_in_the_database_with_their_passwords(files: Path) -> None:
    users = UserDatabase(files / "users.sqlite")
    found = [(record.user, record.vpn_id) for record in users.records()]
    assert found == [("A", 1001), ("B", 1001), ("C", 1002)]
    password = read_password(files / "c1.password").reveal()
    assert users.verify("A", password)
    assert not users.verify("B", password)


def test_secrets_are_their_owners_alone(files: Path) -> None:
    for name in ("server.key", "c1.password", "c2.password", "c3.password", "users.sqlite"):
        assert stat.S_IMODE((files / name).stat().st_mode) == 0o600, name


def test_nothing_secret_is_in_a_configuration_file(files: Path) -> None:
    text = "".join(path.read_text() for path in files.glob("*.toml"))
    for path in files.glob("*.password"):
        assert path.read_text().strip() not in text


def test_waiting_ends_with_what_was_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READY_SECONDS", 0.05)
    with pytest.raises(DeploymentError, match="the moon is not full\nlast words"):
        until(lambda: False, "the moon is not full", lambda: "last words")
    until(lambda: True, "never said")


@pytest.mark.emulated
class TestOnANetwork:
    @pytest.mark.parametrize(("family", "dataplane"), [(6, "batch"), (4, "socket")])
    def test_terminals_with_the_usual_mtu_of_1500_reach_each_other(
        self, family: int, dataplane: str, tmp_path: Path
    ) -> None:
        """Packets of 1500 octets, which nobody may cut, cross in two pieces each; an echo needs four."""
        plan = single(clients=2, terminals=1, second_group=0, family=family, lan_mtu=1500)
        target = str(plan.lan_interface("t2a").addresses[0].ip)
        ping = ["ping", "-n", "-c", "3", "-i", "0.2", "-W", "5", "-M", "do", "-s", "1472", target]
        settings = Settings(dataplane=dataplane)
        with emulate(plan) as network, deploy(network, tmp_path, settings) as deployed:
            process = network.popen("t1a", ping, stdout=subprocess.PIPE, text=True)
            said, _ = process.communicate(timeout=120)
            assert "3 received" in said, said
            for name in ("c1", "c2"):
                counters = deployed.status(name)["counters"]
                assert (counters["frames_cut"], counters["dropped_piece_kept"]) == (3, 3)
                assert counters["frames_incomplete"] == 0

    def test_all_come_up_and_end_in_order(self, tmp_path: Path) -> None:
        with emulate(PLAN) as network, deploy(network, tmp_path, Settings()) as deployed:
            assert len(deployed.status("server")["tables"]["507 unicast group"]["rows"]) == 3
            (key,) = deployed.keys("c1")
            assert key["algorithm"] == "aes-128-gcm"
            assert stop(deployed) == {"c1": 0, "c2": 0, "c3": 0, "server": 0}
            # once more does no harm: the network's teardown comes behind it
            assert stop(deployed) == {"c1": 0, "c2": 0, "c3": 0, "server": 0}

    def test_a_process_that_ends_early_is_named_with_its_last_words(self, tmp_path: Path) -> None:
        program = "import sys; print('no certificate here', file=sys.stderr); sys.exit(2)"
        expected = "server: ended with exit code 2\nno certificate here"
        with (
            emulate(_with_server(program)) as network,
            pytest.raises(DeploymentError, match=expected),
            deploy(network, tmp_path, Settings()),
        ):
            raise AssertionError("it must not come so far")

    def test_a_process_that_never_serves_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "READY_SECONDS", 0.3)
        program = "import signal; signal.pause()"
        # What it would say: it may not come so far in that time.
        (tmp_path / "server.log").write_text("hm\n", encoding="utf-8")
        with (
            emulate(_with_server(program)) as network,
            pytest.raises(DeploymentError, match="server: not serving within 0 s\nhm"),
            deploy(network, tmp_path, Settings()),
        ):
            raise AssertionError("it must not come so far")


def test_a_plan_with_vpn_servers_has_files_for_each_and_no_key_goes_to_them(
    tmp_path: Path,
) -> None:
    plan = cascade(clients=2, terminals=1, second_group=0, servers=2)
    write_files(plan, tmp_path, Settings(distribution="full", mac_reports=False))
    server = load_server(tmp_path / "server.toml")
    assert (server.server.delivery_by, server.server.distribution) == ("cascade", "full")
    assert not server.server.mac_reports
    assert {name: one.address for name, one in server.servers.items()} == {
        name: plan.data_address(name) for name in ("a", "b")
    }
    for name in ("a", "b"):
        relay = load_relay(tmp_path / f"{name}.toml").relay
        assert relay.representative == plan.data_address("server")
        assert stat.S_IMODE(relay.private_key.stat().st_mode) == 0o600
        (issued,) = x509.load_pem_x509_certificates(relay.certificate.read_bytes())
        names = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [name]


@pytest.mark.emulated
def test_representative_vpn_servers_and_clients_come_up_and_end_in_order(tmp_path: Path) -> None:
    plan = cascade(clients=2, terminals=1, second_group=0, servers=2)
    with emulate(plan) as network, deploy(network, tmp_path, Settings()) as deployed:
        assert [row[3] for row in deployed.status("server")["tables"]["VPN servers"]["rows"]] == [
            1,
            1,
        ]
        assert stop(deployed) == dict.fromkeys(("c1", "c2", "a", "b", "server"), 0)


@pytest.mark.parametrize(("clients", "seconds"), [(2, 8), (20, 11), (30, 15)])
def test_the_more_clients_have_to_register_again_the_longer_they_go_on(
    clients: int, seconds: int, tmp_path: Path
) -> None:
    plan = single(clients=clients, terminals=1)
    write_files(plan, tmp_path, Settings())
    assert f"recovery_s = {seconds}\n" in (tmp_path / "server.toml").read_text()
