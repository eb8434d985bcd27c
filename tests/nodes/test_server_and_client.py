"""Server and clients as processes: who gets in, who is thrown out, and what an end leaves behind."""

from __future__ import annotations

import hashlib
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from experiments.credentials import CertificateAuthority
from tests.namespaces import inside
from tests.nodes.running import Crew, eventually

pytestmark = pytest.mark.emulated

SHORT_TIMERS = {"keepalive_s": 0.4, "timeout_s": 2.4}
RIGHT = {
    "user": "C",
    "password_file": "c3.password",
    "vpn_id": 1001,
    "certificate_authority": "authority.pem",
}
WRONG = "not-the-password-but-as-long-as-it"


def _everything_said(crew: Crew) -> str:
    """Returns all that any process has written or shows by its status."""
    said = [str(crew.status("server"))]
    for node in crew.processes:
        said += [crew.output(node), *crew.errors(node)]
    return "\n".join(said)


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"password_file": "wrong.password"}, "user ID or password is wrong"),
            ({"user": "nobody"}, "user ID or password is wrong"),
            ({"vpn_id": 1002}, "user C is not in VPN 1002"),
            ({"vpn_id": 77}, "user C is not in VPN 77"),
        ],
        ids=["wrong password", "unknown user", "user of another group", "unknown group"],
    )
    def test_a_refused_client_ends_with_one_line_and_leaves_no_row(
        self, served: Crew, change: dict[str, Any], reason: str
    ) -> None:
        wrong = served.folder / "wrong.password"
        wrong.write_text(WRONG)
        wrong.chmod(0o600)
        before = served.status("server")["tables"]
        served.configure("c3", client={**RIGHT, **change})
        served.start("c3")
        assert served.code("c3") == 1
        assert served.errors("c3") == [f"blindrelay client: refused: {reason}"]
        assert served.status("server")["tables"] == before
        assert [len(served.rows("server", table)) for table in ("507", "508", "509")] == [0, 0, 0]
        said = _everything_said(served)
        assert WRONG not in said
        assert served.password("c3") not in said

    def test_a_server_with_a_foreign_certificate_is_refused_with_one_line(
        self, served: Crew
    ) -> None:
        CertificateAuthority().write(served.folder / "foreign.pem")
        served.configure("c3", client={**RIGHT, "certificate_authority": "foreign.pem"})
        served.start("c3")
        assert served.code("c3") == 2
        (line,) = served.errors("c3")
        assert line.startswith("blindrelay client: the server's certificate does not hold: ")
        assert served.members() == []
        assert served.errors("server") == []


class TestDataPlanes:
    @pytest.mark.parametrize("dataplane", ["socket", "batch"])
    def test_the_server_says_which_plane_it_has_and_frames_flow(
        self, crew: Crew, dataplane: str
    ) -> None:
        crew.configure("server", server={"dataplane": dataplane})
        crew.up("server", "c1", "c2")
        assert f"data plane {dataplane}" in crew.output("server")
        assert crew.status("server")["process"]["dataplane"] == dataplane
        assert crew.reach("t1a", "t2a")

    def test_terminals_that_keep_their_offloads_exchange_whole_streams(self, crew: Crew) -> None:
        crew.up("server", "c1", "c2")
        plan = crew.network.plan
        links = [link for link in plan.links if {"t1a", "t2a"} & set(link.ends)]
        for link in [*links, *plan.links_of("c1"), *plan.links_of("c2")]:
            for node, interface in zip(link.ends, link.interfaces, strict=True):
                offload(crew, node, interface.name)
        address = str(plan.lan_interface("t2a").addresses[0].ip)
        received = exchange(crew, address)
        assert received == hashlib.sha256(STREAM).hexdigest()
        counters = crew.status("c1")["counters"]
        assert counters["lan_cut"] > 0
        assert counters["lan_not_cut"] == 0


STREAM = bytes(range(256)) * 4000


def offload(crew: Crew, node: str, interface: str) -> None:
    switches = [word for name in ("tx", "sg", "tso", "gso") for word in (name, "on")]
    crew.network.run(node, ["ethtool", "-K", interface, *switches], timeout=60)
    mtu = ["ip", "link", "set", interface, "mtu", "1346"]
    if node in ("t1a", "t2a"):
        crew.network.run(node, mtu, timeout=60)


def exchange(crew: Crew, address: str) -> str:
    """Sends STREAM from t1a to t2a by TCP; returns the digest of what came."""
    with inside(crew.network.pid("t2a")):
        listener = socket.create_server((address, 5001))
    with listener:
        listener.settimeout(60)
        with inside(crew.network.pid("t1a")):
            sender = socket.socket()
        with sender:
            sender.settimeout(60)
            sender.connect((address, 5001))
            taken, _ = listener.accept()
            with taken, ThreadPoolExecutor(1) as executor:
                taken.settimeout(60)
                sending = executor.submit(_send_all, sender)
                digest = hashlib.sha256()
                while octets := taken.recv(65536):
                    digest.update(octets)
                sending.result()
    return digest.hexdigest()


def _send_all(sender: socket.socket) -> None:
    sender.sendall(STREAM)
    sender.shutdown(socket.SHUT_WR)


class TestComingAndGoing:
    def test_a_second_registration_of_a_user_supersedes_the_first(self, crew: Crew) -> None:
        crew.up("server", "c1", "c2")
        crew.configure("c3", client={"user": "A", "password_file": "c1.password"})
        crew.up("c3")
        assert crew.code("c1") == 1
        assert crew.errors("c1") == ["blindrelay client: refused: user A has registered again"]
        assert crew.members() == sorted([crew.member("c2"), crew.member("c3")])
        assert crew.reach("t2a", "t3a")

    def test_a_client_waits_for_its_server_and_then_joins(self, crew: Crew) -> None:
        crew.start("c1")
        assert eventually(lambda: len(crew.errors("c1")) >= 2)
        assert crew.state("c1") == "apart"
        assert all("no channel to [3ffe::1000]:4791" in line for line in crew.errors("c1"))
        crew.up("server")
        crew.wait("c1", "registered")
        assert crew.members() == [crew.member("c1")]

    def test_clients_of_a_killed_server_register_again_and_frames_flow(self, crew: Crew) -> None:
        crew.up("server", "c1", "c2")
        assert crew.reach("t1a", "t2a")
        key = crew.keys("c1")
        crew.kill("server")
        assert eventually(lambda: crew.state("c1") == "apart")
        crew.up("server")
        for client in ("c1", "c2"):
            crew.wait(client, "registered")
        assert crew.reach("t1a", "t2a")
        assert crew.keys("c1") == crew.keys("c2") != key
        for client in ("c1", "c2"):
            assert "was lost" in crew.errors(client)[0]
            assert not any("Traceback" in line for line in crew.errors(client))

    @pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "kill -9"])
    def test_a_client_that_ends_leaves_its_group_and_the_others_talk(
        self, crew: Crew, how: str
    ) -> None:
        crew.up("server", "c1", "c2", "c3")
        assert crew.reach("t3a", "t1a")
        if how == "kill -9":
            crew.kill("c3")
        else:
            crew.processes["c3"].send_signal(getattr(signal, how))
            assert crew.code("c3") == 0
            assert crew.errors("c3") == []
        others = sorted([crew.member("c1"), crew.member("c2")])
        assert eventually(lambda: crew.members() == others)
        assert crew.member("c3") not in str(crew.rows("server", "509"))
        assert crew.reach("t1a", "t2a")
        assert not crew.reach("t1a", "t3a", wait_s="0.2")

    def test_a_client_that_falls_silent_is_taken_out_and_comes_back(self, crew: Crew) -> None:
        crew.configure("server", timers=SHORT_TIMERS)
        crew.up("server", "c1", "c2")
        both = crew.members()
        crew.processes["c2"].send_signal(signal.SIGSTOP)
        try:
            assert eventually(lambda: crew.members() == [crew.member("c1")])
        finally:
            crew.processes["c2"].send_signal(signal.SIGCONT)
        assert eventually(lambda: crew.members() == both)
        assert crew.reach("t1a", "t2a")

    def test_a_server_that_falls_silent_is_noticed(self, crew: Crew) -> None:
        crew.configure("server", timers=SHORT_TIMERS)
        crew.up("server", "c1")
        crew.processes["server"].send_signal(signal.SIGSTOP)
        try:
            assert eventually(lambda: crew.state("c1") == "apart")
        finally:
            crew.processes["server"].send_signal(signal.SIGCONT)
        crew.wait("c1", "registered")

    def test_the_end_of_everything_leaves_no_socket_file(self, crew: Crew) -> None:
        crew.up("server", "c1", "c2", "c4")
        assert len(list(crew.folder.glob("*.status"))) == 4
        assert len(list(crew.folder.glob("*.keys"))) == 3
        assert crew.end("c1", "c2", "c4", "server") == [0, 0, 0, 0]
        assert list(crew.folder.glob("*.status")) == list(crew.folder.glob("*.keys")) == []
        assert [line for node in crew.processes for line in crew.errors(node)] == []


class TestWhatTheMachineLacks:
    """Each ends with one line that names the thing, and the exit code 3."""

    def test_a_lan_that_is_not_there(self, crew: Crew) -> None:
        crew.configure("c1", lan={"name": "nosuch"})
        crew.start("c1")
        assert crew.code("c1") == 3
        assert crew.errors("c1") == ["blindrelay client: interface nosuch: no such device"]

    def test_a_lan_that_is_deleted_while_it_is_used(self, crew: Crew) -> None:
        veth = ["ip", "link", "add", "going", "type", "veth", "peer", "name", "going-far"]
        crew.network.run("c1", veth, timeout=60)
        crew.network.run("c1", ["ip", "link", "set", "going", "up"], timeout=60)
        crew.configure("c1", lan={"name": "going"})
        crew.up("server", "c1")
        crew.network.run("c1", ["ip", "link", "delete", "going"], timeout=60)
        assert crew.code("c1") == 3
        assert crew.errors("c1") == ["blindrelay client: interface going: no such device any more"]
        assert eventually(lambda: crew.members() == [])

    @pytest.mark.parametrize("kind", ["interface", "tap"])
    def test_rights_for_the_lan(self, crew: Crew, kind: str) -> None:
        name = "vpn0" if kind == "tap" else "c1-lan"
        crew.configure("c1", lan={"kind": kind, "name": name})
        crew.start("c1", wrapper=["setpriv", "--bounding-set=-all", "--inh-caps=-all"])
        assert crew.code("c1") == 3
        capability = "CAP_NET_ADMIN" if kind == "tap" else "CAP_NET_RAW"
        assert crew.errors("c1") == [
            f"blindrelay client: interface {name}: not permitted: needs {capability} (root)"
        ]

    def test_the_tun_driver(self, crew: Crew) -> None:
        crew.configure("c1", lan={"kind": "tap", "name": "vpn0"})
        hide = 'mount -t tmpfs tmpfs /dev/net && exec "$@"'
        crew.start("c1", wrapper=["unshare", "--mount", "sh", "-c", hide, "sh"])
        assert crew.code("c1") == 3
        (line,) = crew.errors("c1")
        assert line.startswith("blindrelay client: interface vpn0: /dev/net/tun: expected")

    @pytest.mark.parametrize("node", ["server", "c1"])
    def test_an_address_that_is_in_use(self, crew: Crew, node: str) -> None:
        crew.up("server", "c1")
        (crew.folder / f"{node}.status").unlink()
        crew.start(node)
        assert crew.code(node) == 3
        address = crew.network.plan.data_address(node)
        program = "server" if node == "server" else "client"
        assert crew.errors(node) == [
            f"blindrelay {program}: UDP [{address}]:4790: address already in use"
        ]
