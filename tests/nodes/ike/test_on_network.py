"""Server and clients with a charon each: who gets in, what passes outside, and what a death costs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from experiments.credentials import CertificateAuthority
from experiments.observation.capture import Capture
from nodes.users import UserDatabase
from protocol.types import Secret, VpnId
from protocol.wire.codec import pack
from protocol.wire.messages import VERSION, Register
from tests.namespaces import inside
from tests.nodes.running import Crew, eventually
from topologies.plan import Kind

pytestmark = pytest.mark.emulated

INNER = "fd62:6c64:7200::1"
RIGHT = {
    "user": "C",
    "password_file": "c3.password",
    "vpn_id": 1001,
    "certificate_authority": "authority.pem",
}


def _charon(crew: Crew, node: str) -> int:
    return int(crew.status(node)["process"]["charon_pid"] or 0)


def _group_spis(crew: Crew, node: str) -> set[str]:
    return {row[1] for row in crew.rows(node, "308 SA management")}


def _spi_pairs(crew: Crew, node: str, table: str) -> set[frozenset[str]]:
    return {frozenset(row[3:5]) for row in crew.rows(node, table)}


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"password_file": "wrong.password"}, "user ID or password is wrong"),
            ({"user": "nobody"}, "user ID or password is wrong"),
            ({"user": "c"}, "user ID or password is wrong"),
            ({"vpn_id": 1002}, "user C is not in VPN 1002"),
        ],
        ids=["wrong password", "unknown user", "name in another case", "user of another group"],
    )
    def test_a_refused_client_ends_with_one_line(
        self, ike_served: Crew, change: dict[str, Any], reason: str
    ) -> None:
        wrong = ike_served.folder / "wrong.password"
        wrong.write_text("not-the-password")
        wrong.chmod(0o600)
        ike_served.configure("c3", client={**RIGHT, **change})
        ike_served.start("c3")
        assert ike_served.code("c3") == 1
        assert ike_served.errors("c3") == [f"blindrelay client: refused: {reason}"]
        assert ike_served.members() == []

    def test_a_server_with_a_foreign_certificate_is_refused_with_one_line(
        self, ike_served: Crew
    ) -> None:
        CertificateAuthority().write(ike_served.folder / "foreign.pem")
        ike_served.configure("c3", client={**RIGHT, "certificate_authority": "foreign.pem"})
        ike_served.start("c3")
        assert ike_served.code("c3") == 2
        assert ike_served.errors("c3") == [
            "blindrelay client: the server's certificate does not hold: "
            "it is not of the certificate authority"
        ]

    @pytest.mark.parametrize("source", ["3ffe::1000", "fd62:6c64:7200:9::1"])
    def test_a_registration_from_outside_an_sa_is_refused(
        self, ike_served: Crew, source: str
    ) -> None:
        network = ike_served.network
        before = ike_served.status("server")["process"]["outside_an_sa_refused"]
        password = Secret(ike_served.password("c1").encode())
        address = [f"{source}/128", "dev", "lo"]
        if source.startswith("fd62"):
            network.run("server", ["ip", "address", "add", *address])
        with inside(network.pid("server")), socket.socket(socket.AF_INET6) as outsider:
            outsider.settimeout(60)
            outsider.bind((source, 0))
            outsider.connect((INNER, 4791))
            outsider.sendall(pack(Register(VERSION, "A", password, VpnId(1001), 4790)))
            answer = outsider.recv(4096)
        if source.startswith("fd62"):
            network.run("server", ["ip", "address", "del", *address])
        assert b"only inside an SA" in answer
        assert ike_served.members() == []
        assert ike_served.status("server")["process"]["outside_an_sa_refused"] == before + 1


def test_frames_pass_and_both_sides_show_the_same_sa(ike_crew: Crew) -> None:
    ike_crew.up("server", "c1", "c2")
    assert ike_crew.reach("t1a", "t2a")
    assert eventually(
        lambda: (
            _spi_pairs(ike_crew, "c1", "308 SA management: unicast")
            | _spi_pairs(ike_crew, "c2", "308 SA management: unicast")
            == _spi_pairs(ike_crew, "server", "unicast SAs")
        )
    )
    process = ike_crew.status("c1")["process"]
    assert process["control"] in ("ike, ESP in kernel", "ike, ESP in user space")
    assert any("IKE, ESP in" in line for line in ike_crew.output("c1").splitlines())


def test_outside_there_is_ike_and_no_octet_of_a_message(ike_crew: Crew, tmp_path: Path) -> None:
    capture = tmp_path / "outside.pcapng"
    ike_crew.up("server")
    network = ike_crew.network
    outside = [one.name for one in network.plan.interfaces("server", Kind.OUTSIDE)]
    with Capture(network.popen, "server", outside, capture):
        ike_crew.start("c1")
        ike_crew.wait("c1", "registered")
        ike_crew.end("c1")
    octets = capture.read_bytes()
    key = ike_crew.password("c1").encode()
    assert not any(word in octets for word in (b"register", b"keepalive", b"multicast", key))
    shown = subprocess.run(
        ["tshark", "-r", str(capture), "-Y", "isakmp", "-T", "fields", "-e", "isakmp.exchangetype"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert {"34", "35"} <= set(shown.stdout.split())  # IKE_SA_INIT, IKE_AUTH


@pytest.mark.parametrize("victim", ["c1", "server"])
def test_when_charon_is_killed_the_sa_comes_back_and_frames_go_on(
    ike_crew: Crew, victim: str
) -> None:
    ike_crew.up("server", "c1", "c2")
    assert ike_crew.reach("t1a", "t2a")
    killed = _charon(ike_crew, victim)
    os.kill(killed, signal.SIGKILL)
    assert ike_crew.reach("t1a", "t2a")
    assert eventually(lambda: _charon(ike_crew, victim) not in (0, killed))
    assert eventually(lambda: _sas_are_back(ike_crew)), ike_crew.errors("c1")
    assert ike_crew.reach("t1a", "t2a")
    before = _group_spis(ike_crew, "c1")
    users = UserDatabase(ike_crew.folder / "users.sqlite")
    users.remove("B")  # expelled: those who stay are pushed a new SA
    assert eventually(lambda: bool(_group_spis(ike_crew, "c1") - before)), ike_crew.errors("c1")


def _sas_are_back(crew: Crew) -> bool:
    at_server = _spi_pairs(crew, "server", "unicast SAs")
    at_clients = {
        pair
        for client in ("c1", "c2")
        for pair in _spi_pairs(crew, client, "308 SA management: unicast")
    }
    states = {crew.state(client) for client in ("c1", "c2")}
    return len(at_server) == 2 and at_server == at_clients and states == {"registered"}


def test_a_client_that_is_killed_leaves_no_charon(ike_crew: Crew) -> None:
    ike_crew.up("server", "c1")
    charon = _charon(ike_crew, "c1")
    ike_crew.kill("c1")
    assert eventually(lambda: not Path(f"/proc/{charon}/fd").exists() or _is_zombie(charon))


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_an_end_in_order_leaves_neither_charon_nor_route_nor_address(ike_crew: Crew) -> None:
    network = ike_crew.network
    ike_crew.up("server", "c1")
    charons = [_charon(ike_crew, node) for node in ("server", "c1")]
    assert ike_crew.end("c1", "server") == [0, 0]
    assert not any(Path(f"/proc/{pid}").exists() for pid in charons)
    left = [_addressing(ike_crew, node) for node in ("server", "c1")]
    assert left == [(set(), set())] * 2
    assert "ipsec0" not in network.run("c1", ["ip", "link"]).stdout


def _addressing(crew: Crew, node: str) -> tuple[set[str], set[str]]:
    def lines(*arguments: str) -> set[str]:
        shown = crew.network.run(node, ["ip", "-6", *arguments]).stdout
        return {line for line in shown.splitlines() if "fd62" in line}

    return lines("route", "show", "table", "all"), lines("address")
